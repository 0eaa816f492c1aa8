from collections.abc import Iterator, Mapping

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import message_content_pb2 as contents
from tieline.api.messaging.v1 import messaging_pb2
from tieline.messaging.compliance.sensitive_words import (
    CLEAN,
    Screening,
    WordAction,
    WordMatcher,
    normalise,
    read_text,
)
from tieline.messaging.contents.rules import FIRST_NOTE_NUMBER

# Strings of a message that nobody reads, with the reason. A new one is looked at, or stands here.
_NAMES_SOMETHING = "an id or a key, which clients and apps pass on and show nobody"
_LEADS_SOMEWHERE = "where a tap leads, or a picture is"
UNREAD: Mapping[str, str] = {
    "PrincipalRef.id": _NAMES_SOMETHING,
    "RedPacketContent.red_packet_id": _NAMES_SOMETHING,
    "ImageContent.media_id": _NAMES_SOMETHING,
    "VoiceContent.media_id": _NAMES_SOMETHING,
    "VideoContent.media_id": _NAMES_SOMETHING,
    "VideoContent.cover_media_id": _NAMES_SOMETHING,
    "FileContent.media_id": _NAMES_SOMETHING,
    "NoticeContent.media_ids": _NAMES_SOMETHING,
    "MiniProgramCardContent.app_id": _NAMES_SOMETHING,
    "MiniProgramCardContent.cover_media_id": _NAMES_SOMETHING,
    "TemplateCardMiniProgram.app_id": _NAMES_SOMETHING,
    "TemplateCardContent.task_id": _NAMES_SOMETHING,
    "TemplateCardButton.key": _NAMES_SOMETHING,
    "TemplateCardSelection.key": _NAMES_SOMETHING,
    "QuizOption.key": _NAMES_SOMETHING,
    "LinkCardContent.url": _LEADS_SOMEWHERE,
    "LinkCardContent.picture_url": _LEADS_SOMEWHERE,
    "MiniProgramCardContent.page": _LEADS_SOMEWHERE,
    "TemplateCardMiniProgram.page": _LEADS_SOMEWHERE,
    "TemplateCardField.url": _LEADS_SOMEWHERE,
    "TemplateCardLink.url": _LEADS_SOMEWHERE,
    "TemplateCardImageText.image_url": _LEADS_SOMEWHERE,
    "TemplateCardImageText.url": _LEADS_SOMEWHERE,
    "TemplateCardContent.picture_url": _LEADS_SOMEWHERE,
    "TemplateCardContent.card_url": _LEADS_SOMEWHERE,
    "TemplateCardContent.source_icon_url": _LEADS_SOMEWHERE,
    "TemplateCardContent.quote_url": _LEADS_SOMEWHERE,
}

BLOCK, FLAG = WordAction.BLOCK, WordAction.FLAG
Content = messaging_pb2.MessageContent


def matcher(*words: str, action: WordAction = FLAG) -> WordMatcher:
    return WordMatcher({normalise(word): action for word in words})


@pytest.mark.parametrize(
    ("word", "text", "is_found"),
    [
        pytest.param("bad", "this is bad", True, id="a word"),
        pytest.param("bad", "BAD", True, id="capitals"),
        pytest.param("BAD", "bad", True, id="capitals in the word"),
        pytest.param("bad", "ＢＡＤ", True, id="wide"),
        pytest.param("bad", "b a d", True, id="spaces"),
        pytest.param("bad", "b\n\ta\u3000d", True, id="other spaces"),
        pytest.param("bad", "b\u200ba\u200bd", True, id="characters of no width"),
        pytest.param("bad", "a b a d", True, id="spaces behind another word"),
        pytest.param("bad", "bad.", True, id="before a full stop"),
        pytest.param("bad", "很bad的", True, id="between Chinese characters"),
        pytest.param("bad", "badly", False, id="the beginning of another"),
        pytest.param("bad", "forbad", False, id="the end of another"),
        pytest.param("ass", "was sent", False, id="over a gap"),
        pytest.param("ass", "pass", False, id="within another"),
        pytest.param("very bad", "verybad", True, id="two words without their gap"),
        pytest.param("赌博", "网上赌博平台", True, id="Chinese within a sentence"),
        pytest.param("赌博", "赌 博", True, id="Chinese with a space"),
        pytest.param("赌博", "赌注博客", False, id="Chinese apart"),
        pytest.param("ß", "SS", True, id="folded to two letters"),
        pytest.param("42", "1422", False, id="digits within a number"),
        pytest.param("bad", "", False, id="nothing"),
    ],
)
def test_word_is_found_however_it_is_written(word: str, text: str, is_found: bool) -> None:
    assert (matcher(word).screen(text) is not CLEAN) is is_found


