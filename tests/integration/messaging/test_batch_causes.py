"""What one transaction stores for several callers carries on each caller's own call."""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import replace

from nats.aio.client import Client
from nats.aio.msg import Msg

from fakes.eventually import eventually
from integration.messaging.chat import Corp, new_id, text
from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis import calls
from tieline.chassis.admission.priorities import BusinessClass, priority_of
from tieline.chassis.calls import Call
from tieline.chassis.commit_batch import CommitBatcher
from tieline.chassis.errors import ServiceError
from tieline.chassis.message_headers import PRIORITY_HEADER, REQUEST_ID_HEADER
from tieline.chassis.postgres import Connection, Pool
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.messages.rules import Send, build_send
from tieline.messaging.sending.batches import MESSAGES_SENT, Sender


def call_of(business_class: BusinessClass, trace_id: str) -> Context:
    """Return the context of a call of that class and trace."""
    context = copy_context()
    call = Call(
        method="/t/m",
        request_id=f"request-{trace_id[0]}",
        traceparent=f"00-{trace_id}-{'b' * 16}-00",
        priority=priority_of(business_class, 7),
    )
    context.run(calls.current.set, call)
    return context


async def read_headers(broker: Client, corp_id: str, count: int) -> Mapping[str, Mapping[str, str]]:
    """Return the headers of the corp's messages, by what they say, once there are so many."""
    found: dict[str, Mapping[str, str]] = {}

    async def collect(message: Msg) -> None:
        for sent in messaging_pb2.MessagesSent.FromString(message.data).messages:
            if sent.corp_id == corp_id and sent.content.HasField("text"):
                found[sent.content.text.text] = message.headers or {}

    subscription = await broker.jetstream().subscribe(
        MESSAGES_SENT, stream="MESSAGING", cb=collect, ordered_consumer=True
    )
    await eventually(lambda: len(found) >= count)
    await subscription.unsubscribe()
    return found


async def test_messages_of_one_batch_carry_the_class_and_the_trace_of_their_own_callers(
    corp: Corp, pool: Pool, messaging_broker: Client, admin_broker: Client
) -> None:
    group = await corp.member("li.wei").create_group("zhang.san")
    sender = Sender(Announcer(pool, messaging_broker))
    sizes: list[int] = []

    async def commit(
        connection: Connection, sends: Sequence[Send]
    ) -> list[messaging_pb2.Message | ServiceError]:
        sizes.append(len(sends))
        return list(await sender.commit(connection, sends))

    causes = {
        "urgent": call_of(BusinessClass.HIGH, "1" * 32),
        "later": call_of(BusinessClass.LOW, "2" * 32),
    }
    sends = [
        build_send((corp.corp_id, member("li.wei")), group, new_id(), text(said), cause)
        for said, cause in causes.items()
    ]
    nobodys = build_send((corp.corp_id, member("li.wei")), group, new_id(), text("scheduled"))
    batcher: CommitBatcher[Send, messaging_pb2.Message] = CommitBatcher(pool, commit)
    async with batcher:
        await asyncio.gather(*(batcher.begin(send) for send in [*sends, nobodys]))

    assert sizes == [3]
    headers = await read_headers(admin_broker, corp.corp_id, 3)
    told = {
        said: (each.get(PRIORITY_HEADER), each.get(REQUEST_ID_HEADER), each.get("traceparent"))
        for said, each in headers.items()
    }
    assert told == {
        "urgent": ("263", "request-1", f"00-{'1' * 32}-{'b' * 16}-00"),
        "later": ("519", "request-2", f"00-{'2' * 32}-{'b' * 16}-00"),
        "scheduled": (None, None, None),
    }


async def test_what_a_call_sends_carries_its_trace_on(corp: Corp, admin_broker: Client) -> None:
    """Through a replica, where a batch commits it."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    traceparent = f"00-{new_id().replace('-', '')}-{'c' * 16}-00"
    traced = replace(li_wei, metadata=(*li_wei.metadata, ("traceparent", traceparent)))

    await traced.send(group, "traced")

    headers = await read_headers(admin_broker, corp.corp_id, 1)
    assert headers["traced"]["traceparent"] == traceparent
    assert int(headers["traced"][PRIORITY_HEADER]) // 128 == BusinessClass.HIGH
