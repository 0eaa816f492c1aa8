"""The rules of where devices can be reached. Pure."""

import datetime as dt
import re
from dataclasses import dataclass
from types import MappingProxyType

from tieline.api.messaging.v1 import push_service_pb2
from tieline.chassis.fields import CONTROL_CHARACTER_PATTERN, raise_violations, to_timestamp

MAX_TARGETS = 20
"""Of one person: as many as may be subscribed at a time."""

# A browser's subscription as JSON has some 500 bytes, the others' tokens fewer.
_MAX_TOKEN_BYTES = 4096

_LOCALE_PATTERN = re.compile(r"[0-9A-Za-z-]{0,35}")

_PLATFORMS = MappingProxyType(
    {
        push_service_pb2.PUSH_PLATFORM_APNS: "apns",
        push_service_pb2.PUSH_PLATFORM_FCM: "fcm",
        push_service_pb2.PUSH_PLATFORM_HUAWEI: "huawei",
        push_service_pb2.PUSH_PLATFORM_HONOR: "honor",
        push_service_pb2.PUSH_PLATFORM_XIAOMI: "xiaomi",
        push_service_pb2.PUSH_PLATFORM_OPPO: "oppo",
        push_service_pb2.PUSH_PLATFORM_VIVO: "vivo",
        push_service_pb2.PUSH_PLATFORM_WEB: "web",
        push_service_pb2.PUSH_PLATFORM_OTHER: "other",
    }
)
"""As they stand in tables and in what is posted."""

_PLATFORMS_TO_PROTO = MappingProxyType({name: proto for proto, name in _PLATFORMS.items()})


@dataclass(frozen=True, slots=True)
class NewTarget:
    """What a device says of itself, checked."""

    platform: str
    token: str
    locale: str


@dataclass(frozen=True, slots=True)
class PushTarget:
    """A row of ``push_targets`` as its person sees it."""

    session_id: str
    platform: str
    locale: str
    create_time: dt.datetime
    register_time: dt.datetime


def check_target(request: push_service_pb2.RegisterPushTargetRequest) -> NewTarget:
    """Return what the device says, or refuse it with all that is wrong."""
    violations: dict[str, str] = {}
    platform = _PLATFORMS.get(request.platform)
    if platform is None:
        violations["platform"] = "must be one of the platforms"
    if not 1 <= len(request.token.encode()) <= _MAX_TOKEN_BYTES:
        violations["token"] = f"must have 1 to {_MAX_TOKEN_BYTES} bytes"
    elif CONTROL_CHARACTER_PATTERN.search(request.token):
        violations["token"] = "must not contain control characters"  # noqa: S105 -- a rule
    if not _LOCALE_PATTERN.fullmatch(request.locale):
        violations["locale"] = "must be at most 35 letters, digits and hyphens"
    raise_violations(violations)
    assert platform is not None, "its absence is a violation"
    return NewTarget(platform, request.token, request.locale)


def target_to_proto(target: PushTarget) -> push_service_pb2.PushTarget:
    """Return it as the API shows it."""
    return push_service_pb2.PushTarget(
        session_id=target.session_id,
        platform=_PLATFORMS_TO_PROTO[target.platform],
        locale=target.locale,
        create_time=to_timestamp(target.create_time),
        register_time=to_timestamp(target.register_time),
    )
