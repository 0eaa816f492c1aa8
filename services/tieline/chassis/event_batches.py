"""Events that are handled many at a time, for work that needs neither their order nor an inbox.

For a service whose stream has thousands of events a second, of which it only wants to know that
something happened: handling a batch again, in part or in another order, must change nothing. Where
each event counts, ``events`` is the way.

    the handler returns              ack    of the whole batch
    raises UnavailableError          wait   the batch is tried again until what it needs is back
    raises anything else             nak    delivered again, the eighth time logged and given up

An event that is none of its kind is logged and given up alone: the handler gets what it can read.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.js.errors import FetchTimeoutError

from tieline.chassis.broker import Broker
from tieline.chassis.consumer_lag import ConsumerLag, reporting
from tieline.chassis.event_pulls import (
    FETCH_HEARTBEAT_S,
    FETCH_WAIT_S,
    HANDLE_TIMEOUT_S,
    Subscription,
    pulling,
    when_available,
)
from tieline.chassis.events import MAX_DELIVERIES
from tieline.chassis.streams import Durable

_BATCH_EVENTS = 100

# A lone event waits for others this long.
_GATHER_S = 0.05

# A batch that failed is delivered again after this.
_DELAY_S = 1.0

M = TypeVar("M", bound=Message)

logger = logging.getLogger(__name__)


@asynccontextmanager
async def consuming_batches(
    broker: Broker,
    durable: Durable,
    message_type: type[M],
    handle: Callable[[Sequence[M]], Awaitable[None]],
) -> AsyncIterator[None]:
    """Handle the durable's events, all of one type, until the block is left."""
    lag = ConsumerLag()
    consumer = _BatchConsumer(message_type, handle, lag)
    async with pulling(broker, durable, consumer.take_turn):
        with reporting(lag, durable.service, durable.stream):
            yield


class _BatchConsumer(Generic[M]):
    def __init__(
        self,
        message_type: type[M],
        handle: Callable[[Sequence[M]], Awaitable[None]],
        lag: ConsumerLag,
    ) -> None:
        self._message_type = message_type
        self._handle = handle
        self._lag = lag

    async def take_turn(self, subscription: Subscription) -> None:
        try:
            batch = await subscription.fetch(1, timeout=FETCH_WAIT_S, heartbeat=FETCH_HEARTBEAT_S)
        except FetchTimeoutError:
            self._lag.note_nothing()
            return
        with suppress(TimeoutError):
            batch += await subscription.fetch(_BATCH_EVENTS - 1, timeout=_GATHER_S)
        # The first is the oldest, and behind the last are those that nobody has yet.
        stored_time = batch[0].metadata.timestamp.timestamp()
        self._lag.note_delivery(batch[-1].metadata.num_pending, stored_time)
        await self._settle(batch)

    async def _settle(self, batch: Sequence[Msg]) -> None:
        readable = [(message, event) for message in batch if (event := await self._read(message))]
        if not readable:
            self._lag.note_settled()
            return
        messages = [message for message, _ in readable]
        events = [event for _, event in readable]

        async def handle() -> None:
            async with asyncio.timeout(HANDLE_TIMEOUT_S):
                await self._handle(events)

        try:
            await when_available(messages, handle)
        except Exception:
            logger.exception("a batch of %d events failed", len(messages))
            await self._put_off(messages)
        else:
            for message in messages:
                await message.ack()
            self._lag.note_settled()

    async def _read(self, message: Msg) -> M | None:
        try:
            return self._message_type.FromString(message.data)
        except DecodeError:
            logger.error("an event on %s can't be read and is given up", message.subject)
            await message.term()
            return None

    async def _put_off(self, messages: Sequence[Msg]) -> None:
        for message in messages:
            if message.metadata.num_delivered >= MAX_DELIVERIES:
                logger.error(
                    "an event on %s is given up: sequence %d",
                    message.subject,
                    message.metadata.sequence.stream,
                )
                await message.term()
            else:
                await message.nak(delay=_DELAY_S)
