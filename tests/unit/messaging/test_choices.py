import datetime as dt
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.messaging.v1 import message_content_pb2 as contents
from tieline.api.messaging.v1 import message_service_pb2, messaging_pb2
from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError
from tieline.chassis.fields import to_timestamp
from tieline.messaging.contents import choices
from tieline.messaging.contents.choices import Choice
from tieline.messaging.contents.rules import check_content

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
TICK = dt.timedelta(microseconds=1)

Content = messaging_pb2.MessageContent


def options(*keys: str) -> list[contents.QuizOption]:
    return [contents.QuizOption(key=key, text=key) for key in keys]


def quiz(**fields: Any) -> Content:
    return Content(
        quiz=contents.QuizContent(question="Where?", options=options("b", "a", "c"), **fields)
    )


def card(kind: str, **fields: Any) -> Content:
    number = contents.TemplateCardKind.Value(f"TEMPLATE_CARD_KIND_{kind}")
    return Content(
        template_card=contents.TemplateCardContent(kind=number, task_id="t", title="T", **fields)
    )


def buttons(*keys: str, **fields: Any) -> Content:
    named = [contents.TemplateCardButton(text=key, key=key) for key in keys]
    return card("BUTTON_INTERACTION", buttons=named, **fields)


def selection(key: str, *keys: str) -> contents.TemplateCardSelection:
    return contents.TemplateCardSelection(key=key, options=options(*keys))


def two_selections() -> Content:
    selections = [
        contents.TemplateCardSelection(key="s1", options=options("a", "b")),
        contents.TemplateCardSelection(key="s2", options=options("a", "c"), multiple=True),
    ]
    return card("MULTIPLE_INTERACTION", selections=selections, submit_text="Send")


def vote(**fields: Any) -> Content:
    selections = [contents.TemplateCardSelection(key="s1", options=options("a", "b"))]
    return card("VOTE_INTERACTION", selections=selections, submit_text="Send", **fields)


def given(*pairs: tuple[str, list[str]]) -> list[message_service_pb2.AnswerChoice]:
    return [
        message_service_pb2.AnswerChoice(selection_key=key, option_keys=chosen)
        for key, chosen in pairs
    ]


@pytest.mark.parametrize(
    ("content", "answer", "chosen"),
    [
        (quiz(), [("", ["a"])], {("", "a")}),
        (quiz(multiple=True), [("", ["c", "a"])], {("", "a"), ("", "c")}),
        (quiz(multiple=True), [("", ["a"])], {("", "a")}),
        (buttons("yes", "no"), [("", ["no"])], {("", "no")}),
        (vote(), [("s1", ["b"])], {("s1", "b")}),
        (
            buttons("yes", "no", button_selection=selection("days", "1", "2")),
            [("days", ["2"]), ("", ["yes"])],
            {("", "yes"), ("days", "2")},
        ),
        (
            two_selections(),
            [("s2", ["c", "a"]), ("s1", ["a"])],
            {("s1", "a"), ("s2", "a"), ("s2", "c")},
        ),
    ],
)
def test_answer_to_what_is_asked_is_taken(
    content: Content, answer: list[tuple[str, list[str]]], chosen: set[tuple[str, str]]
) -> None:
    question = choices.find_question(content)

    assert choices.check_answer(question, given(*answer)) == chosen


@pytest.mark.parametrize(
    ("content", "answer", "field"),
    [
        (quiz(), [], "choices"),
        (quiz(), [("", [])], "choices[0].option_keys"),
        (quiz(), [("", ["d"])], "choices[0].option_keys"),
        (quiz(), [("", ["a", "b"])], "choices[0].option_keys"),
        (quiz(), [("s1", ["a"])], "choices[0].selection_key"),
        (quiz(), [("", ["a"]), ("", ["a"])], "choices"),
        (quiz(multiple=True), [("", ["a", "a"])], "choices[0].option_keys"),
        (quiz(multiple=True), [("", ["a", "d"])], "choices[0].option_keys"),
        (buttons("yes", "no"), [("", ["yes", "no"])], "choices[0].option_keys"),
        (buttons("yes", button_selection=selection("days", "1")), [("", ["yes"])], "choices"),
        (vote(), [("s1", ["a", "b"])], "choices[0].option_keys"),
        (vote(), [("", ["a"])], "choices[0].selection_key"),
        (two_selections(), [("s1", ["a"])], "choices"),
        (two_selections(), [("s1", ["a"]), ("s2", ["b"])], "choices[1].option_keys"),
    ],
)
def test_answer_to_what_is_not_asked_is_refused(
    content: Content, answer: list[tuple[str, list[str]]], field: str
) -> None:
    question = choices.find_question(content)

    with pytest.raises(InvalidArgumentError) as caught:
        choices.check_answer(question, given(*answer))

    assert field in caught.value.violations


