import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.messaging.search.walk import MAX_WALKED, Extent, Found, Looked, Walk

NOON = dt.datetime(2026, 2, 17, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


class Entry(NamedTuple):
    place: Found
    has_terms: bool
    passes: bool


def look_through(entries: Sequence[Entry], walk: Walk, limit: int) -> tuple[list[Found], Looked]:
    """Look through the walk's window in the plainest way."""
    window, before = walk.window, walk.before
    within = sorted(
        (
            entry
            for entry in entries
            if (before is None or entry.place < before)
            and (window.from_time is None or entry.place.create_time >= window.from_time)
        ),
        reverse=True,
    )
    looked: list[Entry] = []
    cut_at: Found | None = None
    for conversation in {entry.place.conversation_id for entry in within}:
        own = [entry for entry in within if entry.place.conversation_id == conversation]
        looked += own[: window.each]
        if len(own) >= window.each:
            cut_at = max(own[window.each - 1].place, cut_at or own[window.each - 1].place)
    matching = sorted((e.place for e in looked if e.has_terms and e.passes), reverse=True)
    found = [place for place in matching if cut_at is None or place >= cut_at][:limit]
    if len(found) == limit:
        cut_at = found[-1]
    with_terms = sum(entry.has_terms for entry in looked)
    return found, Looked(len(looked), with_terms, len(matching), cut_at)


# Hours and years apart, in the same moment too: empty windows, and places at their boundaries.
PLACES = st.builds(
    lambda hours, conversation, sequence: Found(NOON - hours * HOUR, conversation, sequence),
    st.sampled_from([0, 1, 23, 24, 25, 24 * 9, 24 * 9 + 1, 24 * 73, 24 * 4000, 24 * 40_000]),
    st.sampled_from("abc"),
    st.integers(1, 400),
)
ENTRIES = st.lists(
    st.builds(Entry, PLACES, st.booleans(), st.booleans()), max_size=60, unique_by=lambda e: e.place
)


@given(
    ENTRIES,
    st.none() | PLACES,
    st.none() | st.integers(0, 24 * 4001).map(lambda hours: NOON - hours * HOUR),
    st.integers(1, 5),
    # As if there were so many conversations: windows of 333 of each, and of 4.
    st.sampled_from([3, 1000]),
)
def test_walk_finds_what_a_filter_over_all_finds_in_its_order(
    entries: list[Entry],
    before: Found | None,
    from_time: dt.datetime | None,
    limit: int,
    conversations: int,
) -> None:
    wanted = sorted(
        (
            place
            for place, has_terms, passes in entries
            if has_terms
            and passes
            and (before is None or place < before)
            and (from_time is None or place.create_time >= from_time)
        ),
        reverse=True,
    )
    found: list[Found] = []
    newest = max((entry.place.create_time for entry in entries), default=NOON)
    walk = Walk(Extent(newest, conversations, len(entries), 0), from_time, before)

    while not walk.is_over:
        some, looked = look_through(entries, walk, limit)
        found += some
        walk.go_on(looked)

    assert found == wanted


@pytest.mark.parametrize(
    ("looked", "indexed", "expected"),
    [
        pytest.param(Looked(1000, 125, 125, None), 1_000_000, False, id="one of eight has it"),
        pytest.param(Looked(1000, 0, 0, None), 1_000_000, True, id="none was seen"),
        pytest.param(Looked(1000, 125, 0, None), 1_000_000, False, id="terms are common"),
        pytest.param(Looked(1000, 0, 0, None), 100_000_000, False, id="others may have many"),
        pytest.param(Looked(0, 0, 0, None), 1_000_000, False, id="nothing was looked at"),
    ],
)
def test_index_of_terms_is_read_where_it_has_less_to_read(
    looked: Looked, indexed: int, expected: bool
) -> None:
    walk = Walk(Extent(NOON, 200, 1_000_000, indexed), None, None)
    walk.go_on(looked)

    assert walk.prefers_terms(20) is expected


def test_few_messages_are_walked_through_whatever_the_index_has() -> None:
    walk = Walk(Extent(NOON, 1, 1100, 1_000_000), None, None)
    walk.go_on(Looked(1000, 0, 0, None))

    assert not walk.prefers_terms(20)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [pytest.param(MAX_WALKED - 1, False, id="one less"), pytest.param(MAX_WALKED, True, id="all")],
)
def test_call_looks_at_so_many_messages(entries: int, expected: bool) -> None:
    walk = Walk(Extent(NOON, 1, 1_000_000, 1_000_000_000), None, None)
    walk.go_on(Looked(entries, 0, 0, None))

    assert walk.is_tired is expected


@pytest.mark.parametrize(
    ("conversations", "expected"), [(1, 1000), (200, 5), (250, 4), (251, 4), (100_000, 4)]
)
def test_first_window_takes_as_many_however_many_conversations_there_are(
    conversations: int, expected: int
) -> None:
    assert Walk(Extent(NOON, conversations, 0, 0), None, None).window.each == expected
