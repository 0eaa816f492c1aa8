"""Consuming another service's events: effects once, order, dead letters, bad weather."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from fakes.eventually import eventually
from tieline.chassis import consumer_lag
from tieline.chassis.admission.priorities import LOWEST_PRIORITY
from tieline.chassis.broker import Broker, connect_admin
from tieline.chassis.calls import Call, current_call, entered
from tieline.chassis.dead_letters import list_dead_letters, replay_dead_letters
from tieline.chassis.errors import UnavailableError
from tieline.chassis.events import (
    MAX_DELIVERIES,
    EventHandler,
    Poison,
    ReceivedEvent,
    consuming,
    purge_handled_events,
)
from tieline.chassis.outbox import Event, OutboxRelay, build_event, insert_events
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.streams import ACK_WAIT_S, durables_of
from tieline.embedded.nats import EmbeddedNats

SUBJECT = "tieline.identity.v1.corp_created"
# The directory's place in identity's stream, of which one event is enough here.
(_PLACE,) = (durable for durable in durables_of("directory") if durable.stream == "IDENTITY")
DURABLE = replace(_PLACE, subjects=(SUBJECT,))


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tieline.chassis.events._FIRST_DELAY_S", 0.01)
    monkeypatch.setattr("tieline.chassis.event_pulls.PAUSE_S", 0.01)


def event(value: str) -> Event:
    return build_event(SUBJECT, "corp", "key", StringValue(value=value))


async def publish(broker: Broker, *events: Event, times: int = 1) -> None:
    """Publish as the relay does; several times under other message ids, as after an outage."""
    for one in events:
        for time in range(times):
            headers = {
                "Nats-Msg-Id": f"{one.event_id}-{time}",
                "Tieline-Event-Id": one.event_id,
                "Tieline-Corp-Id": one.corp_id,
                "Tieline-Key": one.key,
            }
            await broker.jetstream().publish(one.subject, one.payload, headers=headers)


def handling(handler: EventHandler) -> Mapping[str, EventHandler]:
    return {SUBJECT: handler}


class Recorder:
    """A handler that remembers, and fails as its events tell it to."""

    def __init__(self) -> None:
        self.attempts: list[str] = []
        self.handled: list[str] = []
        self.is_cured = False

    async def __call__(self, connection: Connection, event: ReceivedEvent) -> None:
        value = event.decode(StringValue).value
        self.attempts.append(value)
        if value.startswith("poison"):
            raise Poison("no good")
        if value.startswith("broken") and not self.is_cured:
            raise ValueError("still broken")
        if value.startswith("flaky") and self.attempts.count(value) < 3:
            raise ValueError("not yet")
        if value.startswith("weather") and self.attempts.count(value) < 2 * MAX_DELIVERIES:
            raise UnavailableError("SERVICE_UNAVAILABLE", "away")
        self.handled.append(value)


async def test_events_are_handled_in_order_and_once_however_often_delivered(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    recorder = Recorder()
    async with consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)):
        await publish(identity_broker, *(event(f"{n}") for n in range(50)), times=2)
        await publish(identity_broker, event("last"))
        await eventually(lambda: "last" in recorder.handled)

    assert recorder.handled == [*(f"{n}" for n in range(50)), "last"]


async def test_event_that_fails_is_handled_later_and_nothing_overtakes_it(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    recorder = Recorder()
    async with consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)):
        await publish(identity_broker, event("flaky"), event("next"))
        await eventually(lambda: "next" in recorder.handled)

    assert recorder.attempts == ["flaky", "flaky", "flaky", "next"]


async def test_two_replicas_keep_the_order(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    recorder = Recorder()
    async with (
        consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)),
        consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)),
    ):
        await publish(identity_broker, *(event(f"{n}") for n in range(100)))
        await eventually(lambda: len(recorder.handled) >= 100)

    assert recorder.handled == [f"{n}" for n in range(100)]


async def test_effect_and_inbox_row_are_rolled_back_together(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    attempts = 0

    async def write_then_fail_once(connection: Connection, received: ReceivedEvent) -> None:
        nonlocal attempts
        attempts += 1
        onward = build_event("tieline.directory.v1.effect", "corp", "key", StringValue())
        await insert_events(connection, "directory", [onward])
        if attempts == 1:
            raise ValueError("after the effect")

    async with consuming(
        directory_broker, pool, "directory", DURABLE, handling(write_then_fail_once)
    ):
        await publish(identity_broker, event("x"))
        await eventually(lambda: _count(pool, "handled_events"))

    assert attempts == 2
    assert await _count(pool, "outbox") == 1


async def test_poison_becomes_a_dead_letter_at_once_and_the_next_event_is_handled(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    recorder = Recorder()
    async with consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)):
        await publish(identity_broker, event("poison"), event("next"))
        await eventually(lambda: "next" in recorder.handled)

    async with pool.acquire() as connection:
        (letter,) = await list_dead_letters(connection, "directory")
    assert (letter.subject, letter.reason, letter.deliveries) == (SUBJECT, "no good", 1)
    assert recorder.attempts == ["poison", "next"]


async def test_last_failure_makes_a_dead_letter_and_a_replay_is_handled_once_cured(
    pool: Pool, identity_broker: Broker, directory_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    recorder = Recorder()
    broken = event("broken")
    async with consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)):
        await publish(identity_broker, broken, event("next"))
        await eventually(lambda: "next" in recorder.handled)
        assert recorder.attempts.count("broken") == MAX_DELIVERIES

        recorder.is_cured = True
        async with pool.acquire() as connection, connect_admin(declared_nats.url("admin")) as admin:
            letters = await list_dead_letters(connection, "directory")
            replayed = await replay_dead_letters(connection, admin, "directory", letters)
            again = await replay_dead_letters(connection, admin, "directory", letters)
        await eventually(lambda: "broken" in recorder.handled)

    assert [letter.event_id for letter in letters] == [broken.event_id]
    assert (replayed, again) == (1, 0)
    assert recorder.handled == ["next", "broken"]
    assert await _count(pool, "dead_letters") == 0


async def test_unavailability_makes_no_dead_letters(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    recorder = Recorder()
    async with consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)):
        await publish(identity_broker, event("weather"), event("next"))
        await eventually(lambda: "next" in recorder.handled)

    assert recorder.handled == ["weather", "next"]
    assert await _count(pool, "dead_letters") == 0


async def test_request_id_priority_and_trace_travel_through_the_outbox_to_the_handler(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    seen: list[Call] = []

    async def remember(connection: Connection, received: ReceivedEvent) -> None:
        seen.append(current_call())

    parent = f"00-{'a' * 32}-{'b' * 16}-00"
    call = Call("/test", "request-1", traceparent=parent, priority=LOWEST_PRIORITY)
    async with (
        OutboxRelay(pool, identity_broker, "identity"),
        consuming(directory_broker, pool, "directory", DURABLE, handling(remember)),
    ):
        with entered(call):
            async with transaction(pool) as connection:
                await insert_events(connection, "identity", [event("x")])
        await eventually(lambda: seen)

    assert (seen[0].request_id, seen[0].priority) == ("request-1", LOWEST_PRIORITY)
    assert seen[0].traceparent.split("-")[1] == "a" * 32


async def test_event_in_hand_of_a_stopped_consumer_is_handled_by_the_next(
    pool: Pool, identity_broker: Broker, directory_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    started = asyncio.Event()

    async def hang(connection: Connection, received: ReceivedEvent) -> None:
        started.set()
        await asyncio.Event().wait()

    async with consuming(directory_broker, pool, "directory", DURABLE, handling(hang)):
        await publish(identity_broker, event("x"))
        await started.wait()

    recorder = Recorder()
    async with consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)):
        await eventually(lambda: recorder.handled)

    assert recorder.handled == ["x"]


async def test_event_in_hand_of_a_killed_replica_holds_up_those_behind_it_for_seconds(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    await publish(identity_broker, event("in hand"), event("behind"))
    killed = await directory_broker.jetstream().pull_subscribe_bind(
        consumer=DURABLE.service, stream=DURABLE.stream
    )
    await killed.fetch(1)

    recorder = Recorder()
    async with consuming(directory_broker, pool, "directory", DURABLE, handling(recorder)):
        await eventually(lambda: len(recorder.handled) == 2, timeout_s=15)

    assert recorder.handled == ["in hand", "behind"]


async def test_event_whose_handling_takes_long_is_delivered_to_nobody_else(
    pool: Pool, identity_broker: Broker, directory_broker: Broker, declared_nats: EmbeddedNats
) -> None:
    began = monotonic()
    ended = asyncio.Event()

    async def take_long(connection: Connection, received: ReceivedEvent) -> None:
        await eventually(lambda: monotonic() - began > 1.5 * ACK_WAIT_S, timeout_s=2 * ACK_WAIT_S)
        ended.set()

    # Two replicas: one that asks for the next event would get this one.
    async with (
        consuming(directory_broker, pool, "directory", DURABLE, handling(take_long)),
        consuming(directory_broker, pool, "directory", DURABLE, handling(take_long)),
        connect_admin(declared_nats.url("admin")) as admin,
    ):
        await publish(identity_broker, event("x"))
        await ended.wait()
        info = await admin.jetstream().consumer_info(DURABLE.stream, DURABLE.service)

    assert info.num_redelivered == 0


async def test_purge_deletes_what_no_stream_can_deliver_again_and_nothing_else(pool: Pool) -> None:
    async with pool.acquire() as connection:
        await connection.execute(
            """
            INSERT INTO directory.handled_events (corp_id, event_id, handle_time)
            SELECT 'corp', 'old' || n, now() - interval '9 days' FROM generate_series(1, 2500) AS n
            UNION ALL SELECT 'corp', 'young', now() - interval '7 days 1 hour'
            """
        )

    deleted = await purge_handled_events(pool, "directory")

    assert deleted == 2500
    assert await _count(pool, "handled_events") == 1


async def _count(pool: Pool, table: str) -> int:
    async with pool.acquire() as connection:
        count: int = await connection.fetchval(f"SELECT count(*) FROM directory.{table}")
        return count


async def test_event_in_hand_is_told_of_by_its_age_and_by_no_age_once_it_is_handled(
    pool: Pool, identity_broker: Broker, directory_broker: Broker
) -> None:
    """What holds a consumer back shows, also where no event is behind the one in hand."""
    may_end = asyncio.Event()
    is_in_hand = asyncio.Event()

    async def hold(connection: Connection, received: ReceivedEvent) -> None:
        is_in_hand.set()
        await may_end.wait()

    async with consuming(directory_broker, pool, "directory", DURABLE, handling(hold)):
        lag = consumer_lag._gauges._subjects["directory", "IDENTITY"]
        await publish(identity_broker, event("x"))
        await is_in_hand.wait()
        first = lag.delay_s
        await eventually(lambda: lag.delay_s > first + 0.1)
        may_end.set()

        await eventually(lambda: lag.delay_s == 0)


async def test_server_that_has_nothing_is_told_from_one_that_is_silent(
    pool: Pool,
    identity_broker: Broker,
    directory_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was last seen stays while nobody answers."""
    monkeypatch.setattr("tieline.chassis.events.FETCH_WAIT_S", 0.5)
    monkeypatch.setattr("tieline.chassis.events.FETCH_HEARTBEAT_S", 0.2)
    monkeypatch.setattr("tieline.chassis.consumer_lag._QUIET_S", 0.0)
    publishing = directory_broker.publish
    is_lost = True
    asked = 0

    async def losing(subject: str, payload: bytes = b"", *others: object, **named: object) -> None:
        nonlocal asked
        if is_lost and ".MSG.NEXT." in subject:
            asked += 1
            return
        await publishing(subject, payload, *others, **named)  # type: ignore[arg-type]  # as they are

    monkeypatch.setattr(directory_broker, "publish", losing)
    async with consuming(directory_broker, pool, "directory", DURABLE, handling(Recorder())):
        lag = consumer_lag._gauges._subjects["directory", "IDENTITY"]
        lag.note_delivery(5, 0.0)
        before = asked
        await eventually(lambda: asked > before + 1)
        assert lag.pending == 5

        is_lost = False
        await eventually(lambda: lag.pending == 0)
