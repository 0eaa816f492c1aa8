"""Random batches of sends against a model of what they come to."""

import secrets
from collections import defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from integration.messaging.chat import text
from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool, statements, transaction
from tieline.messaging.conversations.opening import Opening
from tieline.messaging.conversations.rules import ConversationKind, member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.messages.rules import Send
from tieline.messaging.repositories.stored_messages import list_messages
from tieline.messaging.sending.batches import Sender

CONVERSATIONS = ("a", "b", "gone")
SENDERS = ("li.wei", "zhang.san", "stranger")

# Conversation, sender, client message id, what is said.
sends = st.tuples(
    st.sampled_from(CONVERSATIONS),
    st.sampled_from(SENDERS),
    st.sampled_from("123456"),
    st.sampled_from(["yes", "no"]),
)
batches = st.lists(st.lists(sends, min_size=1, max_size=15), max_size=8)

Key = tuple[str, str, str]


class Model:
    """What the rules say: one dictionary and a counter."""

    def __init__(self) -> None:
        self.first: dict[Key, tuple[int, str]] = {}
        self.last: dict[str, int] = defaultdict(int)

    def send(self, conversation: str, sender: str, id_: str, said: str) -> int | str:
        """Return the number that the message has, or the reason why it has none."""
        if conversation == "gone" or sender == "stranger":
            return "CONVERSATION_NOT_FOUND"
        number, first_said = self.first.get((conversation, sender, id_), (0, said))
        if first_said != said:
            return "CLIENT_MESSAGE_ID_REUSED"
        if not number:
            self.last[conversation] += 1
            number = self.last[conversation]
            self.first[conversation, sender, id_] = (number, said)
        return number


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=batches)
async def test_batches_come_to_what_the_model_says(
    batches: list[list[tuple[str, str, str, str]]], pool: Pool, messaging_broker: Client
) -> None:
    """As the batcher commits them: by one statement where that is possible."""
    model = Model()
    corp_id = "ww" + secrets.token_hex(12)
    # Not entered, so nothing is published: this is about what is stored.
    announcer = Announcer(pool, messaging_broker)
    for conversation_id in ("a", "b"):
        async with transaction(pool) as connection:
            await Opening(connection, announcer).open_group(
                (corp_id, conversation_id),
                ConversationKind.GROUP,
                "Team",
                member("li.wei"),
                [member("zhang.san")],
            )

    for batch in batches:
        wanted = [
            Send(corp_id, conversation, member(sender), id_, text(said).SerializeToString())
            for conversation, sender, id_, said in batch
        ]
        async with statements(pool) as connection:
            outcomes = await Sender(announcer).attempt(connection, wanted)
        if outcomes is None:
            async with transaction(pool) as connection:
                outcomes = await Sender(announcer).commit(connection, wanted)
        assert [_tell(outcome) for outcome in outcomes] == [model.send(*send) for send in batch]

    async with pool.acquire() as connection:
        for conversation_id in ("a", "b"):
            stored = await list_messages(
                connection, (corp_id, conversation_id), after=0, up_to=10**9, limit=1000
            )
            assert {
                (conversation_id, each.sender.id, each.client_message_id): each.sequence
                for each in stored
            } == {
                key: number for key, (number, _) in model.first.items() if key[0] == conversation_id
            }
            assert [each.sequence for each in stored] == list(
                range(1, model.last[conversation_id] + 1)
            )


def _tell(outcome: messaging_pb2.Message | ServiceError) -> int | str:
    return outcome.reason if isinstance(outcome, ServiceError) else outcome.sequence
