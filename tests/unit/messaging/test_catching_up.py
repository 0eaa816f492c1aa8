import datetime as dt

import pytest

from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.catching_up import (
    MAX_BEHIND,
    MAX_BEHIND_IN_ALL,
    MAX_HELD_CONVERSATIONS,
    Start,
    cut_batches,
    plan_catch_up,
    read_held,
)
from tieline.messaging.messages.ranges import Range
from tieline.messaging.messages.rules import StoredMessage


def start(number: int, visible_from: int = 0) -> Start:
    return Start(number, visible_from)


def subscribe(
    *held: tuple[str, int], catch_up: bool = True
) -> messaging_service_pb2.SubscribeRequest:
    request = messaging_service_pb2.SubscribeRequest(catch_up=catch_up)
    for conversation_id, sequence in held:
        request.held.add(conversation_id=conversation_id, sequence=sequence)
    return request


@pytest.mark.parametrize(
    ("held", "now", "ranges", "to_fetch"),
    [
        pytest.param(5, start(5), [], [], id="nothing is missing"),
        pytest.param(4, start(5), [Range("c", 4, 5)], [], id="one is missing"),
        pytest.param(0, start(0), [], [], id="there is none"),
        pytest.param(
            7, start(7 + MAX_BEHIND), [Range("c", 7, 7 + MAX_BEHIND)], [], id="the most that comes"
        ),
        pytest.param(7, start(8 + MAX_BEHIND), [], [(7, 8 + MAX_BEHIND)], id="one too many"),
        pytest.param(
            3, start(9, 3), [Range("c", 3, 9, visible_from=3)], [], id="all that is visible"
        ),
        pytest.param(2, start(9, 3), [], [(3, 9)], id="some of it can't be read"),
    ],
)
def test_rest_comes_or_is_to_be_fetched(
    held: int, now: Start, ranges: list[Range], to_fetch: list[tuple[int, int]]
) -> None:
    plan = plan_catch_up({"c": held}, {"c": now}, ())

    assert plan.ranges == ranges
    assert [(each.after_sequence, each.last_sequence) for each in plan.to_fetch] == to_fetch


def test_conversation_that_is_not_held_is_to_be_fetched() -> None:
    plan = plan_catch_up({}, {"c": start(9, 3)}, ())

    [fetch] = plan.to_fetch
    assert (fetch.conversation_id, fetch.after_sequence, fetch.last_sequence) == ("c", 3, 9)


def test_conversation_that_is_no_longer_there_is_left_unless_it_is_being_joined() -> None:
    plan = plan_catch_up({"gone": 3, "joining": 3}, {}, {"joining"})

    assert plan.left == ["gone"]


def test_only_so_many_messages_come_in_all() -> None:
    held = {f"c{n}": 0 for n in range(MAX_BEHIND_IN_ALL // MAX_BEHIND + 1)}

    plan = plan_catch_up(held, {each: start(MAX_BEHIND) for each in held}, ())

    assert [each.conversation_id for each in plan.ranges] == list(held)[:-1]
    assert [each.conversation_id for each in plan.to_fetch] == list(held)[-1:]


def test_number_that_no_message_has_is_refused() -> None:
    with pytest.raises(FailedPreconditionError) as caught:
        plan_catch_up({"c": 6}, {"c": start(5)}, ())

    assert caught.value.reason == "HELD_AHEAD"
    assert caught.value.metadata == {"conversationId": "c", "lastSequence": "5"}


def test_client_that_catches_up_by_itself_holds_nothing() -> None:
    assert read_held(subscribe(catch_up=False)) is None
    assert read_held(subscribe()) == {}
    assert read_held(subscribe(("b", 2), ("a", 1))) == {"b": 2, "a": 1}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        pytest.param(subscribe(("c", 1), catch_up=False), "held", id="for no catching up"),
        pytest.param(
            subscribe(*((f"c{n}", 1) for n in range(MAX_HELD_CONVERSATIONS + 1))),
            "held",
            id="one too many",
        ),
        pytest.param(subscribe(("c", 1), ("c", 1)), "held[1].conversation_id", id="twice"),
        pytest.param(subscribe(("", 1)), "held[0].conversation_id", id="no id"),
        pytest.param(subscribe(("c", -1)), "held[0].sequence", id="below zero"),
    ],
)
def test_what_nobody_can_hold_is_refused(
    request_: messaging_service_pb2.SubscribeRequest, field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_held(request_)

    assert field in caught.value.violations


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([4, 6], [[4, 6]], id="just fits"),
        pytest.param([4, 7], [[4], [7]], id="one byte too many"),
        pytest.param([11, 1, 11], [[11], [1], [11]], id="one that is too large comes alone"),
        pytest.param([5, 5, 5], [[5, 5], [5]], id="the rest"),
    ],
)
def test_batches_are_cut_by_the_bytes_of_their_contents(
    sizes: list[int], batches: list[list[int]]
) -> None:
    now = dt.datetime.now(dt.UTC)
    messages = [
        StoredMessage("corp", "c", number, member("li.wei"), "id", bytes(size), now)
        for number, size in enumerate(sizes)
    ]

    cut = list(cut_batches(messages, 10))

    assert [[len(message.content) for message in batch] for batch in cut] == batches
