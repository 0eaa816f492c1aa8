"""The outbox against real engines: order, crashes, several relays."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from nats.aio.msg import Msg

from fakes.eventually import eventually
from fakes.network import network_to
from tieline.chassis.broker import Broker, connect_admin
from tieline.chassis.calls import Call, entered
from tieline.chassis.event_publisher import EventPublisher
from tieline.chassis.health import Health
from tieline.chassis.outbox import Event, OutboxRelay, build_event, insert_events
from tieline.chassis.postgres import Pool, create_pool, transaction
from tieline.embedded.nats import EmbeddedNats

SUBJECT = "tieline.identity.v1.corp_created"


def event(number: int, *, key: str = "key") -> Event:
    return build_event(SUBJECT, "corp", key, StringValue(value=f"{number}"))


async def insert(pool: Pool, events: Sequence[Event]) -> None:
    async with transaction(pool) as connection:
        await insert_events(connection, "identity", events)


async def count_waiting(pool: Pool) -> int:
    async with pool.acquire() as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM identity.outbox")
        return count


async def read_stream(nats: EmbeddedNats, count: int) -> list[Msg]:
    """Return the stream's messages, which must be exactly ``count``."""
    async with connect_admin(nats.url("admin")) as broker:
        jetstream = broker.jetstream()
        info = await jetstream.stream_info("IDENTITY")
        assert info.state.messages == count
        subscription = await jetstream.subscribe(
            SUBJECT, ordered_consumer=True, pending_msgs_limit=-1
        )
        messages = [await subscription.next_msg(timeout=10) for _ in range(count)]
        await subscription.unsubscribe()
    return messages


def values(messages: Sequence[Msg]) -> list[int]:
    return [int(StringValue.FromString(message.data).value) for message in messages]