def test_blocked_word_wins_and_flagged_ones_are_each_told_once() -> None:
    both = WordMatcher({"bad": BLOCK, "odd": FLAG, "dubious": FLAG})

    assert both.screen("odd, dubious, odd") == Screening(flagged=("odd", "dubious"))
    assert both.screen("odd and bad").is_blocked
    assert both.screen("fine") is CLEAN


def test_corp_without_words_finds_nothing() -> None:
    assert WordMatcher({}).screen("bad") is CLEAN


@given(st.lists(st.text("abc 赌博", min_size=1, max_size=4)), st.text("abcd 赌博x", max_size=30))
def test_words_without_latin_letters_are_those_that_a_search_finds(
    words: list[str], text: str
) -> None:
    plain = {normalise(word) for word in words if normalise(word) and not word.isascii()}
    plain = {word for word in plain if not (word[0].isascii() or word[-1].isascii())}
    squeezed = normalise(text)

    found = WordMatcher(dict.fromkeys(plain, FLAG)).screen(text).flagged

    assert set(found) == {word for word in plain if word in squeezed}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (Content(text=messaging_pb2.TextContent(text="said")), "said"),
        (Content(file=contents.FileContent(media_id="m", name="plan.pdf")), "plan.pdf"),
        (
            Content(link_card=contents.LinkCardContent(title="t", description="d", url="http://u")),
            "t\nd",
        ),
        (
            Content(
                quiz=contents.QuizContent(
                    question="q", options=[contents.QuizOption(key="k", text="a")]
                )
            ),
            "q\na",
        ),
        (
            Content(
                merged_forward=messaging_pb2.MergedForwardContent(
                    title="t",
                    messages=[
                        messaging_pb2.ForwardedMessage(
                            content=Content(text=messaging_pb2.TextContent(text="within"))
                        )
                    ],
                )
            ),
            "t\nwithin",
        ),
    ],
)
def test_all_that_people_read_is_looked_at(content: Content, expected: str) -> None:
    assert read_text(content) == expected


Path = tuple[FieldDescriptor, ...]


def list_strings(
    descriptor: Descriptor = Content.DESCRIPTOR, path: Path = ()
) -> Iterator[tuple[str, Path]]:
    """Yield the strings of what people say, and by which fields each is reached."""
    for field in descriptor.fields:
        if not path and FIRST_NOTE_NUMBER <= field.number < 100:
            continue  # notes are the service's own; what people give for them is looked at before
        here = (*path, field)
        if field.type == FieldDescriptor.TYPE_STRING:
            yield f"{descriptor.name}.{field.name}", here
        elif field.message_type is not None and field.message_type is not Content.DESCRIPTOR:
            # Contents within a forward are read as those without; one of them is tried above.
            yield from list_strings(field.message_type, here)


def set_string(message: Message, path: Path, value: str) -> None:
    """Put the value where the path leads, in messages made on the way."""
    field, *rest = path
    part = getattr(message, field.name)
    if not rest:
        part.append(value) if field.is_repeated else setattr(message, field.name, value)
        return
    set_string(part.add() if field.is_repeated else part, tuple(rest), value)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, id=".".join(field.name for field in path))
        for name, path in list_strings()
    ],
)
def test_word_is_found_in_every_string_but_those_listed_as_unread(name: str, path: Path) -> None:
    """Of every kind, and of what any kind may have besides, such as a quotation."""
    content = Content()
    # A quotation is of some kind of message: of text, whose words are read in a way of their own.
    content.text.text = "said"
    set_string(content, path, "lottery")

    is_found = matcher("lottery").screen(read_text(content)) is not CLEAN

    assert is_found is (name not in UNREAD)


def test_no_string_is_listed_as_unread_that_is_not_there() -> None:
    assert UNREAD.keys() <= {name for name, _ in list_strings()}
