"""Offline push: what was committed becomes rows of what devices are to be told, which are sent.

Everything follows from the events of the messages, which outlive any replica, and stands in a
table, which every replica works off. The send path knows nothing of it. What a claimed row comes
to is decided by the ``rules``.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from opentelemetry.metrics import get_meter

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.event_batches import consuming_batches
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.chassis.reported_gauges import Gauge, ReportedGauges
from tieline.chassis.streams import durables_of, stream_of
from tieline.messaging.live.connected_devices import ConnectedDevices
from tieline.messaging.push.rules import (
    Claim,
    Drop,
    Facts,
    Push,
    PushKey,
    Wait,
    build_document,
    decide,
    find_newest,
    find_next_try,
)
from tieline.messaging.push.senders import PushError, PushSender, WebhookPushSender
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.push_facts import list_facts
from tieline.messaging.repositories.push_targets import PushTargetRepository
from tieline.messaging.repositories.pushes import PushRepository, Settlement
from tieline.messaging.settings import MessagingSettings

# Well below the time that pushes are collapsed for.
INTERVAL_S = 0.5

# Of a turn, and of each corp in it: a corp's flood takes its share, the others theirs.
_BATCH = 256
_OF_CORP = 64

# Posts at the same time of one replica.
_SENDERS = 64

# Far above the longest post and the statements around it.
LEASE = dt.timedelta(seconds=120)

_PURGE_INTERVAL_S = 60.0
_PURGE_ROWS = 5000

# Events come within seconds; a relay that was away for longer may repeat a push.
_SETTLED_AGE = dt.timedelta(minutes=10)

_TARGET_DAYS = 60

_pushes = get_meter("tieline.messaging").create_counter(
    "pushes", unit="{push}", description="Pushes that were due, by what became of them"
)
_gauges = ReportedGauges["PushRunner"](
    (),
    [
        Gauge(
            "pushes.delay",
            "s",
            "For how long the oldest of the pushes that were last taken had been due",
            lambda runner: runner.delay_s,
        )
    ],
)
logger = logging.getLogger(__name__)


class PushRunner:
    """Notes what is to be pushed, and pushes it."""

    def __init__(self, pool: Pool, sender: PushSender, collapse: dt.timedelta) -> None:
        self.delay_s: float = 0.0
        """For how long the oldest of the last batch had been due; 0 once nothing is due."""

        self._pool = pool
        self._sender = sender
        self._collapse = collapse
        self._places = asyncio.Semaphore(_SENDERS)
        self._last_corp_id = ""

    @asynccontextmanager
    async def running(self, broker: Broker) -> AsyncIterator[None]:
        """Push within the block."""
        (durable,) = (each for each in durables_of(SCHEMA) if each.stream == stream_of(SCHEMA))
        async with AsyncExitStack() as stack:
            for name, work, interval_s in (
                ("offline push", self.turn, INTERVAL_S),
                ("the purge of pushes", self.purge, _PURGE_INTERVAL_S),
            ):
                await stack.enter_async_context(repeating(name, work, interval_s=interval_s))
            await stack.enter_async_context(
                consuming_batches(broker, durable, messaging_pb2.MessagesSent, self.note)
            )
            _gauges.report(self)
            stack.callback(_gauges.withdraw)
            yield

    async def note(self, events: Sequence[messaging_pb2.MessagesSent]) -> None:
        """Note whom messages are to be pushed to; a repeat changes nothing."""
        newest = find_newest(message for event in events for message in event.messages)
        if newest:
            async with transaction(self._pool) as connection:
                await PushRepository(connection).insert_wanted(newest, self._collapse)

    async def turn(self) -> None:
        """Push all that is due, as long as the webhook takes any of it."""
        while await self._push_batch():
            pass

    async def _push_batch(self) -> bool:
        """Push some of what is due, of each corp in turn; tell whether to go on."""
        async with transaction(self._pool) as connection:
            claims = await PushRepository(connection).claim_due(
                after_corp_id=self._last_corp_id, of_corp=_OF_CORP, limit=_BATCH, lease=LEASE
            )
        if not claims:
            # Those behind the last corp have nothing; the next look begins in front.
            was_in_front = not self._last_corp_id
            self._last_corp_id = ""
            if was_in_front:
                self.delay_s = 0.0
            return not was_in_front
        self._last_corp_id = claims[-1].key.corp_id
        self.delay_s = max(claim.delay for claim in claims).total_seconds()
        facts, badges, now = await self._look_up([claim.key for claim in claims])
        settlements = await asyncio.gather(
            *(self._push(claim, facts.get(claim.key), badges, now) for claim in claims)
        )
        async with transaction(self._pool) as connection:
            await PushRepository(connection).settle(settlements, self._collapse)
        # A webhook that takes nothing is left alone until the next turn.
        return any(each.failures == 0 for each in settlements)

    async def _look_up(
        self, keys: Sequence[PushKey]
    ) -> tuple[Mapping[PushKey, Facts], Mapping[UserKey, int], dt.datetime]:
        # Behind the claims' commit: what came until then is seen here, what comes later raises
        # the number that is wanted.
        async with transaction(self._pool) as connection:
            repository = PushRepository(connection)
            facts = await list_facts(connection, keys)
            people = {(key.corp_id, each.person) for key, each in facts.items()}
            badges = await repository.count_badges(sorted(people))
            return facts, badges, await repository.read_clock()

    async def _push(
        self,
        claim: Claim,
        facts: Facts | None,
        badges: Mapping[UserKey, int],
        now: dt.datetime,
    ) -> Settlement:
        decision = decide(facts, now)
        match decision:
            case Wait(until):
                _count("put_off")
                return Settlement(claim, None, until, 0)
            case Drop(why):
                _count(why)
                told = 0 if facts is None or facts.shown is None else facts.shown.sequence
                return Settlement(claim, max(told, claim.wanted_sequence), None, 0)
            case Push(shown):
                assert facts is not None, "what is gone is dropped"
                badge = badges[claim.key.corp_id, facts.person]
                document = build_document(claim.key, facts, shown, badge)
                told = max(shown.sequence, claim.wanted_sequence)
                async with self._places:
                    return await self._send(claim, facts, document, told, now)

    async def _send(
        self,
        claim: Claim,
        facts: Facts,
        document: Mapping[str, object],
        told: int,
        now: dt.datetime,
    ) -> Settlement:
        try:
            await self._sender.send(document)
        except PushError as error:
            if error.is_target_gone:
                await self._forget(claim.key, facts.token)
            if error.is_final:
                _count("refused")
                logger.warning("push %s is given up: %s", document["delivery_id"], error)
                return Settlement(claim, told, None, 0)
            _count("failed")
            logger.info("push %s is tried again: %s", document["delivery_id"], error)
            failures = claim.failures + 1
            return Settlement(claim, None, find_next_try(failures, now), failures)
        _count("sent")
        return Settlement(claim, told, None, 0)

    async def _forget(self, key: PushKey, token: str) -> None:
        async with transaction(self._pool) as connection:
            await PushTargetRepository(connection).delete_refused(
                key.corp_id, key.session_id, token
            )

    async def purge(self) -> None:
        """Forget what was told long ago, and devices that have not been heard of for long."""
        deleted = _PURGE_ROWS
        while deleted == _PURGE_ROWS:
            async with transaction(self._pool) as connection:
                deleted = await PushRepository(connection).delete_settled(
                    age=_SETTLED_AGE, maximum_rows=_PURGE_ROWS
                )
        async with transaction(self._pool) as connection:
            await PushTargetRepository(connection).delete_old(
                days=_TARGET_DAYS, maximum_rows=_PURGE_ROWS
            )


@asynccontextmanager
async def offline_push(
    settings: MessagingSettings, pool: Pool, broker: Broker, devices: ConnectedDevices
) -> AsyncIterator[None]:
    """Push within the block, unless no webhook is set."""
    if not settings.push_webhook_url:
        logger.info("offline push is off: TIELINE_PUSH_WEBHOOK_URL is empty")
        yield
        return
    assert settings.push_webhook_secret is not None, "the settings were checked"
    sender = WebhookPushSender(
        settings.push_webhook_url,
        settings.push_webhook_secret.get_secret_value(),
        timeout_s=settings.push_webhook_timeout_s,
    )
    runner = PushRunner(pool, sender, dt.timedelta(seconds=settings.push_collapse_s))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sender.close)
        await stack.enter_async_context(devices.noting())
        await stack.enter_async_context(runner.running(broker))
        yield


def _count(outcome: str) -> None:
    _pushes.add(1, {"outcome": outcome})
