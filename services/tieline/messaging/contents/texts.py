"""What can be read in a message, for previews and searches. Pure."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from tieline.api.messaging.v1 import messaging_pb2

# Notes have numbers from 50 on in MessageContent.
FIRST_NOTE_NUMBER = 50

PREVIEW_CHARACTERS = 100


def find_kind(content: messaging_pb2.MessageContent) -> str:
    """Return the name of the content's field; empty for none, or one that is not known here."""
    return content.WhichOneof("kind") or ""


def is_note(content: messaging_pb2.MessageContent) -> bool:
    """Tell whether the service made it."""
    kind = find_kind(content)
    if not kind:
        return False
    return content.DESCRIPTOR.fields_by_name[kind].number >= FIRST_NOTE_NUMBER


def list_texts(content: messaging_pb2.MessageContent) -> list[str]:
    """Return what can be read in it, the most telling first; nothing of notes."""
    kind = find_kind(content)
    texts_of = _TEXTS.get(kind)
    if texts_of is None:
        return []
    return [text for text in texts_of(getattr(content, kind)) if text]


def build_preview(content: messaging_pb2.MessageContent) -> str:
    """Return how the content begins, in one line."""
    for text in list_texts(content):
        # Cut first: a text of 8 KiB need not be split into its words.
        line = " ".join(text[: PREVIEW_CHARACTERS * 4].split())
        if line:
            return line[:PREVIEW_CHARACTERS]
    return ""


def _fields(*names: str) -> Callable[[Any], Iterator[str]]:
    def read(part: Any) -> Iterator[str]:
        return (getattr(part, name) for name in names)

    return read


def _quiz(part: Any) -> Iterator[str]:
    yield part.question
    yield from (option.text for option in part.options)


def _card(part: Any) -> Iterator[str]:
    # By its title before where it comes from: a preview shows the first.
    yield from (part.title, part.description, part.source_text, part.emphasis_title)
    yield from (part.emphasis_text, part.sub_title_text, part.quote_title, part.quote_text)
    for paragraph in (part.image_text, *part.sections):
        yield from (paragraph.title, paragraph.text)
    for each in part.fields:
        yield from (each.name, each.value)
    yield from (each.text for each in (*part.links, *part.buttons))
    for selection in (part.button_selection, *part.selections):
        yield selection.title
        yield from (option.text for option in selection.options)
    yield from (each.text for each in part.menu)
    yield part.submit_text


def _forward(part: Any) -> Iterator[str]:
    yield part.title
    for each in part.messages:
        yield from list_texts(each.content)


_TEXTS: Mapping[str, Callable[[Any], Iterator[str]]] = MappingProxyType(
    {
        "text": _fields("text"),
        "red_packet": _fields("greeting"),
        "markdown": _fields("text"),
        "video": _fields("title", "description"),
        "file": _fields("name"),
        "link_card": _fields("title", "description"),
        "mini_program_card": _fields("title"),
        "template_card": _card,
        "location": _fields("name", "address"),
        "contact_card": _fields("display_name"),
        "notice": _fields("title", "text"),
        "quiz": _quiz,
        "merged_forward": _forward,
    }
)