async def test_committed_event_is_published_with_its_headers_and_deleted(
    pool: Pool, identity_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    one = event(1)
    call = Call("/test", "request-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-00")

    async with OutboxRelay(pool, identity_broker, "identity"):
        with entered(call):
            await insert(pool, [one])
        await eventually(lambda: _is_empty(pool))

    (message,) = await read_stream(declared_nats, 1)
    assert message.headers is not None
    assert message.headers["Nats-Msg-Id"] == one.event_id
    assert message.headers["Tieline-Event-Id"] == one.event_id
    assert message.headers["Tieline-Corp-Id"] == "corp"
    assert message.headers["Tieline-Key"] == "key"
    assert message.headers["Tieline-Request-Id"] == "request-1"
    assert message.headers["traceparent"] == call.traceparent


async def test_rolled_back_event_is_never_published(
    pool: Pool, identity_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    async with OutboxRelay(pool, identity_broker, "identity"):
        async with transaction(pool) as connection:
            rolled_back = connection.transaction()
            await rolled_back.start()
            await insert_events(connection, "identity", [event(1)])
            await rolled_back.rollback()
        await insert(pool, [event(2)])
        await eventually(lambda: _is_empty(pool))

    assert values(await read_stream(declared_nats, 1)) == [2]


async def test_order_is_kept_over_many_batches(
    pool: Pool, identity_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    async with OutboxRelay(pool, identity_broker, "identity"):
        for start in range(0, 3000, 300):
            await insert(pool, [event(number) for number in range(start, start + 300)])
        await eventually(lambda: _is_empty(pool))

    assert values(await read_stream(declared_nats, 3000)) == list(range(3000))


async def test_foreign_publish_between_batches_does_not_stop_the_relay(
    pool: Pool, identity_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    async with OutboxRelay(pool, identity_broker, "identity"):
        await insert(pool, [event(1)])
        await eventually(lambda: _is_empty(pool))
        await identity_broker.jetstream().publish(
            SUBJECT, StringValue(value="100").SerializeToString()
        )
        await insert(pool, [event(2), event(3)])
        await eventually(lambda: _is_empty(pool))

    assert values(await read_stream(declared_nats, 4)) == [1, 100, 2, 3]


async def test_events_that_the_stream_already_has_are_not_stored_twice(
    pool: Pool, identity_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    events = [event(number) for number in range(10)]
    for known in events[:5]:  # as a relay leaves them that is killed between publish and delete
        await identity_broker.jetstream().publish(
            SUBJECT, known.payload, headers={"Nats-Msg-Id": known.event_id}
        )
    await insert(pool, events)

    async with OutboxRelay(pool, identity_broker, "identity"):
        await eventually(lambda: _is_empty(pool))

    assert values(await read_stream(declared_nats, 10)) == list(range(10))


async def test_lost_publish_lets_nothing_overtake_it(
    pool: Pool,
    identity_broker: Broker,
    declared_nats: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish = identity_broker.publish
    lost: list[bytes] = []

    async def losing_one(subject: str, payload: bytes = b"", **others: object) -> None:
        if not lost and payload == event(7).payload:
            lost.append(payload)
            return
        await publish(subject, payload, **others)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(identity_broker, "publish", losing_one)
    monkeypatch.setattr("tieline.chassis.event_publisher._ACK_TIMEOUT_S", 0.3)
    await insert(pool, [event(number) for number in range(20)])

    async with OutboxRelay(pool, identity_broker, "identity"):
        await eventually(lambda: _is_empty(pool))

    assert lost
    assert values(await read_stream(declared_nats, 20)) == list(range(20))


async def test_event_whose_transaction_commits_late_is_not_skipped(
    pool: Pool, identity_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    async with OutboxRelay(pool, identity_broker, "identity"):
        async with transaction(pool) as late:
            await insert_events(late, "identity", [event(1, key="late")])
            await insert(pool, [event(2)])
            await eventually(lambda: _is_empty(pool))
        await eventually(lambda: _is_empty(pool))

    assert values(await read_stream(declared_nats, 2)) == [2, 1]


async def test_one_of_two_relays_is_active_and_the_other_takes_over(
    pool: Pool, identity_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    async with OutboxRelay(pool, identity_broker, "identity") as second_to_be:
        await eventually(lambda: second_to_be.is_active)
        async with OutboxRelay(pool, identity_broker, "identity") as standby:
            await insert(pool, [event(1)])
            await eventually(lambda: _is_empty(pool))
            assert (second_to_be.is_active, standby.is_active) == (True, False)

            await _terminate_lock_holder(pool)
            await eventually(lambda: standby.is_active or second_to_be.is_active)
            await insert(pool, [event(2)])
            await eventually(lambda: _is_empty(pool))

    assert values(await read_stream(declared_nats, 2)) == [1, 2]


async def test_standby_wakes_the_active_relay_before_its_poll(
    pool: Pool,
    identity_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    declared_nats: EmbeddedNats,
) -> None:
    monkeypatch.setattr("tieline.chassis.outbox._POLL_INTERVAL_S", 3600.0)
    async with OutboxRelay(pool, identity_broker, "identity") as active:
        await eventually(lambda: active.is_active)
        async with OutboxRelay(pool, identity_broker, "identity"):  # the pool now wakes this one
            await insert(pool, [event(1)])

            await eventually(lambda: _is_empty(pool), timeout_s=5)


async def test_commit_while_the_standbys_wake_is_under_way_wakes_the_relay_too(
    pool: Pool,
    identity_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
    declared_nats: EmbeddedNats,
) -> None:
    monkeypatch.setattr("tieline.chassis.outbox._POLL_INTERVAL_S", 3600.0)
    flush = identity_broker.flush
    may_flush = asyncio.Event()

    async def slow_flush(timeout: int = 10) -> None:  # noqa: ASYNC109 -- as the client has it
        await may_flush.wait()
        await flush(timeout)

    async with OutboxRelay(pool, identity_broker, "identity") as active:
        await eventually(lambda: active.is_active)
        async with OutboxRelay(pool, identity_broker, "identity"):  # the pool now wakes this one
            monkeypatch.setattr(identity_broker, "flush", slow_flush)
            await insert(pool, [event(1)])
            await eventually(lambda: _is_empty(pool))
            await insert(pool, [event(2)])
            may_flush.set()

            await eventually(lambda: _is_empty(pool), timeout_s=5)


async def test_relay_whose_machine_vanishes_loses_its_lock(
    chassis_dsn: str,
    pool: Pool,
    identity_broker: Broker,
    declared_nats: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tieline.chassis.postgres._COMMAND_TIMEOUT_S", 3600)
    monkeypatch.setattr("tieline.chassis.postgres._IDLE_SESSION_TIMEOUT_S", 2)
    port = urlsplit(chassis_dsn).port
    assert port is not None
    monkeypatch.setattr("tieline.chassis.outbox._FLUSH_TIMEOUT_S", 0.1)
    async with (
        network_to(port) as network,
        _pool_over(chassis_dsn, network.port) as distant,
        OutboxRelay(distant, identity_broker, "identity") as vanishing,
    ):
        await insert(pool, [event(1)])
        # Its statements are prepared now: halfway through that, a session is not idle for the
        # server, and TCP alone ends it.
        await eventually(lambda: _is_empty(pool))
        assert vanishing.is_active
        async with OutboxRelay(pool, identity_broker, "identity") as standby:
            network.swallow()

            await eventually(lambda: standby.is_active)


async def test_relay_whose_connection_falls_silent_begins_again_on_another(
    chassis_dsn: str,
    pool: Pool,
    identity_broker: Broker,
    declared_nats: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tieline.chassis.postgres._COMMAND_TIMEOUT_S", 1)
    monkeypatch.setattr("tieline.chassis.postgres._IDLE_SESSION_TIMEOUT_S", 2)
    port = urlsplit(chassis_dsn).port
    assert port is not None
    async with (
        network_to(port) as network,
        _pool_over(chassis_dsn, network.port) as distant,
        OutboxRelay(distant, identity_broker, "identity") as relay,
    ):
        await insert(pool, [event(1)])
        # Its statements are prepared now: halfway through that, a session is not idle for the
        # server, and TCP alone ends it.
        await eventually(lambda: _is_empty(pool))
        assert relay.is_active
        network.swallow()
        await insert(pool, [event(2)])

        await eventually(lambda: _is_empty(pool))


async def test_relay_ends_although_the_client_library_swallows_the_cancellation(
    pool: Pool,
    identity_broker: Broker,
    declared_nats: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tieline.chassis.outbox._FLUSH_TIMEOUT_S", 0.1)
    build = identity_broker.jetstream
    is_stalled = asyncio.Event()

    def build_stalling(**options: Any) -> Any:
        jetstream = build(**{**options, "publish_async_max_pending": 0})
        publish = jetstream.publish_async

        async def publish_async(*arguments: Any, **others: Any) -> Any:
            is_stalled.set()
            return await publish(*arguments, **others)

        monkeypatch.setattr(jetstream, "publish_async", publish_async)
        return jetstream

    monkeypatch.setattr(identity_broker, "jetstream", build_stalling)
    await insert(pool, [event(1)])

    async with asyncio.timeout(10):
        async with OutboxRelay(pool, identity_broker, "identity"):
            await is_stalled.wait()


async def test_publisher_that_failed_to_send_again_and_again_still_publishes(
    pool: Pool,
    identity_broker: Broker,
    declared_nats: EmbeddedNats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tieline.chassis.event_publisher._ACK_TIMEOUT_S", 0.5)
    await insert(pool, [event(number) for number in range(4)])
    async with pool.acquire() as connection:
        rows = await connection.fetch("SELECT * FROM identity.outbox ORDER BY outbox_id")
    publish = identity_broker.publish

    async def fail_midway(subject: str, payload: bytes = b"", **others: object) -> None:
        if payload == event(3).payload:
            raise ConnectionResetError
        await publish(subject, payload, **others)  # type: ignore[arg-type]  # passed on as they are

    publisher = EventPublisher(identity_broker, "IDENTITY", max_pending=4)
    with monkeypatch.context() as patch:
        patch.setattr(identity_broker, "publish", fail_midway)
        for _ in range(10):  # more than may be pending
            assert await publisher.publish(rows) == []

    assert await publisher.publish(rows) == rows


async def test_leaving_the_relay_sends_what_is_committed(
    pool: Pool, identity_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    async with OutboxRelay(pool, identity_broker, "identity") as relay:
        await eventually(lambda: relay.is_active)
        await insert(pool, [event(number) for number in range(1000)])

    assert await count_waiting(pool) == 0


async def test_insert_is_one_statement_whose_headers_are_json(pool: Pool) -> None:
    with entered(Call("/test", "request-1")):
        await insert(pool, [event(1), event(2)])

    async with pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT headers::text AS headers FROM identity.outbox ORDER BY outbox_id"
        )
    assert [json.loads(row["headers"])["Tieline-Request-Id"] for row in rows] == ["request-1"] * 2


async def _is_empty(pool: Pool) -> bool:
    return await count_waiting(pool) == 0


def _pool_over(dsn: str, port: int) -> AbstractAsyncContextManager[Pool]:
    """Connect by way of this port."""
    dsn = dsn.replace(f":{urlsplit(dsn).port}/", f":{port}/")
    return create_pool(dsn, service="identity", max_size=2, health=Health())


async def _terminate_lock_holder(pool: Pool) -> None:
    async with pool.acquire() as connection:
        terminated = await connection.fetch(
            """
            SELECT pg_terminate_backend(pid)
              FROM pg_locks
             WHERE locktype = 'advisory' AND granted
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        )
    assert len(terminated) == 1
    await asyncio.sleep(0)
