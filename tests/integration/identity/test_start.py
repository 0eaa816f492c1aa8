"""Starting on a new database, starting again, and what is purged."""

import asyncio
import datetime as dt
from contextlib import AsyncExitStack

import grpc
import pytest
from pydantic import SecretStr

from engines import Database
from fakes.eventually import eventually
from integration.identity.world import (
    FakeDirectory,
    Identity,
    bearer,
    corp_request,
    fast_settings,
    refusal,
    running_identity,
)
from tieline.chassis.health import Health
from tieline.chassis.postgres import create_pool
from tieline.chassis.process import StartError
from tieline.embedded.nats import EmbeddedNats
from tieline.identity.app import role
from tieline.identity.purge import purge
from tieline.identity.signing_keys.rotation import SigningKeys

SEAL_KEY = b"k" * 32


async def test_replicas_that_start_at_once_sign_with_one_key(
    empty_database: Database, identity_nats: EmbeddedNats
) -> None:
    async with create_pool(
        empty_database.dsn("identity"), service="identity", max_size=8, health=Health()
    ) as pool:
        replicas = [SigningKeys(pool, SEAL_KEY, lifetime=dt.timedelta(days=30)) for _ in range(8)]
        await asyncio.gather(*(replica.refresh() for replica in replicas))

    keys = [replica.find_key(dt.datetime.now(dt.UTC)) for replica in replicas]
    assert len({key_id for key_id, _ in keys}) == 1
    assert len({key.thumbprint() for _, key in keys}) == 1


async def test_a_replica_accepts_the_tokens_and_refresh_tokens_of_another(
    empty_database: Database, identity_nats: EmbeddedNats
) -> None:
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(
                running_identity(
                    fast_settings(empty_database, identity_nats),
                    empty_database,
                    identity_nats,
                    FakeDirectory(),
                )
            )
            for _ in range(2)
        ]
        corp = await one.new_corp()

        refreshed = await other.refresh(corp.owner_session.refresh_token)
        repeated = await one.refresh(corp.owner_session.refresh_token)

        assert (await other.get_corp(corp.owner)).corp.corp_id == corp.corp_id
        assert (await one.get_corp(bearer(refreshed))).corp.corp_id == corp.corp_id
        assert repeated.refresh_token == refreshed.refresh_token


async def test_everything_is_found_again_after_a_restart(
    empty_database: Database, identity_nats: EmbeddedNats
) -> None:
    settings = fast_settings(empty_database, identity_nats)
    async with running_identity(settings, empty_database, identity_nats, FakeDirectory()) as before:
        corp = await before.new_corp()
    # Another password in the settings changes nothing: `running_identity` signs in by the first.
    changed = settings.model_copy(
        update={"platform_administrator_password": SecretStr("another password")}
    )

    async with running_identity(changed, empty_database, identity_nats, FakeDirectory()) as after:
        assert (await after.get_corp(corp.owner)).corp.corp_id == corp.corp_id
        await after.sign_in(corp.corp_id)
        await after.refresh(corp.owner_session.refresh_token)


async def test_without_a_platform_password_there_is_no_platform_administrator(
    empty_database: Database, identity_nats: EmbeddedNats
) -> None:
    settings = fast_settings(empty_database, identity_nats).model_copy(
        update={"platform_administrator_password": None}
    )
    target = f"127.0.0.1:{settings.grpc_port}"
    async with role(settings), grpc.aio.insecure_channel(target) as channel:
        identity = Identity.build(channel, settings, empty_database, identity_nats, FakeDirectory())
        error = await refusal(identity.sign_in_platform())

    assert error.reason == "CREDENTIALS_REJECTED"


async def test_another_secret_key_stops_the_start_and_is_named(
    empty_database: Database, identity_nats: EmbeddedNats
) -> None:
    settings = fast_settings(empty_database, identity_nats)
    async with role(settings):
        pass
    other = settings.model_copy(update={"secret_key": SecretStr("o" * 40)})

    with pytest.raises(StartError) as caught:
        async with role(other):
            pass

    assert "TIELINE_SECRET_KEY" in caught.value.text
    assert "\n" not in caught.value.text
    assert "o" * 40 not in caught.value.text


async def test_the_purge_deletes_what_is_over_and_nothing_else(identity: Identity) -> None:
    await identity.execute(
        """
        INSERT INTO identity.used_assertions (channel_id, jti, expire_time)
        SELECT 'purged', i::text, now() - interval '11 minutes' FROM generate_series(1, 6000) AS i
        UNION ALL SELECT 'kept', 'clock differs', now() - interval '9 minutes'
        """
    )
    over, kept = await identity.new_corp(), await identity.new_corp()
    await identity.execute(
        "UPDATE identity.sessions SET expire_time = now() - interval '1 second' WHERE corp_id = $1",
        over.corp_id,
    )

    async with create_pool(
        identity.database.dsn("identity"), service="identity", max_size=2, health=Health()
    ) as pool:
        await asyncio.gather(purge(pool), purge(pool))

    rows = await identity.execute(
        "SELECT channel_id FROM identity.used_assertions WHERE channel_id IN ('purged', 'kept')"
    )
    assert [row["channel_id"] for row in rows] == ["kept"]
    sessions = await identity.execute(
        "SELECT corp_id FROM identity.sessions WHERE corp_id = ANY($1::text[])",
        [over.corp_id, kept.corp_id],
    )
    assert [row["corp_id"] for row in sessions] == [kept.corp_id]
    assert (await refusal(identity.refresh(over.owner_session.refresh_token))).reason == (
        "SESSION_ENDED"
    )


async def test_a_request_is_carried_out_once_although_the_database_dropped_every_connection(
    empty_database: Database, identity_nats: EmbeddedNats
) -> None:
    settings = fast_settings(empty_database, identity_nats)
    async with running_identity(
        settings, empty_database, identity_nats, FakeDirectory()
    ) as identity:
        request = corp_request()
        first = await identity.create_corp(request)
        await identity.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'tieline_identity' AND datname = current_database()"
        )

        async def repeat_is_answered() -> bool:
            try:
                return await identity.create_corp(request) == first
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return False

        await eventually(repeat_is_answered)
        assert len(await identity.execute("SELECT 1 FROM identity.corps")) == 1
