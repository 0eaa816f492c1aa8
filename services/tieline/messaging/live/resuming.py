"""What a subscriber that catches up is sent before what is new."""

import asyncio
from collections.abc import AsyncGenerator

from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.postgres import Pool
from tieline.messaging.live.catching_up import CatchUp, cut_batches, list_updates
from tieline.messaging.live.people import People
from tieline.messaging.live.subscriber import Subscriber, Update
from tieline.messaging.messages.range_reads import MAX_ANSWER_BYTES
from tieline.messaging.messages.ranges import list_steps
from tieline.messaging.messages.rules import StoredMessage, message_to_proto
from tieline.messaging.repositories.ranges import list_ranges

_CAUGHT_UP = Update(caught_up=messaging_service_pb2.CaughtUp())


async def resume(
    pool: Pool,
    reads: asyncio.Semaphore,
    people: People,
    subscriber: Subscriber,
    plan: CatchUp,
    revision: int,
    *,
    in_batches: bool,
) -> AsyncGenerator[Update, None]:
    """Yield what is planned, and the states behind the revision.

    Of what is read never more than a step is in memory, however slowly it is taken. Ends early for
    a subscriber that has ended: its queue tells why.
    """
    for update in list_updates(plan):
        yield update
    has_more = True
    while has_more and not subscriber.is_ended:
        states, _ = await people.list_states(subscriber.user, revision)
        for state in states:
            yield Update(state=state)
            revision = state.revision
        has_more = bool(states)
    visible_from = {each.conversation_id: each.visible_from for each in plan.ranges}

    def show(message: StoredMessage) -> messaging_pb2.Message:
        return message_to_proto(message, visible_from[message.conversation_id])

    for step in list_steps(plan.ranges):
        if subscriber.is_ended:
            return
        async with reads, pool.acquire(spares_reset=True) as connection:
            messages = await list_ranges(connection, subscriber.user[0], step)
        if in_batches:
            for batch in cut_batches(messages, MAX_ANSWER_BYTES):
                shown = messaging_service_pb2.MessageBatch(messages=map(show, batch))
                yield Update(messages=shown)
        else:
            for message in messages:
                yield Update(message=show(message))
    yield _CAUGHT_UP
