"""The rules of trusted channels: their keys, and what disabling one does. Pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import check_text, raise_violations
from tieline.identity.corps.rules import MAX_NAME_LENGTH

PUBLIC_KEY_BYTES = 32
MAX_OVERLAP = dt.timedelta(days=30)
DEFAULT_OVERLAP = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Channel:
    """Who vouches for customers."""

    channel_id: str
    display_name: str
    public_key: bytes
    create_time: dt.datetime
    previous_public_key: bytes | None = None
    previous_key_expire_time: dt.datetime | None = None
    is_disabled: bool = False
    session_floor_time: dt.datetime | None = None
    """Sessions opened before it are over; None for all are good."""

    change_number: int = 1
    """The channel's etag."""

    def good_keys(self, now: dt.datetime) -> list[bytes]:
        """Return the keys whose assertions are accepted, the current one first."""
        if self.is_disabled:
            return []
        keys = [self.public_key]
        previous, end = self.previous_public_key, self.previous_key_expire_time
        if previous is not None and end is not None and now < end:
            keys.append(previous)
        return keys

    def lets_session_go_on(self, create_time: dt.datetime) -> bool:
        """Tell whether a session that was opened then may be refreshed."""
        floor = self.session_floor_time
        return not self.is_disabled and (floor is None or create_time >= floor)


@dataclass(frozen=True, slots=True)
class ChannelChange:
    """What is to become of a channel; None leaves it as it is."""

    display_name: str | None = None
    public_key: bytes | None = None
    overlap: dt.timedelta = DEFAULT_OVERLAP
    """How long the key before stays good."""

    is_disabled: bool | None = None

    def apply(self, channel: Channel, now: dt.datetime) -> Channel:
        """Return the channel as it is to be; the same object where nothing changes."""
        changed = channel
        if self.display_name is not None:
            changed = replace(changed, display_name=self.display_name)
        if self.public_key is not None and self.public_key != channel.public_key:
            changed = replace(
                changed,
                public_key=self.public_key,
                previous_public_key=channel.public_key if self.overlap else None,
                previous_key_expire_time=now + self.overlap if self.overlap else None,
            )
        if self.is_disabled is not None:
            changed = replace(changed, is_disabled=self.is_disabled)
        if changed.is_disabled and not channel.is_disabled:
            changed = replace(changed, session_floor_time=now)
        return channel if changed == channel else changed


def check_channel(
    display_name: str | None, public_key: bytes | None, prefix: str = ""
) -> dict[str, str]:
    """Return what speaks against the fields that are given, by field."""
    violations: dict[str, str] = {}
    if display_name is not None:
        field = f"{prefix}display_name"
        check_text(display_name, field, violations, minimum=1, maximum=MAX_NAME_LENGTH)
    if public_key is not None and len(public_key) != PUBLIC_KEY_BYTES:
        violations[f"{prefix}public_key"] = (
            f"must be an Ed25519 public key of {PUBLIC_KEY_BYTES} bytes"
        )
    return violations


def check_new_channel(display_name: str, public_key: bytes) -> None:
    """Refuse a channel that could not be created, with every field that is wrong."""
    raise_violations(check_channel(display_name, public_key))


def is_overlap(seconds: float) -> bool:
    """Tell whether a key may stay good for so long beside the next one."""
    return 0 <= seconds <= MAX_OVERLAP.total_seconds()


def describe_change(before: Channel, after: Channel) -> Sequence[str]:
    """Return which fields differ, for the audit log."""
    pairs = {
        "display_name": before.display_name != after.display_name,
        "public_key": before.public_key != after.public_key,
        "disabled": before.is_disabled != after.is_disabled,
    }
    return [name for name, differs in pairs.items() if differs]


def channel_not_found_error(channel_id: str) -> NotFoundError:
    """Return the error for a channel that is not there."""
    return NotFoundError("CHANNEL_NOT_FOUND", "no such channel", {"channelId": channel_id})
