"""PostgreSQL and NATS are killed under a running service, and come back."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from engines import Engine
from fakes.eventually import eventually
from tieline.chassis.broker import Broker, connect_admin, connect_broker
from tieline.chassis.errors import UnavailableError
from tieline.chassis.events import ReceivedEvent, consuming
from tieline.chassis.health import Health
from tieline.chassis.migrations import migrate
from tieline.chassis.outbox import OutboxRelay, build_event, insert_events
from tieline.chassis.postgres import Connection, Pool, create_pool, transaction
from tieline.chassis.process import StartError
from tieline.chassis.requests import ask
from tieline.chassis.streams import declare, durables_of
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

SUBJECT = "tieline.identity.v1.corp_created"
# The directory's place in identity's stream, of which one event is enough here.
(_PLACE,) = (durable for durable in durables_of("directory") if durable.stream == "IDENTITY")
DURABLE = replace(_PLACE, subjects=(SUBJECT,))


@pytest.fixture
def mortal_postgres(tmp_path: Path) -> Iterator[Engine]:
    server = EmbeddedPostgres(
        tmp_path / "postgres", find_free_port(), superuser_password="only-for-tests"
    )
    engine = Engine(server)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def mortal_nats(tmp_path: Path) -> Iterator[Engine]:
    server = EmbeddedNats(tmp_path / "nats", find_free_port(), [User("admin", "only-for-tests")])
    engine = Engine(server)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
async def mortal_pool(mortal_postgres: Engine, health: Health) -> AsyncIterator[Pool]:
    dsn = mortal_postgres.server.dsn()  # type: ignore[union-attr]  # it is PostgreSQL
    await migrate(dsn, ["identity", "directory"])
    async with create_pool(dsn, service="identity", max_size=4, health=health) as pool:
        yield pool


@pytest.fixture
async def mortal_broker(mortal_nats: Engine, health: Health) -> AsyncIterator[Broker]:
    url = mortal_nats.server.url("admin")  # type: ignore[union-attr]  # it is NATS
    await declare(url)
    async with connect_broker(url, name="identity", health=health) as broker:
        yield broker


async def insert(pool: Pool, value: str) -> None:
    async with transaction(pool) as connection:
        event = build_event(SUBJECT, "corp", "key", StringValue(value=value))
        await insert_events(connection, "identity", [event])


async def _is_inserted(pool: Pool, value: str) -> bool:
    try:
        await insert(pool, value)
    except UnavailableError:
        return False
    return True


class Seen:
    """A handler that remembers what it handled."""

    def __init__(self) -> None:
        self.values: list[str] = []

    async def __call__(self, connection: Connection, event: ReceivedEvent) -> None:
        self.values.append(event.decode(StringValue).value)


async def test_killed_database_is_unavailable_and_comes_back_by_itself(
    mortal_postgres: Engine, mortal_pool: Pool, health: Health
) -> None:
    mortal_postgres.kill()

    with pytest.raises(UnavailableError):
        await insert(mortal_pool, "on a dead connection")
    with pytest.raises(UnavailableError) as raised:
        await insert(mortal_pool, "on a new connection")
    assert (raised.value.reason, raised.value.retry_after_s) == ("DATABASE_UNAVAILABLE", 1.0)
    assert not health.is_ready

    mortal_postgres.start()
    await eventually(lambda: health.is_ready)
    await insert(mortal_pool, "kept")
    async with mortal_pool.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM identity.outbox") == 1


async def test_killed_database_is_noticed_without_a_request(
    mortal_postgres: Engine, mortal_pool: Pool, health: Health
) -> None:
    mortal_postgres.kill()

    await eventually(lambda: not health.is_ready)


async def test_events_flow_on_after_the_database_was_killed(
    mortal_postgres: Engine, mortal_pool: Pool, mortal_broker: Broker
) -> None:
    seen = Seen()
    async with (
        OutboxRelay(mortal_pool, mortal_broker, "identity"),
        consuming(mortal_broker, mortal_pool, "directory", DURABLE, {SUBJECT: seen}),
    ):
        await insert(mortal_pool, "before")
        await eventually(lambda: "before" in seen.values)

        mortal_postgres.kill()
        mortal_postgres.start()
        # A connection of before the kill may fail one more time; its caller sends it again.
        await eventually(lambda: _is_inserted(mortal_pool, "after"))
        await eventually(lambda: "after" in seen.values)

    assert seen.values == ["before", "after"]


async def test_events_committed_while_nats_is_away_arrive_in_order_when_it_is_back(
    mortal_nats: Engine, mortal_pool: Pool, mortal_broker: Broker, health: Health
) -> None:
    seen = Seen()
    async with (
        OutboxRelay(mortal_pool, mortal_broker, "identity"),
        consuming(mortal_broker, mortal_pool, "directory", DURABLE, {SUBJECT: seen}),
    ):
        await insert(mortal_pool, "before")
        await eventually(lambda: "before" in seen.values)

        mortal_nats.kill()
        await eventually(lambda: not health.is_ready)
        for number in range(20):
            await insert(mortal_pool, f"{number}")
        mortal_nats.start()
        await eventually(lambda: len(seen.values) == 21, timeout_s=30)

    assert seen.values == ["before", *(f"{number}" for number in range(20))]
    assert health.is_ready


async def test_ack_that_nats_did_not_get_holds_up_those_behind_it_for_seconds(
    mortal_nats: Engine, mortal_pool: Pool, mortal_broker: Broker
) -> None:
    seen: list[str] = []
    sent_before_ack = 0

    async def freeze_nats(_: Connection, event: ReceivedEvent) -> None:
        nonlocal sent_before_ack
        seen.append(event.decode(StringValue).value)
        if len(seen) == 1:
            mortal_nats.freeze()
            sent_before_ack = mortal_broker.stats["out_msgs"]

    def is_acked() -> bool:
        # What follows an ack is the request for the next event.
        sent = mortal_broker.stats["out_msgs"] - sent_before_ack
        return bool(seen) and sent >= 2 and mortal_broker.pending_data_size == 0

    async with (
        OutboxRelay(mortal_pool, mortal_broker, "identity"),
        consuming(mortal_broker, mortal_pool, "directory", DURABLE, {SUBJECT: freeze_nats}),
    ):
        await insert(mortal_pool, "acked into the void")
        await eventually(is_acked)
        mortal_nats.kill()
        mortal_nats.start()
        await insert(mortal_pool, "behind")
        await eventually(lambda: "behind" in seen, timeout_s=15)

    assert seen == ["acked into the void", "behind"]


async def test_question_while_nats_is_away_fails_at_once(
    mortal_nats: Engine, mortal_broker: Broker, health: Health
) -> None:
    mortal_nats.kill()
    await eventually(lambda: not health.is_ready)

    with pytest.raises(UnavailableError) as raised:
        await ask(mortal_broker, "directory", "x", StringValue(), StringValue, timeout_s=60)

    assert (raised.value.reason, raised.value.retry_after_s) == ("BROKER_UNAVAILABLE", 1.0)


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        pytest.param("postgresql://u:secret@127.0.0.1:1/tieline", "127.0.0.1:1", id="away"),
        pytest.param("postgresql://u:secret@127.0.0.1:x/tieline", "malformed", id="malformed"),
    ],
)
async def test_start_without_the_database_names_the_setting_and_no_password(
    dsn: str, says: str, health: Health
) -> None:
    with pytest.raises(StartError) as raised:
        async with create_pool(dsn, service="identity", max_size=1, health=health):
            pass

    assert "TIELINE_DATABASE_DSN" in raised.value.text
    assert says in raised.value.text
    assert "secret" not in raised.value.text
    assert "\n" not in raised.value.text


async def test_start_without_nats_names_the_setting_and_no_password(
    health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tieline.chassis.broker._START_TIMEOUT_S", 0.5)
    with pytest.raises(StartError) as raised:
        async with connect_broker("nats://u:secret@127.0.0.1:1", name="identity", health=health):
            pass

    assert "TIELINE_NATS_URL" in raised.value.text
    assert "127.0.0.1:1" in raised.value.text
    assert "secret" not in raised.value.text


async def test_admin_connection_without_nats_is_one_line() -> None:
    with pytest.raises(StartError, match=r"^can't connect to NATS at 127\.0\.0\.1:1: [^\n]*$"):
        async with connect_admin("nats://u:secret@127.0.0.1:1"):
            pass
