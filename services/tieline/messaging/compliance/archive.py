"""The rules of the archive: where a reader stands, and how an entry is written. Pure."""

import datetime as dt
import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf import json_format

from tieline.api.messaging.v1 import archive_service_pb2
from tieline.chassis.fields import to_timestamp
from tieline.messaging.messages.rules import StoredMessage, message_to_proto

MAX_CONSUMERS = 100
CHUNK_BYTES = 64 * 1024

_CONSUMER_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class ArchivePosition(NamedTuple):
    """Behind which message a reader stands; positions are in the archive's order."""

    message_time: dt.datetime
    conversation_id: str
    sequence: int

    @classmethod
    def at(cls, time: dt.datetime) -> "ArchivePosition":
        """Return the position before all messages of that time."""
        return cls(time, "", 0)

    def to_values(self) -> list[str | int]:
        """Return what a cursor has of it."""
        return [(self.message_time - _EPOCH) // _MICROSECOND, self.conversation_id, self.sequence]

    @classmethod
    def from_values(cls, values: Sequence[str | int]) -> "ArchivePosition":
        """Return the position of a cursor that this service made."""
        microseconds, conversation_id, sequence = values
        time = _EPOCH + int(microseconds) * _MICROSECOND
        return cls(time, str(conversation_id), int(sequence))


class ArchivedMessage(NamedTuple):
    """A message with what it said before."""

    message: StoredMessage
    replaced: Sequence[tuple[bytes, dt.datetime]]
    is_held: bool

    @property
    def position(self) -> ArchivePosition:
        """Return where a reader stands who has read it."""
        message = self.message
        return ArchivePosition(message.create_time, message.conversation_id, message.sequence)


def check_consumer_id(value: str, violations: dict[str, str]) -> None:
    """Refuse what is no consumer's id."""
    if not _CONSUMER_ID.fullmatch(value):
        violations["consumer_id"] = "must be 1 to 64 of 0-9 A-Z a-z _ -"


def entry_to_proto(archived: ArchivedMessage) -> archive_service_pb2.ArchiveEntry:
    """Return the entry as the API shows it."""
    entry = archive_service_pb2.ArchiveEntry(
        message=message_to_proto(archived.message), held=archived.is_held
    )
    for content, replace_time in archived.replaced:
        replaced = entry.replaced.add(replace_time=to_timestamp(replace_time))
        replaced.content.ParseFromString(content)
    return entry


def write_line(archived: ArchivedMessage) -> bytes:
    """Return the entry as a line of JSON."""
    entry = json_format.MessageToDict(entry_to_proto(archived))
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
