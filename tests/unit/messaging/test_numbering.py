import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2
from tieline.chassis.errors import FailedPreconditionError, NotFoundError
from tieline.messaging.conversations.rules import Participant, member
from tieline.messaging.messages.rules import Send, StoredMessage
from tieline.messaging.sending.numbering import Counter, SendFacts, number_batch, number_notes

NOW = dt.datetime(2026, 2, 17, 9, 0, tzinfo=dt.UTC)
CORP = "wwcorp"
LI_WEI = member("li.wei")
KNOWN = SendFacts(participating=True, repeated=None)


def send(
    client_message_id: str = "m1",
    *,
    conversation_id: str = "c1",
    sender: Participant = LI_WEI,
    content: bytes = b"hello",
) -> Send:
    return Send(CORP, conversation_id, sender, client_message_id, content)


def stored(of: Send, sequence: int) -> StoredMessage:
    return StoredMessage(
        of.corp_id, of.conversation_id, sequence, of.sender, of.client_message_id, of.content, NOW
    )


def test_new_messages_get_the_next_numbers_of_their_conversations() -> None:
    sends = [send("a"), send("b", conversation_id="c2"), send("c")]

    batch = number_batch(
        sends, [KNOWN] * 3, {(CORP, "c1"): Counter(7, 0), (CORP, "c2"): Counter(0, 0)}, NOW
    )

    assert [(m.conversation_id, m.sequence) for m in batch.new] == [("c1", 8), ("c2", 1), ("c1", 9)]
    assert batch.last_sequences == {(CORP, "c1"): 9, (CORP, "c2"): 1}
    assert batch.outcomes == batch.new


def test_repeat_of_a_stored_message_takes_no_number() -> None:
    first = stored(send("a"), 3)

    batch = number_batch([send("a")], [SendFacts(True, first)], {(CORP, "c1"): Counter(7, 0)}, NOW)

    assert batch.new == []
    assert batch.last_sequences == {}
    assert batch.outcomes == [first]


def test_two_equal_sends_of_one_batch_are_one_message() -> None:
    batch = number_batch([send("a"), send("a")], [KNOWN] * 2, {(CORP, "c1"): Counter(0, 0)}, NOW)

    assert [m.sequence for m in batch.new] == [1]
    assert batch.outcomes == [batch.new[0]] * 2


def test_same_client_message_id_of_two_senders_is_two_messages() -> None:
    sends = [send("a"), send("a", sender=member("zhang.san"))]

    batch = number_batch(sends, [KNOWN] * 2, {(CORP, "c1"): Counter(0, 0)}, NOW)

    assert [m.sequence for m in batch.new] == [1, 2]


def test_other_contents_under_a_used_id_fail_alone_and_name_the_first_message() -> None:
    sends = [send("a"), send("a", content=b"other"), send("b")]

    batch = number_batch(sends, [KNOWN] * 3, {(CORP, "c1"): Counter(0, 0)}, NOW)

    error = batch.outcomes[1]
    assert isinstance(error, FailedPreconditionError)
    assert error.reason == "CLIENT_MESSAGE_ID_REUSED"
    assert error.metadata == {"clientMessageId": "a", "sequence": "1"}
    assert [m.sequence for m in batch.new] == [1, 2]


def test_who_is_not_in_the_conversation_fails_alone() -> None:
    facts = [SendFacts(False, None), KNOWN]

    batch = number_batch([send("a"), send("b")], facts, {(CORP, "c1"): Counter(0, 0)}, NOW)

    assert isinstance(batch.outcomes[0], NotFoundError)
    assert [m.client_message_id for m in batch.new] == ["b"]


def test_who_is_no_longer_in_the_conversation_gets_no_first_answer_either() -> None:
    facts = [SendFacts(False, stored(send("a"), 1))]

    batch = number_batch([send("a")], facts, {(CORP, "c1"): Counter(1, 0)}, NOW)

    assert isinstance(batch.outcomes[0], NotFoundError)


def test_a_conversation_that_is_not_there_fails_alone() -> None:
    sends = [send("a", conversation_id="gone"), send("b")]

    batch = number_batch(sends, [KNOWN] * 2, {(CORP, "c1"): Counter(0, 0)}, NOW)

    assert isinstance(batch.outcomes[0], NotFoundError)
    assert batch.last_sequences == {(CORP, "c1"): 1}


def test_notes_take_numbers_and_some_do_not_count() -> None:
    key = (CORP, "c1")
    joined = messaging_pb2.MessageContent(
        participants_note=conversation_note_pb2.ParticipantsNote()
    )
    edited = messaging_pb2.MessageContent(edit_note=conversation_note_pb2.EditNote(sequence=3))

    notes = number_notes(
        [(key, LI_WEI, each) for each in (joined, edited, edited, joined)],
        {key: Counter(7, 2)},
        NOW,
    )

    assert [(note.sequence, note.uncounted) for note in notes] == [(8, 2), (9, 3), (10, 4), (11, 4)]
    assert {note.client_message_id for note in notes} == {""}


def test_message_keeps_how_many_entries_before_it_do_not_count() -> None:
    batch = number_batch([send("a"), send("b")], [KNOWN] * 2, {(CORP, "c1"): Counter(7, 3)}, NOW)

    assert [(m.sequence, m.uncounted) for m in batch.new] == [(8, 3), (9, 3)]


@given(
    ids=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["c1", "c2"])), max_size=40),
    last=st.integers(0, 5),
)
def test_numbers_of_a_batch_have_no_gaps_and_no_repeats(
    ids: list[tuple[str, str]], last: int
) -> None:
    sends = [send(id_, conversation_id=conversation) for id_, conversation in ids]
    counters = {(CORP, "c1"): Counter(last, 0), (CORP, "c2"): Counter(last, 0)}

    batch = number_batch(sends, [KNOWN] * len(sends), counters, NOW)

    for conversation in ("c1", "c2"):
        of_one = [m for m in batch.new if m.conversation_id == conversation]
        assert [m.sequence for m in of_one] == [last + 1 + i for i in range(len(of_one))]
        assert len(of_one) == len({id_ for id_, where in ids if where == conversation})
