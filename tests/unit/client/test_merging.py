"""Messages from two sides become one order."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import messaging_pb2
from tieline.client.merging import MessageMerge

CONVERSATIONS = ("a", "b")

arrivals = st.lists(st.tuples(st.sampled_from(CONVERSATIONS), st.integers(1, 12)), max_size=60)
holdings = st.dictionaries(st.sampled_from(CONVERSATIONS), st.integers(0, 5))


def message(conversation_id: str, sequence: int) -> messaging_pb2.Message:
    return messaging_pb2.Message(conversation_id=conversation_id, sequence=sequence)


@given(arrivals, holdings)
def test_any_arrival_order_gives_every_message_once_in_order(
    arrived: list[tuple[str, int]], held: dict[str, int]
) -> None:
    merge = MessageMerge(held)
    given_out: dict[str, list[int]] = defaultdict(list)

    for conversation_id, sequence in arrived:
        arrival = message(conversation_id, sequence)
        if merge.is_after_gap(arrival):
            for missing in range(merge.held_sequence(conversation_id) + 1, sequence):
                assert merge.accept(message(conversation_id, missing))
                given_out[conversation_id].append(missing)
        if merge.accept(arrival):
            given_out[conversation_id].append(sequence)

    for conversation_id, sequences in given_out.items():
        first = held.get(conversation_id, 0) + 1
        assert sequences == list(range(first, first + len(sequences)))
        assert merge.held[conversation_id] == sequences[-1]


@given(arrivals)
def test_nothing_that_arrived_is_held_back(arrived: list[tuple[str, int]]) -> None:
    merge = MessageMerge({})

    for conversation_id, sequence in arrived:
        for missing in range(merge.held_sequence(conversation_id) + 1, sequence):
            merge.accept(message(conversation_id, missing))
        merge.accept(message(conversation_id, sequence))

    for conversation_id in CONVERSATIONS:
        newest = max((number for name, number in arrived if name == conversation_id), default=0)
        assert merge.held_sequence(conversation_id) == newest
        assert not merge.is_missing(conversation_id, newest)
        assert merge.is_missing(conversation_id, newest + 1)
