"""What a relay tells of the events that wait, while its rounds succeed and while they fail."""

import asyncio
from collections.abc import Sequence

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from fakes.eventually import eventually
from tieline.chassis import outbox
from tieline.chassis.broker import Broker
from tieline.chassis.outbox import OutboxRelay, build_event, insert_events
from tieline.chassis.postgres import Connection, Pool, Record, transaction
from tieline.embedded.nats import EmbeddedNats

SUBJECT = "tieline.identity.v1.corp_created"
HOUR_S = 3600


async def insert_old(pool: Pool, count: int) -> None:
    """Insert events that have waited for an hour."""
    async with transaction(pool) as connection:
        events = [
            build_event(SUBJECT, "corp", "key", StringValue(value=f"{number}"))
            for number in range(count)
        ]
        await insert_events(connection, "identity", events)
        await connection.execute(
            "UPDATE identity.outbox SET create_time = now() - interval '1 hour'"
        )


async def test_what_waits_behind_a_round_that_succeeds_is_told_with_its_age(
    pool: Pool,
    identity_broker: Broker,
    declared_nats: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A round has 500 events: behind those of an import wait a million."""
    publish = identity_broker.publish
    published = 0
    goes_on = asyncio.Event()

    async def stopping(subject: str, payload: bytes = b"", **others: object) -> None:
        nonlocal published
        published += subject == SUBJECT
        if published == 501:  # the second round begins
            await goes_on.wait()
        await publish(subject, payload, **others)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(identity_broker, "publish", stopping)
    await insert_old(pool, 1200)
    async with OutboxRelay(pool, identity_broker, "identity") as relay:
        await eventually(lambda: published == 501)

        assert relay.lag.waiting == 700
        assert HOUR_S <= relay.lag.oldest_s < HOUR_S + 120
        assert relay.lag.stuck_s == 0

        goes_on.set()
        await eventually(lambda: relay.lag.oldest_s == 0)
        assert relay.lag.waiting == 0


async def test_relay_whose_rounds_raise_goes_on_telling_since_when(
    pool: Pool,
    identity_broker: Broker,
    declared_nats: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It begins again with the lock to be had anew, and what it told before stands meanwhile."""
    fails = True
    delete = outbox._delete

    async def failing(connection: Connection, schema: str, rows: Sequence[Record]) -> None:
        if fails:
            raise ValueError("something unforeseen")
        await delete(connection, schema, rows)

    monkeypatch.setattr("tieline.chassis.outbox._delete", failing)
    monkeypatch.setattr("tieline.chassis.outbox._POLL_INTERVAL_S", 0.05)
    await insert_old(pool, 1)
    async with OutboxRelay(pool, identity_broker, "identity") as relay:
        await eventually(lambda: relay.lag.stuck_s > 0 and not relay.is_active)
        before = relay.lag.stuck_s
        await eventually(lambda: relay.is_active)
        await eventually(lambda: not relay.is_active)

        assert relay.lag.stuck_s > before
        assert relay.lag.oldest_s >= HOUR_S

        fails = False
        await eventually(lambda: relay.lag.stuck_s == relay.lag.oldest_s == 0)


async def test_relay_that_waits_for_another_tells_nothing(
    pool: Pool,
    identity_broker: Broker,
    declared_nats: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each service has one active relay, and one that tells."""

    async def losing(subject: str, payload: bytes = b"", **others: object) -> None:
        return

    monkeypatch.setattr("tieline.chassis.event_publisher._ACK_TIMEOUT_S", 0.1)
    monkeypatch.setattr("tieline.chassis.outbox._FLUSH_TIMEOUT_S", 0.1)
    monkeypatch.setattr(identity_broker, "publish", losing)
    async with OutboxRelay(pool, identity_broker, "identity") as active:
        await eventually(lambda: active.is_active)
        async with OutboxRelay(pool, identity_broker, "identity") as standby:
            await insert_old(pool, 3)
            # Counted once the round is known to have failed.
            await eventually(lambda: active.lag.waiting == 3)

            assert active.lag.stuck_s > 0
            assert active.lag.oldest_s >= HOUR_S
            assert (standby.lag.waiting, standby.lag.oldest_s, standby.lag.stuck_s) == (0, 0, 0)
