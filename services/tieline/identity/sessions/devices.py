"""What somebody signs in with. Pure: as the client says it, for people to read."""

from dataclasses import dataclass

from tieline.chassis.fields import check_text, raise_violations

MAX_DEVICE_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Device:
    """A client's description of itself."""

    name: str = ""
    platform: int = 0
    """Number of the proto's DevicePlatform."""


UNKNOWN_DEVICE = Device()


def check_device(device: Device) -> None:
    """Refuse a device that could not be shown."""
    violations: dict[str, str] = {}
    check_text(device.name, "device.name", violations, minimum=0, maximum=MAX_DEVICE_NAME_LENGTH)
    raise_violations(violations)
