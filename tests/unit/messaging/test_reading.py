import datetime as dt

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import reading_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.messaging.reading.rules import (
    MAX_DRAFT_BYTES,
    Draft,
    Mark,
    Mute,
    Pin,
    ReadingState,
    Wish,
    apply_wish,
    check_draft,
    check_mark,
    check_mute,
    count_unread,
    state_to_proto,
)

NOW = dt.datetime(2026, 2, 17, 9, 0, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(hours=1)
STATE = ReadingState("c", read_sequence=5, read_uncounted=1, delivered_sequence=7)


def after(wish: Wish, state: ReadingState = STATE) -> ReadingState:
    return apply_wish(state, wish, last_sequence=10, read_uncounted=2, now=NOW)


@pytest.mark.parametrize(
    ("mark", "read", "uncounted", "delivered"),
    [
        pytest.param(Mark(6, 0), 6, 2, 7, id="on"),
        pytest.param(Mark(10, 0), 10, 2, 10, id="to the last"),
        pytest.param(Mark(5, 0), 5, 1, 7, id="where it is"),
        pytest.param(Mark(4, 0), 5, 1, 7, id="never back"),
        pytest.param(Mark(0, 9), 5, 1, 9, id="a device has more"),
        pytest.param(Mark(0, 6), 5, 1, 7, id="a device has less"),
    ],
)
def test_marks_never_fall(mark: Mark, read: int, uncounted: int, delivered: int) -> None:
    state = after(mark)

    assert (state.read_sequence, state.read_uncounted, state.delivered_sequence) == (
        read,
        uncounted,
        delivered,
    )


@pytest.mark.parametrize(("mark", "field"), [(Mark(11, 0), "read"), (Mark(0, 11), "delivered")])
def test_number_that_no_message_has_yet_is_refused(mark: Mark, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        after(mark)

    assert f"{field}_sequence" in caught.value.violations


@pytest.mark.parametrize("wish", [Mark(8, 9), Mute(True, LATER), Pin(True), Draft("hi", 3)])
def test_wish_that_comes_again_changes_nothing(wish: Wish) -> None:
    once = after(wish)

    assert once != STATE
    assert apply_wish(once, wish, last_sequence=10, read_uncounted=2, now=LATER) == once


@pytest.mark.parametrize(
    ("wish", "back"), [(Mute(True), Mute(False)), (Pin(True), Pin(False)), (Draft("x"), Draft(""))]
)
def test_what_is_taken_back_leaves_the_state_as_it_was(wish: Wish, back: Wish) -> None:
    assert after(back, after(wish)) == STATE


@pytest.mark.parametrize(
    ("until", "is_muted"),
    [(None, True), (NOW, False), (NOW + dt.timedelta(microseconds=1), True)],
)
def test_muting_ends_by_itself(until: dt.datetime | None, is_muted: bool) -> None:
    proto = state_to_proto(after(Mute(True, until)), NOW)

    assert proto.muted is is_muted
    assert proto.HasField("mute_until_time") is (until is not None and is_muted)


def test_draft_is_shown_with_its_time_and_none_without_text() -> None:
    assert not state_to_proto(STATE, NOW).HasField("draft")
    draft = state_to_proto(after(Draft("begun", 3)), NOW).draft
    assert (draft.text, draft.reply_to_sequence) == ("begun", 3)
    assert draft.save_time.ToDatetime(dt.UTC) == NOW


@pytest.mark.parametrize(("read", "delivered"), [(-1, 0), (0, -1), (0, 0)])
def test_mark_of_no_number_is_refused(read: int, delivered: int) -> None:
    with pytest.raises(InvalidArgumentError):
        check_mark(read, delivered)


def test_draft_has_at_most_so_many_bytes() -> None:
    assert check_draft(reading_pb2.Draft(text="x" * MAX_DRAFT_BYTES)).text
    for draft in (
        reading_pb2.Draft(text="x" * (MAX_DRAFT_BYTES + 1)),
        reading_pb2.Draft(text="a\0b"),
        reading_pb2.Draft(text="a", reply_to_sequence=-1),
    ):
        with pytest.raises(InvalidArgumentError):
            check_draft(draft)


def test_end_of_a_muting_is_a_time() -> None:
    assert check_mute(True, Timestamp(seconds=0)).until_time == dt.datetime(
        1970, 1, 1, tzinfo=dt.UTC
    )
    assert check_mute(False, Timestamp(seconds=5)) == Mute(False)
    with pytest.raises(InvalidArgumentError):
        check_mute(True, Timestamp(seconds=10**15))


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30))
def test_unread_are_the_entries_that_count_behind_what_is_read(
    counting: list[bool], read: int
) -> None:
    read = min(read, len(counting))

    unread = count_unread(
        last_sequence=len(counting),
        uncounted=counting.count(False),
        read_sequence=read,
        read_uncounted=counting[:read].count(False),
    )

    assert unread == counting[read:].count(True)
