import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.messaging.live.delivery import MAX_HELD, Cursor


def anchored(stored: int = 0) -> Cursor[str]:
    cursor: Cursor[str] = Cursor()
    cursor.anchor(stored)
    return cursor


def sequences(ready: list[tuple[int, str]]) -> list[int]:
    return [sequence for sequence, _ in ready]


def fetch(cursor: Cursor[str], missing: tuple[int, int]) -> list[int]:
    after, up_to = missing
    return [
        sequence
        for number in range(after + 1, up_to + 1)
        for sequence in sequences(cursor.take(number, "fetched"))
    ]


def test_messages_in_order_go_out_at_once() -> None:
    cursor = anchored(3)

    out = [sequences(cursor.take(number, "live")) for number in (4, 5)]

    assert out == [[4], [5]]
    assert cursor.missing is None


def test_a_message_that_comes_again_does_not_go_out_again() -> None:
    cursor = anchored()
    cursor.take(1, "live")

    assert cursor.take(1, "live") == []


def test_a_message_behind_a_gap_waits_for_what_is_missing() -> None:
    cursor = anchored()

    assert cursor.take(3, "live") == []
    assert cursor.missing == (0, 2)
    assert sequences(cursor.take(1, "fetched")) == [1]
    assert sequences(cursor.take(2, "fetched")) == [2, 3]
    assert cursor.missing is None


def test_a_message_that_waits_keeps_its_first_item() -> None:
    cursor = anchored()
    cursor.take(2, "first")
    cursor.take(2, "second")

    assert cursor.take(1, "one") == [(1, "one"), (2, "first")]


def test_what_the_database_knows_more_is_missing() -> None:
    cursor = anchored(2)

    cursor.learn(5)

    assert cursor.missing == (2, 5)


def test_what_the_database_knew_earlier_is_not_missing() -> None:
    cursor = anchored(5)

    cursor.learn(2)

    assert cursor.missing is None


def test_what_goes_by_before_anybody_receives_is_neither_delivered_nor_missing() -> None:
    cursor: Cursor[str] = Cursor()

    assert cursor.take(7, "live") == []
    # The database was read before message 7 was stored, and its answer came after it went by.
    assert cursor.anchor(6) == 7
    assert cursor.missing is None


@pytest.mark.parametrize(
    ("stored", "start", "missing"),
    [
        pytest.param(4, 5, None, id="read before the newest message went by"),
        pytest.param(5, 5, None, id="level"),
        pytest.param(6, 6, (5, 6), id="the others miss one"),
    ],
)
def test_a_newcomer_receives_what_follows_the_newest_number_seen(
    stored: int, start: int, missing: tuple[int, int] | None
) -> None:
    cursor = anchored(5)

    assert cursor.anchor(stored) == start
    assert cursor.missing == missing


def test_what_does_not_fit_behind_a_gap_is_fetched() -> None:
    cursor = anchored()
    newest = MAX_HELD + 10
    for number in range(2, newest + 1):
        cursor.take(number, "live")

    out = fetch(cursor, (0, 1))
    while cursor.missing is not None:
        out += fetch(cursor, cursor.missing)

    assert out == list(range(1, newest + 1))


# What may happen to a cursor: a live message of any age, the database's last number, a fetch.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 30)),
        st.tuples(st.just("learn"), st.integers(0, 30)),
        st.tuples(st.just("fetch"), st.integers(1, 30)),
        st.tuples(st.just("anchor"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(steps=steps, start=st.integers(0, 30))
def test_whatever_is_lost_repeated_or_reordered_all_goes_out_once_in_order(
    steps: list[tuple[str, int]], start: int
) -> None:
    cursor = anchored(start)
    out: list[int] = []

    for step, number in steps:
        if step == "live":
            out += sequences(cursor.take(number, "live"))
        elif step == "learn":
            cursor.learn(number)
        elif step == "anchor":
            assert cursor.anchor(number) >= max(number, cursor.last)
        elif cursor.missing is not None:
            after, up_to = cursor.missing
            out += fetch(cursor, (after, min(up_to, after + number)))
    cursor.learn(30)
    while cursor.missing is not None:
        out += fetch(cursor, cursor.missing)

    assert out == list(range(start + 1, 31))
