"""Finds thousands of words in a text in one pass. Pure.

Words and texts are compared with width and case folded and without spaces, so that neither `ＢＡＤ`
nor `b a d` slips through. In what is left `was sent` has `ass`; so a word that begins or ends with
a Latin letter or digit must have no other one right beside it in the text as it was written.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import ahocorasick
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import FailedPreconditionError

MAX_WORDS = 10_000
MAX_WORD_CHARACTERS = 64

# What names or leads somewhere and is not read: fields of these names, or of these ends.
_UNREAD_NAMES = ("id", "key", "page", "url")
_UNREAD_ENDS = ("_id", "_ids", "_url")


class WordAction(StrEnum):
    """What is done about a message with a word; the values stand in tables."""

    BLOCK = "block"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Screening:
    """What the words of a corp say of a text."""

    is_blocked: bool = False
    flagged: tuple[str, ...] = ()
    """Words to be looked at, each once."""


CLEAN = Screening()


class WordMatcher:
    """The words of one corp at one version."""

    def __init__(self, words: Mapping[str, WordAction]) -> None:
        self._automaton = ahocorasick.Automaton()
        for word, action in words.items():
            key = _spell(word)
            self._automaton.add_word(key, (key, word, action))
        self._has_words = bool(words)
        if self._has_words:
            self._automaton.make_automaton()

    def screen(self, text: str) -> Screening:
        """Return what is to be done about a text."""
        if not self._has_words:
            return CLEAN
        folded = _fold(text)
        squeezed = _spell("".join(folded.split()))
        found: dict[str, None] = {}
        joints: frozenset[int] | None = None
        for end, (key, word, action) in self._automaton.iter(squeezed):
            start = end - len(key) + 1
            if _has_latin_end(word):
                if joints is None:
                    joints = _list_joints(folded)
                if not _stands_alone(squeezed, start, end, joints):
                    continue
            if action is WordAction.BLOCK:
                return Screening(is_blocked=True)
            found[word] = None
        return Screening(flagged=tuple(found)) if found else CLEAN


def normalise(text: str) -> str:
    """Return a word as it is compared."""
    return "".join(_fold(text).split())


def check_allowed(screening: Screening) -> None:
    """Refuse what has a blocked word."""
    if screening.is_blocked:
        raise blocked_error()


def blocked_error() -> FailedPreconditionError:
    """Return the error for a message that is not allowed; it does not tell which word."""
    return FailedPreconditionError(
        "SENSITIVE_WORD", "the message has a word that the corp does not allow"
    )


def read_text(content: messaging_pb2.MessageContent) -> str:
    """Return all that people read of a message, a line for each part of it."""
    if content.WhichOneof("kind") == "text" and not content.HasField("reply_to"):
        return content.text.text
    return "\n".join(_list_texts(content))


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Characters of no width, which hide a word from a machine and from nobody else.
    return "".join(each for each in folded if unicodedata.category(each) != "Cf")


def _spell(text: str) -> str:
    """Return the text with a character for each byte of its UTF-8.

    The automaton goes through the children of a node one by one: with thousands of Chinese
    characters beneath the root each character of a text would cost as much. Bytes have few, and no
    word's bytes are found where its characters do not begin.
    """
    return text if text.isascii() else text.encode().decode("latin-1")


def _has_latin_end(word: str) -> bool:
    return _is_latin(word[0]) or _is_latin(word[-1])


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _list_joints(folded: str) -> frozenset[int]:
    """Return the places in the squeezed text before which there was a space."""
    joints = []
    position = 0
    for part in folded.split():
        joints.append(position)
        position += len(part.encode())
    return frozenset(joints)


def _stands_alone(squeezed: str, start: int, end: int, joints: frozenset[int]) -> bool:
    """Tell whether the text was written with no Latin letter right beside its own."""
    before_joined = (
        start > 0
        and start not in joints
        and _is_latin(squeezed[start])
        and _is_latin(squeezed[start - 1])
    )
    behind = end + 1
    behind_joined = (
        behind < len(squeezed)
        and behind not in joints
        and _is_latin(squeezed[end])
        and _is_latin(squeezed[behind])
    )
    return not before_joined and not behind_joined


def _list_texts(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING:
            if field.name not in _UNREAD_NAMES and not field.name.endswith(_UNREAD_ENDS):
                yield from _each(value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                yield from _list_texts(part)


def _each(value: str | Iterable[str]) -> Iterable[str]:
    return [value] if isinstance(value, str) else value
