"""The rules of answering quizzes and template cards. Pure."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.messaging.v1 import message_content_pb2, message_service_pb2, messaging_pb2
from tieline.chassis.errors import FailedPreconditionError
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.messaging.messages.change_rules import wrong_kind_error


class Choice(NamedTuple):
    """An option that somebody chose."""

    selection_key: str
    """Empty for quizzes and buttons."""

    option_key: str


class Selection(NamedTuple):
    """One question of a content."""

    option_keys: Sequence[str]
    takes_several: bool


class Question(NamedTuple):
    """What a content asks, and how it is answered."""

    selections: Mapping[str, Selection]
    close_time: Timestamp | None
    is_changeable: bool
    visibility: message_content_pb2.AnswerVisibility.ValueType

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody is told who answered."""
        return self.visibility == message_content_pb2.ANSWER_VISIBILITY_ANONYMOUS

    def shows_people(self, *, is_sender: bool) -> bool:
        """Return whether somebody, perhaps the message's sender, is told who chose what."""
        if self.is_anonymous:
            return False
        return is_sender or self.visibility == message_content_pb2.ANSWER_VISIBILITY_EVERYONE

    @property
    def choices(self) -> list[Choice]:
        """All that can be chosen, in the content's order."""
        return [
            Choice(key, option_key)
            for key, selection in self.selections.items()
            for option_key in selection.option_keys
        ]


def find_question(content: messaging_pb2.MessageContent) -> Question:
    """Return what the content asks; FailedPreconditionError for one that asks nothing."""
    selections = find_selections(content)
    if not selections:
        raise wrong_kind_error()
    part = content.quiz if content.HasField("quiz") else content.template_card
    return _build_question(part, selections)


def find_selections(content: messaging_pb2.MessageContent) -> Mapping[str, Selection]:
    """Return what can be chosen, by the keys of the questions; nothing where nothing is asked."""
    if content.HasField("quiz"):
        options = [option.key for option in content.quiz.options]
        return {"": Selection(options, content.quiz.multiple)}
    if content.HasField("template_card"):
        return _list_selections(content.template_card)
    return {}


def _list_selections(card: message_content_pb2.TemplateCardContent) -> dict[str, Selection]:
    asked: dict[str, Selection] = {}
    if card.buttons:
        asked[""] = Selection([button.key for button in card.buttons], takes_several=False)
    beside = [card.button_selection] if card.HasField("button_selection") else []
    for selection in (*beside, *card.selections):
        options = [option.key for option in selection.options]
        asked[selection.key] = Selection(options, selection.multiple)
    return asked


def _build_question(
    part: message_content_pb2.QuizContent | message_content_pb2.TemplateCardContent,
    selections: Mapping[str, Selection],
) -> Question:
    close_time = part.close_time if part.HasField("close_time") else None
    return Question(selections, close_time, part.changeable, part.answer_visibility)


def check_answer(
    question: Question, given: Sequence[message_service_pb2.AnswerChoice]
) -> frozenset[Choice]:
    """Return what is chosen; refuse what the question does not offer, or asks for otherwise."""
    violations: dict[str, str] = {}
    for index, choice in enumerate(given):
        selection = question.selections.get(choice.selection_key)
        path = f"choices[{index}]"
        if selection is None:
            violations[f"{path}.selection_key"] = "must be one of the message's"
        else:
            _check_options(selection, choice.option_keys, f"{path}.option_keys", violations)
    if sorted(choice.selection_key for choice in given) != sorted(question.selections):
        violations.setdefault("choices", "must be one for each selection of the message")
    raise_violations(violations)
    return frozenset(
        Choice(choice.selection_key, key) for choice in given for key in choice.option_keys
    )


def _check_options(
    selection: Selection, keys: Collection[str], path: str, violations: dict[str, str]
) -> None:
    if not keys or len(set(keys)) < len(keys):
        violations[path] = "must be at least one, each once"
    elif not set(keys) <= set(selection.option_keys):
        violations[path] = "must be options of the message"
    elif len(keys) > 1 and not selection.takes_several:
        violations[path] = "must be one"


def check_answering(question: Question, previous: Collection[Choice], now: dt.datetime) -> None:
    """Refuse another answer than the previous one where it is too late or was given already."""
    # As timestamps: a close time need not be one that datetime knows.
    close_time, time = question.close_time, to_timestamp(now)
    if close_time is not None and (time.seconds, time.nanos) >= (
        close_time.seconds,
        close_time.nanos,
    ):
        raise FailedPreconditionError("CLOSED", "no answers are taken any more")
    if previous and not question.is_changeable:
        raise FailedPreconditionError("ALREADY_ANSWERED", "the answer can't be changed")


def choices_to_proto(
    question: Question, chosen: Collection[Choice]
) -> Iterator[message_service_pb2.AnswerChoice]:
    """Yield what was chosen, in the content's order."""
    ordered: Iterable[Choice] = (choice for choice in question.choices if choice in chosen)
    for key, options in groupby(ordered, lambda choice: choice.selection_key):
        yield message_service_pb2.AnswerChoice(
            selection_key=key, option_keys=[choice.option_key for choice in options]
        )


def counts_to_proto(
    question: Question, counts: Mapping[Choice, int]
) -> Iterator[message_service_pb2.OptionCount]:
    """Yield how often each option was chosen, in the content's order."""
    for choice in question.choices:
        yield message_service_pb2.OptionCount(
            selection_key=choice.selection_key,
            option_key=choice.option_key,
            count=counts.get(choice, 0),
        )
