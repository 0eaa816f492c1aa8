"""Devices between the wire and the rules."""

from typing import Protocol

from tieline.api.identity.v1 import session_pb2
from tieline.identity.sessions.devices import UNKNOWN_DEVICE, Device, check_device


class HasDevice(Protocol):
    """A request to sign in."""

    @property
    def device(self) -> session_pb2.Device:
        """What is signed in with."""
        ...


def read_device(request: HasDevice) -> Device:
    """Return what a request to sign in says of the client; raises what is wrong with it."""
    device = Device(request.device.name, read_platform(request.device.platform))
    check_device(device)
    return device


def read_platform(
    platform: "session_pb2.DevicePlatform.ValueType",
) -> "session_pb2.DevicePlatform.ValueType":
    """Return the platform as it is stored: a newer client may know more than this server."""
    if platform in session_pb2.DevicePlatform.values():
        return platform
    return session_pb2.DEVICE_PLATFORM_OTHER


def to_device(device: Device) -> session_pb2.Device | None:
    """Return the device for a response; None where the client did not say."""
    if device == UNKNOWN_DEVICE:
        return None
    return session_pb2.Device(
        name=device.name, platform=session_pb2.DevicePlatform.ValueType(device.platform)
    )
