"""Corps between the wire and the rules. Pure."""

import datetime as dt

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.fields import to_timestamp
from tieline.identity.corps.rules import Corp, CorpKind, CorpState

KINDS = {
    identity_pb2.CORP_KIND_COMPANY: CorpKind.COMPANY,
    identity_pb2.CORP_KIND_SCHOOL: CorpKind.SCHOOL,
    identity_pb2.CORP_KIND_HOSPITAL: CorpKind.HOSPITAL,
    identity_pb2.CORP_KIND_GOVERNMENT: CorpKind.GOVERNMENT,
    identity_pb2.CORP_KIND_OTHER: CorpKind.OTHER,
}
STATES = {
    identity_pb2.CORP_STATE_ACTIVE: CorpState.ACTIVE,
    identity_pb2.CORP_STATE_SUSPENDED: CorpState.SUSPENDED,
    identity_pb2.CORP_STATE_DELETING: CorpState.DELETING,
}
_PROTO_KINDS = {kind: number for number, kind in KINDS.items()}
_PROTO_STATES = {state: number for number, state in STATES.items()}

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def to_corp(corp: Corp) -> identity_pb2.Corp:
    """Return the corp as its own people and platform administrators see it."""
    return identity_pb2.Corp(
        corp_id=corp.corp_id,
        display_name=corp.display_name,
        kind=_PROTO_KINDS[corp.kind],
        owner_user_id=corp.owner_user_id,
        verify_time=optional_timestamp(corp.verify_time),
        verified_label=corp.verified_label,
        create_time=to_timestamp(corp.create_time),
        state=_PROTO_STATES[corp.state],
        suspend_reason=corp.suspend_reason,
        purge_time=optional_timestamp(corp.purge_time),
        etag=str(corp.change_number),
    )


def to_profile(corp: Corp) -> identity_pb2.CorpProfile:
    """Return the corp as outsiders see it."""
    return identity_pb2.CorpProfile(
        corp_id=corp.corp_id,
        display_name=corp.display_name,
        kind=_PROTO_KINDS[corp.kind],
        verified_label=corp.verified_label,
    )


def optional_timestamp(time: dt.datetime | None) -> Timestamp | None:
    """Return a time that may be absent as a protobuf Timestamp."""
    return None if time is None else to_timestamp(time)


def to_position(time: dt.datetime, row_id: str) -> tuple[int, str]:
    """Return a page token's position in rows that are ordered by time and id."""
    return (time - _EPOCH) // _MICROSECOND, row_id


def from_position(position: list[str | int] | None) -> tuple[dt.datetime, str] | None:
    """Return the time and id where the next page begins; None for the first page."""
    if position is None:
        return None
    microseconds, row_id = position
    return _EPOCH + int(microseconds) * _MICROSECOND, str(row_id)