@pytest.mark.parametrize(
    "content",
    [
        Content(text=messaging_pb2.TextContent(text="Where?")),
        card("TEXT_NOTICE", menu=[contents.TemplateCardButton(text="More", key="more")]),
        Content(),
    ],
)
def test_what_asks_nothing_is_not_answered(content: Content) -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        choices.find_question(content)

    assert caught.value.reason == "WRONG_MESSAGE_KIND"


PREVIOUS = frozenset({Choice("", "b")})


@pytest.mark.parametrize(
    ("content", "previous", "reason"),
    [
        (quiz(), frozenset(), None),
        (quiz(), PREVIOUS, "ALREADY_ANSWERED"),
        (quiz(changeable=True), PREVIOUS, None),
        (quiz(close_time=to_timestamp(NOW + TICK)), frozenset(), None),
        (quiz(close_time=to_timestamp(NOW)), frozenset(), "CLOSED"),
        (quiz(close_time=to_timestamp(NOW), changeable=True), PREVIOUS, "CLOSED"),
        (quiz(close_time=Timestamp(seconds=2**62)), frozenset(), None),
        (quiz(close_time=Timestamp(seconds=-(2**62))), frozenset(), "CLOSED"),
        (buttons("a", "b"), PREVIOUS, "ALREADY_ANSWERED"),
        (buttons("a", "b", changeable=True), PREVIOUS, None),
        (vote(close_time=to_timestamp(NOW)), frozenset(), "CLOSED"),
    ],
)
def test_answers_are_taken_until_the_close_and_once_unless_changeable(
    content: Content, previous: frozenset[Choice], reason: str | None
) -> None:
    question = choices.find_question(content)

    try:
        choices.check_answering(question, previous, NOW)
        refused = None
    except FailedPreconditionError as error:
        refused = error.reason

    assert refused == reason


@pytest.mark.parametrize(
    ("visibility", "anybody", "sender", "is_anonymous"),
    [
        ("UNSPECIFIED", False, True, False),
        ("SENDER", False, True, False),
        ("EVERYONE", True, True, False),
        ("ANONYMOUS", False, False, True),
    ],
)
def test_who_chose_what_is_told_as_the_content_says(
    visibility: str, *, anybody: bool, sender: bool, is_anonymous: bool
) -> None:
    number = contents.AnswerVisibility.Value(f"ANSWER_VISIBILITY_{visibility}")
    question = choices.find_question(quiz(answer_visibility=number))

    assert question.shows_people(is_sender=False) is anybody
    assert question.shows_people(is_sender=True) is sender
    assert question.is_anonymous is is_anonymous


def test_options_are_told_in_the_order_of_the_content() -> None:
    question = choices.find_question(two_selections())
    chosen = {Choice("s2", "c"), Choice("s2", "a"), Choice("s1", "b")}

    told = list(choices.choices_to_proto(question, chosen))
    counted = list(choices.counts_to_proto(question, {Choice("s2", "c"): 2}))

    assert told == given(("s1", ["b"]), ("s2", ["a", "c"]))
    assert [(each.selection_key, each.option_key, each.count) for each in counted] == [
        ("s1", "a", 0),
        ("s1", "b", 0),
        ("s2", "a", 0),
        ("s2", "c", 2),
    ]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (quiz(answer_visibility=3, changeable=True, close_time=to_timestamp(NOW)), None),
        (quiz(answer_visibility=4), "content.quiz.answer_visibility"),
        (vote(answer_visibility=3, changeable=True, close_time=to_timestamp(NOW)), None),
        (vote(answer_visibility=4), "content.template_card.answer_visibility"),
        (card("TEXT_NOTICE", card_url="https://a.example"), None),
        (
            card("TEXT_NOTICE", card_url="https://a.example", changeable=True),
            "content.template_card.changeable",
        ),
        (
            card("TEXT_NOTICE", card_url="https://a.example", answer_visibility=1),
            "content.template_card.answer_visibility",
        ),
        (
            card("TEXT_NOTICE", card_url="https://a.example", close_time=to_timestamp(NOW)),
            "content.template_card.close_time",
        ),
    ],
)
def test_how_it_is_answered_is_checked_when_it_is_sent(content: Content, field: str | None) -> None:
    violations: dict[str, str] = {}

    check_content(content, violations)

    assert list(violations) == ([] if field is None else [field])
