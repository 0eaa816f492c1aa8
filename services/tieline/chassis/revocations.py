"""Follows identity's revocations, so that every replica of every service refuses what was revoked.

    start           the stream's last two hours are read before the first call is served
    from then on    a revocation is here some milliseconds after its commit
    NATS is away    tokens stay good, until they expire at the latest; nothing is refused for that
    NATS is back    the two hours are read again, within a second

Every replica needs every revocation, so each has a consumer of its own. The consumers are on a
mirror of identity's stream that holds nothing but revocations: whoever may create one there can't
read identity's other events, nor touch the durables of other services.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats.errors
import nats.js.errors
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from tieline.api.common.v1 import principal_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.ids import new_uuid7
from tieline.chassis.principals import PrincipalKind
from tieline.chassis.process import StartError
from tieline.chassis.revocation_list import Holder, Revocation, RevocationList
from tieline.chassis.streams import REVOCATIONS_STREAM
from tieline.chassis.tasks import end_task

# A pull request that a reconnect has lost is noticed after this long: half of the two seconds
# within which a revocation must be known.
_FETCH_WAIT_S = 1.0
_BATCH = 500
_PAUSE_S = 0.25

# The server forgets the consumer of a replica that is gone.
_INACTIVE_THRESHOLD_S = 30.0

_START_TIMEOUT_S = 10.0

_KINDS = {
    principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR: PrincipalKind.PLATFORM_ADMINISTRATOR,
    principal_pb2.PRINCIPAL_KIND_MEMBER: PrincipalKind.MEMBER,
    principal_pb2.PRINCIPAL_KIND_CUSTOMER: PrincipalKind.CUSTOMER,
    principal_pb2.PRINCIPAL_KIND_APP: PrincipalKind.APP,
}

logger = logging.getLogger(__name__)


@asynccontextmanager
async def following_revocations(broker: Broker, revocations: RevocationList) -> AsyncIterator[None]:
    """Keep the list up to date until the block is left; at its begin it is complete.

    StartError when the stream is not there or JetStream does not answer.
    """
    follower = _Follower(broker, revocations)
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            await follower.begin()
    except (TimeoutError, OSError, nats.errors.Error) as error:
        raise StartError(
            f"the stream {REVOCATIONS_STREAM} of NATS can't be read "
            f"({str(error) or 'no answer in time'}): run `tieline migrate`, or see to JetStream"
        ) from None
    task = asyncio.create_task(follower.run(), name="revocations")
    try:
        yield
    finally:
        await end_task(task)
        await follower.end()


class _Follower:
    """One consumer at a time, made anew after whatever may have lost a message."""

    def __init__(self, broker: Broker, revocations: RevocationList) -> None:
        self._broker = broker
        self._revocations = revocations
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._reconnects = 0
        self._is_behind = False

    async def begin(self) -> None:
        """Make a consumer and read what the stream holds."""
        await self.end()
        # Before the consumer is made: a reconnect while it is being made counts as a new one.
        reconnects = self._broker.stats["reconnects"]
        jetstream = self._broker.jetstream()
        consumer = await jetstream.add_consumer(
            REVOCATIONS_STREAM,
            ConsumerConfig(
                name=new_uuid7(),
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=_INACTIVE_THRESHOLD_S,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        self._subscription = await jetstream.pull_subscribe_bind(
            consumer=consumer.name, stream=REVOCATIONS_STREAM
        )
        left = consumer.num_pending or 0
        # Nothing within the wait means that the rest was too old meanwhile.
        while left > 0 and (taken := await self._take()):
            left -= taken
        self._reconnects = reconnects

    async def run(self) -> None:
        """Take revocations for ever."""
        while True:
            try:
                if self._broker.stats["reconnects"] != self._reconnects:
                    await self.begin()
                if self._is_behind:
                    logger.info("revocations are followed again")
                    self._is_behind = False
                await self._take()
            except (TimeoutError, OSError, nats.errors.Error) as error:
                await self._begin_again(str(error) or "no answer in time")
            except Exception as error:
                logger.exception("following revocations failed")
                await self._begin_again(str(error))

    async def end(self) -> None:
        """Leave the consumer to the server, which forgets it."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except (OSError, nats.errors.Error):
                logger.debug("the broker's connection was closed before the revocations")

    async def _begin_again(self, why: str) -> None:
        if not self._is_behind:
            logger.warning("revocations can't be followed now and tokens stay good: %s", why)
            self._is_behind = True
        # No connection was made again so often: `run` begins anew.
        self._reconnects = -1
        await asyncio.sleep(_PAUSE_S)

    async def _take(self) -> int:
        """Take what is there, or wait for it for a second; return how many."""
        assert self._subscription is not None, "begin made it"
        try:
            messages = await self._subscription.fetch(_BATCH, timeout=_FETCH_WAIT_S)
        except TimeoutError:
            return 0
        for message in messages:
            revocation = read_revocation(message.data)
            if revocation is None:
                _log_unreadable(message)
            else:
                self._revocations.add(revocation)
        return len(messages)


def read_revocation(payload: bytes) -> Revocation | None:
    """Return what the event tells; None where it tells nothing that could be acted upon."""
    try:
        event = identity_pb2.TokensRevoked.FromString(payload)
    except DecodeError:
        return None
    holder: Holder | None = None
    match event.WhichOneof("holder"):
        case "session_id":
            holder = event.session_id
        case "link_id":
            holder = event.link_id
        case "principal":
            kind = _KINDS.get(event.principal.kind)
            if kind is None:
                return None
            holder = (kind, event.principal.id)
        case _:
            # Nobody's corp: that would sign every customer out.
            if not event.corp_id:
                return None
    limit = event.issue_time_limit
    return Revocation(event.corp_id, holder, limit.seconds + limit.nanos / 1e9)


def _log_unreadable(message: Msg) -> None:
    logger.error("a revocation can't be read: %s", (message.headers or {}).get("Nats-Msg-Id"))
