import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import message_content_pb2 as contents
from tieline.api.messaging.v1 import messaging_pb2
from tieline.messaging.sensitive_words import (
    CLEAN,
    Screening,
    WordAction,
    WordMatcher,
    normalise,
    read_text,
)

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
