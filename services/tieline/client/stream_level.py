"""What a stream tells its service of overload while it is open, and learns from it.

Where the messages of a method have fields for it (``tieline.api.common.v1.AdmissionLevel`` and
``HeldBackCalls``) its responses tell the level as of now, and its requests what was held back.
Other streams do so in their metadata, at their beginning and end.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from tieline.api.common.v1 import admission_pb2
from tieline.client.callee_level import ADMISSION_KEY, HELD_BACK_KEY, CalleeLevel
from tieline.client.calls import StreamNotes

_ADMISSION_FIELD = "admission"
_HELD_BACK_FIELD = "held_back"


class StreamLevel(StreamNotes):
    """One stream's part in what its caller knows of the service's level."""

    def __init__(self, level: CalleeLevel, learn: Callable[[object], bool]) -> None:
        self._level = level
        self._learn = learn
        self._unread: list[str] = []
        """What was told since the service was last heard of."""

    def begin(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that tells what was held back before the stream."""
        told = self._take()
        return ((HELD_BACK_KEY, told),) if told else ()

    def sign(self, request: Any) -> Any:
        """Return the request with what was held back since; a copy, since it is the caller's."""
        if not _has_field(request, _HELD_BACK_FIELD, admission_pb2.HeldBackCalls):
            return request
        told = self._take()
        if not told:
            return request
        signed = type(request)()
        signed.CopyFrom(request)
        critical, high, normal, low = map(int, told.split(","))
        counts = admission_pb2.HeldBackCalls(critical=critical, high=high, normal=normal, low=low)
        signed.held_back.CopyFrom(counts)
        return signed

    def note_response(self, response: Any) -> None:
        """Learn the level, and that the service is there and reads."""
        self._unread.clear()
        self._learn(find_told_by_response(response))

    def note_end(self, trailers: Any) -> None:
        """Learn the level of the end; what nobody has read is told again by what comes next."""
        if not self._learn(find_told(trailers)):
            for told in self._unread:
                self._level.give_back(told)
        self._unread.clear()

    def _take(self) -> str:
        told = self._level.take_held_back()
        if told:
            self._unread.append(told)
        return told


def find_told(trailers: Any) -> object:
    """Return what the service said of its level at the end of a call; None if nothing."""
    return next((value for key, value in trailers or () if key == ADMISSION_KEY), None)


def find_told_by_response(response: Any) -> str | None:
    """Return the same of what the response itself says; None where it has no field for it."""
    if not _has_field(response, _ADMISSION_FIELD, admission_pb2.AdmissionLevel):
        return None
    if not response.HasField(_ADMISSION_FIELD):
        return None
    return f"{response.admission.level} {response.admission.priority}"


def _has_field(message: object, name: str, kind: type[Message]) -> bool:
    if not isinstance(message, Message):
        return False
    field = message.DESCRIPTOR.fields_by_name.get(name)
    return field is not None and field.message_type is kind.DESCRIPTOR
