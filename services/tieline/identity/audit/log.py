"""The rules of the audit log: what is stored of an entry that came in, and what can be asked. Pure.

Entries come from other services, and what they tell was done is done: nothing of it is refused.
What does not fit is cut to fit.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.common.v1 import audit_pb2, principal_pb2
from tieline.chassis.fields import check_text, is_uuid, raise_violations, to_timestamp

MAX_ACTION_LENGTH = 100
MAX_RESOURCE_LENGTH = 200
MAX_DETAILS = 20
MAX_DETAIL_LENGTH = 256

# Of addresses, request ids, and the longest id of an actor.
_MAX_ID_LENGTH = 128

# Of what a spreadsheet or a database can hold no earlier and no later.
EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)

_BEFORE_ALL_EVENTS = "00000000-0000-0000-0000-000000000000"

_KIND_PREFIX = "PRINCIPAL_KIND_"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log."""

    corp_id: str
    """Empty for the platform's log."""

    act_time: dt.datetime
    event_id: str
    actor_kind: str
    """A value of ``principals.PrincipalKind``; empty for the platform itself."""

    actor_id: str
    action: str
    resource: str
    details: Mapping[str, str]
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are asked for; an empty text is no condition."""

    start_time: dt.datetime = EARLIEST
    end_time: dt.datetime = LATEST
    actor_kind: str = ""
    actor_id: str = ""
    action_prefix: str = ""
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log; what is before it is older."""

    act_time: dt.datetime
    event_id: str

    @classmethod
    def at(cls, time: dt.datetime) -> "Position":
        """Return the place with all entries of this very time after it."""
        return cls(time, _BEFORE_ALL_EVENTS)


def read_entry(service: str, corp_id: str, message: audit_pb2.AuditEntry) -> Entry | None:
    """Return what is stored of an entry that a service sent for a corp; None if it can't be one.

    The service is the one whose stream it came by: none can write down acts of another.
    """
    if not is_uuid(message.event_id) or message.corp_id != corp_id:
        return None
    try:
        act_time = message.act_time.ToDatetime(tzinfo=dt.UTC)
    except ValueError:
        return None
    action = message.action
    if not action.startswith(f"{service}."):
        action = f"{service}.{action}"
    details = sorted(message.details.items())[:MAX_DETAILS]
    return Entry(
        corp_id=corp_id,
        act_time=act_time,
        event_id=message.event_id,
        actor_kind=_kind_name(message.actor.kind),
        actor_id=_cut(message.actor.id, _MAX_ID_LENGTH),
        action=_cut(action, MAX_ACTION_LENGTH),
        resource=_cut(message.resource, MAX_RESOURCE_LENGTH),
        details={
            _cut(name, MAX_DETAIL_LENGTH): _cut(value, MAX_DETAIL_LENGTH) for name, value in details
        },
        address=_cut(message.address, _MAX_ID_LENGTH),
        request_id=_cut(message.request_id, _MAX_ID_LENGTH),
    )


def to_message(entry: Entry) -> audit_pb2.AuditEntry:
    """Return the entry as callers see it."""
    message = audit_pb2.AuditEntry(
        event_id=entry.event_id,
        corp_id=entry.corp_id,
        act_time=to_timestamp(entry.act_time),
        action=entry.action,
        resource=entry.resource,
        details=entry.details,
        address=entry.address,
        request_id=entry.request_id,
    )
    if entry.actor_kind:
        message.actor.kind = principal_pb2.PrincipalKind.Value(
            f"{_KIND_PREFIX}{entry.actor_kind.upper()}"
        )
        message.actor.id = entry.actor_id
    return message


def build_filter(
    start_time: Timestamp | None,
    end_time: Timestamp | None,
    actor: principal_pb2.PrincipalRef,
    action_prefix: str,
    resource: str,
) -> AuditFilter:
    """Return what a request asks for, or refuse it with every field that is wrong."""
    violations: dict[str, str] = {}
    start = _read_time(start_time, "filter.start_time", EARLIEST, violations)
    end = _read_time(end_time, "filter.end_time", LATEST, violations)
    if end < start:
        violations["filter.end_time"] = "must not be before start_time"
    for field, value, maximum in (
        ("filter.actor.id", actor.id, _MAX_ID_LENGTH),
        ("filter.action_prefix", action_prefix, MAX_ACTION_LENGTH),
        ("filter.resource", resource, MAX_RESOURCE_LENGTH),
    ):
        check_text(value, field, violations, minimum=0, maximum=maximum)
    if actor.kind not in principal_pb2.PrincipalKind.values():
        violations["filter.actor.kind"] = "must be one of the kinds of principals"
    raise_violations(violations)
    return AuditFilter(start, end, _kind_name(actor.kind), actor.id, action_prefix, resource)


def _read_time(
    time: Timestamp | None, field: str, default: dt.datetime, violations: dict[str, str]
) -> dt.datetime:
    if time is None:
        return default
    try:
        read = time.ToDatetime(tzinfo=dt.UTC)
    except ValueError:
        read = None
    if read is None or not EARLIEST <= read <= LATEST:
        violations[field] = "must be a time from 1970 to 9998"
        return default
    return read


def _kind_name(kind: "principal_pb2.PrincipalKind.ValueType") -> str:
    if kind == principal_pb2.PRINCIPAL_KIND_UNSPECIFIED:
        return ""
    try:
        name: str = principal_pb2.PrincipalKind.Name(kind)
    except ValueError:
        # A newer service's. What it was called is in no table here.
        return ""
    return name.removeprefix(_KIND_PREFIX).lower()


def _cut(text: str, maximum: int) -> str:
    # PostgreSQL takes no NUL.
    return text.replace("\x00", "\ufffd")[:maximum]
