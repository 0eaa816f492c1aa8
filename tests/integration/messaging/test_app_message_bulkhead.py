"""What apps send to many takes no connection from what people ask for."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from engines import Database, build_settings
from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import Corp
from tieline.api.messaging.v1 import messaging_service_pb2_grpc
from tieline.chassis.postgres import Pool, transaction
from tieline.embedded.nats import EmbeddedNats
from tieline.messaging.app import role

# Well below the 10 s after which who waits for a lock or a connection gives up.
ANSWERED_S = 5

# Two replicas of the other tests on the same database, and the one of this.
REPLICAS = 3


@pytest.fixture
async def narrow_replica(
    messaging_database: Database, messaging_nats: EmbeddedNats, replica_targets: list[str]
) -> AsyncIterator[grpc.aio.Channel]:
    """A replica with one connection for all that people ask for."""
    settings = build_settings("messaging", messaging_database, messaging_nats)
    settings = settings.model_copy(update={"database_pool_max_size": 1})
    async with (
        role(settings),  # type: ignore[arg-type]
        grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        yield channel


async def test_jobs_that_wait_for_the_database_hold_up_nobody_who_asks(
    narrow_replica: grpc.aio.Channel, tokens: TestTokens, pool: Pool
) -> None:
    li_wei = Corp([messaging_service_pb2_grpc.MessagingServiceStub(narrow_replica)], tokens).member(
        "li.wei"
    )
    group = await li_wei.create_group("zhang.san")

    async with transaction(pool) as connection:
        await connection.execute("LOCK TABLE messaging.app_message_jobs")

        async def all_wait() -> bool:
            waiting = await connection.fetchval(
                "SELECT count(*) FROM pg_locks"
                " WHERE relation = 'messaging.app_message_jobs'::regclass AND NOT granted"
            )
            return bool(waiting >= REPLICAS)

        await eventually(all_wait)
        async with asyncio.timeout(ANSWERED_S):
            found = await li_wei.get(group)

    assert found.conversation_id == group
