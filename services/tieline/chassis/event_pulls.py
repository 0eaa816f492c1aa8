"""How consumers take their events: turn after turn, whatever the broker does meanwhile.

``events`` handles one at a time, ``event_batches`` many; what a turn is, and how its events are
settled, is theirs.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from tieline.chassis.broker import Broker
from tieline.chassis.errors import UnavailableError
from tieline.chassis.streams import ACK_WAIT_S, Durable
from tieline.chassis.tasks import end_task

Subscription = JetStreamContext.PullSubscription

# A pull request that a reconnect has lost is noticed after this long.
FETCH_WAIT_S = 5.0

FETCH_HEARTBEAT_S = 0.4 * FETCH_WAIT_S
"""With heartbeats a server that has nothing is told from one that is silent: the first ends a fetch
by FetchTimeoutError. Less than half of what a fetch waits for, as the server wants it."""

PAUSE_S = 1.0

# One handling; what takes longer would hold up the events behind it for no good.
HANDLE_TIMEOUT_S = 20.0

# Of what is in hand, so often: two of three may be late.
_SIGN_OF_LIFE_S = ACK_WAIT_S / 4

logger = logging.getLogger(__name__)


@asynccontextmanager
async def pulling(
    broker: Broker, durable: Durable, take_turn: Callable[[Subscription], Awaitable[None]]
) -> AsyncIterator[None]:
    """Take turns until the block is left; a TimeoutError says that there was nothing to take."""
    subscription = await broker.jetstream().pull_subscribe_bind(
        consumer=durable.service, stream=durable.stream
    )
    name = f"consume-{durable.stream}-for-{durable.service}"
    task = asyncio.create_task(_pull_forever(subscription, take_turn, name), name=name)
    try:
        yield
    finally:
        await end_task(task)
        try:
            await subscription.unsubscribe()
        except nats.errors.Error:
            logger.debug("the broker's connection was closed before the consumer")


async def _pull_forever(
    subscription: Subscription, take_turn: Callable[[Subscription], Awaitable[None]], name: str
) -> None:
    while True:
        try:
            await take_turn(subscription)
        except TimeoutError:
            continue
        except (OSError, nats.errors.Error) as error:
            logger.info("%s pauses: %s", name, error)
            await asyncio.sleep(PAUSE_S)
        except Exception:
            logger.exception("%s failed and goes on", name)
            await asyncio.sleep(PAUSE_S)


async def when_available(messages: Sequence[Msg], handle: Callable[[], Awaitable[None]]) -> None:
    """Handle these messages; once more for as long as what that needs is away.

    That is no delivery more: the weather must not make dead letters. Meanwhile nobody else gets
    them, however long it takes.
    """
    keeping = asyncio.create_task(_keep_in_hand(messages), name="signs-of-life")
    try:
        while True:
            try:
                await handle()
                return
            except UnavailableError as error:
                logger.info("%s waits: %s", messages[0].subject, error.text)
                await asyncio.sleep(PAUSE_S)
    except asyncio.CancelledError:
        # Whoever is next need not wait until the time to ack is over.
        for message in messages:
            await message.nak()
        raise
    finally:
        keeping.cancel()


async def _keep_in_hand(messages: Sequence[Msg]) -> None:
    while True:
        await asyncio.sleep(_SIGN_OF_LIFE_S)
        # A server that is away takes them for lost, and an inbox knows what was handled.
        with suppress(nats.errors.Error, OSError):
            for message in messages:
                await message.in_progress()
