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

import nats.errors
from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from tieline.chassis.broker import Broker
from tieline.chassis.errors import UnavailableError
from tieline.chassis.events import MAX_DELIVERIES
from tieline.chassis.streams import ACK_WAIT_S, Durable
from tieline.chassis.tasks import end_task

_BATCH_EVENTS = 100

_FETCH_WAIT_S = 5.0

# A lone event waits for others this long.
_GATHER_S = 0.05

_PAUSE_S = 1.0
_HANDLE_TIMEOUT_S = ACK_WAIT_S * 2 / 3

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
    subscription = await broker.jetstream().pull_subscribe_bind(
        consumer=durable.service, stream=durable.stream
    )
    consumer = _BatchConsumer(subscription, message_type, handle)
    task = asyncio.create_task(consumer.run(), name=f"consume-batches-{durable.stream}")
    try:
        yield
    finally:
        await end_task(task)
        try:
            await subscription.unsubscribe()
        except nats.errors.Error:
            logger.debug("the broker's connection was closed before the consumer")


class _BatchConsumer(Generic[M]):
    def __init__(
        self,
        subscription: JetStreamContext.PullSubscription,
        message_type: type[M],
        handle: Callable[[Sequence[M]], Awaitable[None]],
    ) -> None:
        self._subscription = subscription
        self._message_type = message_type
        self._handle = handle

    async def run(self) -> None:
        while True:
            try:
                await self._settle(await self._fetch())
            except TimeoutError:
                continue
            except (OSError, nats.errors.Error) as error:
                logger.info("consuming of batches pauses: %s", error)
                await asyncio.sleep(_PAUSE_S)
            except Exception:
                logger.exception("consuming of batches failed and goes on")
                await asyncio.sleep(_PAUSE_S)

    async def _fetch(self) -> list[Msg]:
        batch = await self._subscription.fetch(1, timeout=_FETCH_WAIT_S)
        with suppress(TimeoutError):
            batch += await self._subscription.fetch(_BATCH_EVENTS - 1, timeout=_GATHER_S)
        return batch

    async def _settle(self, batch: Sequence[Msg]) -> None:
        readable = [(message, event) for message in batch if (event := await self._read(message))]
        if not readable:
            return
        messages = [message for message, _ in readable]
        try:
            await self._handle_when_available(messages, [event for _, event in readable])
        except asyncio.CancelledError:
            # Whoever is next need not wait until the time to ack is over.
            for message in messages:
                await message.nak()
            raise
        except Exception:
            logger.exception("a batch of %d events failed", len(messages))
            await self._put_off(messages)
        else:
            for message in messages:
                await message.ack()

    async def _handle_when_available(self, messages: Sequence[Msg], events: Sequence[M]) -> None:
        while True:
            try:
                async with asyncio.timeout(_HANDLE_TIMEOUT_S):
                    await self._handle(events)
                return
            except UnavailableError as error:
                logger.info("a batch of events waits: %s", error.text)
                for message in messages:
                    await message.in_progress()
                await asyncio.sleep(_PAUSE_S)

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
                await message.nak(delay=_PAUSE_S)
