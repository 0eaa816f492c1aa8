import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.messaging.messages.ranges import Range, build_range, check_batch, list_steps


@pytest.mark.parametrize(
    ("after", "before", "size", "expected"),
    [
        pytest.param(0, 0, 3, [11, 12, 13], id="from the first that is visible"),
        pytest.param(12, 0, 3, [13, 14, 15], id="after a number"),
        pytest.param(18, 0, 3, [19, 20], id="up to the last"),
        pytest.param(20, 0, 3, [], id="after the last"),
        pytest.param(25, 0, 3, [], id="after a number that no message has"),
        pytest.param(0, 15, 3, [12, 13, 14], id="before a number"),
        pytest.param(0, 13, 3, [11, 12], id="not before the first that is visible"),
        pytest.param(0, 11, 3, [], id="before the first that is visible"),
        pytest.param(0, 90, 3, [18, 19, 20], id="before a number that no message has"),
        pytest.param(12, 15, 5, [13, 14], id="between two numbers"),
        pytest.param(0, 0, 0, list(range(11, 21)), id="the usual size"),
    ],
)
def test_range_holds_what_is_asked_for(
    after: int, before: int, size: int, expected: list[int]
) -> None:
    found = build_range("c", after, before, size, first=10, last=20)

    assert list(range(found.after + 1, found.up_to + 1)) == expected


def test_range_has_at_most_a_thousand_messages() -> None:
    assert build_range("c", 0, 0, 5000, first=0, last=5000) == Range("c", 0, 1000)
    assert build_range("c", 0, 5001, 5000, first=0, last=5000).after == 4000


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.booleans()), max_size=6),
    st.integers(1, 12),
)
def test_steps_read_every_number_once_and_what_is_wanted_first_first(
    bounds: list[tuple[int, int, bool]], size: int
) -> None:
    ranges = [
        Range(str(index), after, after + length, is_backward)
        for index, (after, length, is_backward) in enumerate(bounds)
    ]

    steps = list(list_steps(ranges, size))

    assert all(1 <= sum(part.size for part in step) <= size for step in steps)
    assert all(sum(part.size for part in step) == size for step in steps[:-1])
    for each in ranges:
        parts = [
            part for step in steps for part in step if part.conversation_id == each.conversation_id
        ]
        if each.is_backward:
            parts.reverse()
        numbers = [number for part in parts for number in range(part.after + 1, part.up_to + 1)]
        assert numbers == list(range(each.after + 1, each.up_to + 1))


@pytest.mark.parametrize(
    ("ranges", "field"),
    [
        pytest.param([], "ranges", id="none"),
        pytest.param([{"conversation_id": f"c{n}"} for n in range(201)], "ranges", id="one more"),
        pytest.param(
            [{"conversation_id": "c"}, {"conversation_id": "c"}],
            "ranges[1].conversation_id",
            id="twice",
        ),
        pytest.param([{"conversation_id": "a b"}], "ranges[0].conversation_id", id="no id"),
        pytest.param(
            [{"conversation_id": "c", "after_sequence": -1}],
            "ranges[0].after_sequence",
            id="below 0",
        ),
        pytest.param(
            [{"conversation_id": "c", "after_sequence": 5, "before_sequence": 5}],
            "ranges[0].before_sequence",
            id="nothing between",
        ),
        pytest.param(
            [{"conversation_id": "c", "page_size": -1}], "ranges[0].page_size", id="size below 0"
        ),
    ],
)
def test_batch_that_asks_for_nothing_sensible_is_refused(
    ranges: list[dict[str, int | str]], field: str
) -> None:
    requests = [messaging_service_pb2.MessageRangeRequest(**each) for each in ranges]  # type: ignore[arg-type]  # a table

    with pytest.raises(InvalidArgumentError) as caught:
        check_batch(requests)

    assert field in caught.value.violations
