"""Events that are handled many at a time, of a real stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from fakes.broker_users import connected
from fakes.eventually import eventually
from tieline.chassis import consumer_lag
from tieline.chassis.broker import Broker
from tieline.chassis.errors import UnavailableError
from tieline.chassis.event_batches import consuming_batches
from tieline.chassis.streams import durables_of
from tieline.embedded.nats import EmbeddedNats

SUBJECT = "tieline.messaging.v1.messages_sent"
(DURABLE,) = (each for each in durables_of("messaging") if each.stream == "MESSAGING")


@pytest.fixture
async def messaging_broker(declared_nats: EmbeddedNats) -> AsyncIterator[Broker]:
    async with connected(declared_nats, "messaging") as (broker, _):
        yield broker


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tieline.chassis.event_batches._DELAY_S", 0.01)
    monkeypatch.setattr("tieline.chassis.event_pulls.PAUSE_S", 0.01)


async def publish(broker: Broker, *values: str) -> None:
    for value in values:
        await broker.jetstream().publish(SUBJECT, StringValue(value=value).SerializeToString())


async def test_what_waits_comes_in_batches_and_each_event_at_least_once(
    messaging_broker: Broker,
) -> None:
    wanted = [f"event-{number}" for number in range(150)]
    await publish(messaging_broker, *wanted)
    batches: list[list[str]] = []

    async def handle(events: Sequence[StringValue]) -> None:
        batches.append([event.value for event in events])

    async with consuming_batches(messaging_broker, DURABLE, StringValue, handle):
        await eventually(lambda: {each for batch in batches for each in batch} >= set(wanted))
        await publish(messaging_broker, "alone")
        await eventually(lambda: batches[-1] == ["alone"])

    assert len(batches) < len(wanted)


async def test_batch_that_fails_comes_again_and_what_is_unreadable_is_given_up(
    messaging_broker: Broker,
) -> None:
    handled: list[str] = []
    errors: list[Exception] = [
        UnavailableError("DATABASE_UNAVAILABLE", "away", retry_after_s=1),
        RuntimeError("a fault"),
    ]

    async def handle(events: Sequence[StringValue]) -> None:
        if errors:
            raise errors.pop(0)
        handled.extend(event.value for event in events)

    async with consuming_batches(messaging_broker, DURABLE, StringValue, handle):
        await messaging_broker.jetstream().publish(SUBJECT, b"\xff\xff")
        await publish(messaging_broker, "a", "b")
        await eventually(lambda: {"a", "b"} <= set(handled))

    assert errors == []


async def test_batch_in_hand_at_the_end_goes_to_whoever_is_next(messaging_broker: Broker) -> None:
    begun = asyncio.Event()
    handled: list[str] = []

    async def hang(events: Sequence[StringValue]) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def handle(events: Sequence[StringValue]) -> None:
        handled.extend(event.value for event in events)

    async with consuming_batches(messaging_broker, DURABLE, StringValue, hang):
        await publish(messaging_broker, "left")
        await begun.wait()
    async with consuming_batches(messaging_broker, DURABLE, StringValue, handle):
        await eventually(lambda: "left" in handled)


async def test_lag_grows_while_a_batch_is_in_hand_and_ends_with_it(
    messaging_broker: Broker,
) -> None:
    may_go_on = asyncio.Event()
    begun = asyncio.Event()

    async def handle(events: Sequence[StringValue]) -> None:
        begun.set()
        await may_go_on.wait()

    await publish(messaging_broker, *(f"event-{number}" for number in range(150)))
    async with consuming_batches(messaging_broker, DURABLE, StringValue, handle):
        lag = consumer_lag._gauges._subjects["messaging", "MESSAGING"]
        await begun.wait()
        assert lag.pending >= 50
        first = lag.delay_s
        await eventually(lambda: lag.delay_s > first + 0.1)
        may_go_on.set()
        await eventually(lambda: (lag.pending, lag.delay_s) == (0, 0))

    assert ("messaging", "MESSAGING") not in consumer_lag._gauges._subjects


async def test_lag_is_none_once_the_server_has_nothing_more(
    messaging_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several replicas another one may have handled the rest."""
    monkeypatch.setattr("tieline.chassis.consumer_lag._QUIET_S", 0.0)
    monkeypatch.setattr("tieline.chassis.event_batches.FETCH_WAIT_S", 0.5)
    monkeypatch.setattr("tieline.chassis.event_batches.FETCH_HEARTBEAT_S", 0.2)

    async def handle(events: Sequence[StringValue]) -> None:
        """Take them."""

    async with consuming_batches(messaging_broker, DURABLE, StringValue, handle):
        lag = consumer_lag._gauges._subjects["messaging", "MESSAGING"]
        lag.note_delivery(7, 0.0)
        await eventually(lambda: (lag.pending, lag.delay_s) == (0, 0))
