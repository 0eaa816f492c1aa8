"""Signing keys that change: published before they sign, until their last token is over."""

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator

import pytest
from google.protobuf.json_format import MessageToDict
from joserfc import jwt
from joserfc.jwk import KeySet

from engines import Database
from integration.identity.world import (
    TIMEOUT_S,
    FakeDirectory,
    Identity,
    fast_settings,
    running_identity,
)
from tieline.api.identity.v1 import signing_key_service_pb2
from tieline.chassis.authentication import TOKEN_ALGORITHMS
from tieline.chassis.health import Health
from tieline.chassis.postgres import Pool, create_pool
from tieline.embedded.nats import EmbeddedNats
from tieline.identity.signing_keys.rotation import SigningKeys
from tieline.identity.signing_keys.rules import PUBLISH_AHEAD

SEAL_KEY = b"k" * 32
DAY = dt.timedelta(days=1)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 2, 24, 9, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
async def pool(empty_database: Database) -> AsyncIterator[Pool]:
    """A pool on a database without any key."""
    dsn = empty_database.dsn("identity")
    async with create_pool(dsn, service="identity", max_size=8, health=Health()) as pool:
        yield pool


@pytest.fixture
async def own_identity(
    empty_database: Database, identity_nats: EmbeddedNats
) -> AsyncIterator[Identity]:
    """An identity whose keys the test may withdraw."""
    settings = fast_settings(empty_database, identity_nats)
    async with running_identity(
        settings, empty_database, identity_nats, FakeDirectory()
    ) as running:
        yield running


async def test_replicas_change_keys_together_and_forget_the_old_one(pool: Pool) -> None:
    clock = Clock()
    replicas = [SigningKeys(pool, SEAL_KEY, lifetime=30 * DAY, clock=clock) for _ in range(3)]

    async def refresh() -> list[list[str]]:
        await asyncio.gather(*(replica.refresh() for replica in replicas))
        return [[key.key_id for key in replica.keys] for replica in replicas]

    [[first], *_] = await refresh()
    clock.now += 30 * DAY - PUBLISH_AHEAD
    published = await refresh()
    second = published[0][1]
    signing_before = [replica.find_key(clock.now)[0] for replica in replicas]
    clock.now += PUBLISH_AHEAD
    signing_after = [replica.find_key(clock.now)[0] for replica in replicas]
    clock.now += dt.timedelta(hours=2)
    still_published = await refresh()
    clock.now += PUBLISH_AHEAD

    assert published == [[first, second]] * 3
    assert (signing_before, signing_after) == ([first] * 3, [second] * 3)
    assert still_published == [[first, second]] * 3
    assert await refresh() == [[second]] * 3


async def rotate(
    identity: Identity, *, request_id: str = "", withdraw: bool = False
) -> signing_key_service_pb2.RotateSigningKeyResponse:
    return await identity.signing_keys.RotateSigningKey(
        signing_key_service_pb2.RotateSigningKeyRequest(
            request_id=request_id or str(uuid.uuid4()), withdraw=withdraw
        ),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )


async def get_jwks(identity: Identity) -> signing_key_service_pb2.GetJwksResponse:
    return await identity.signing_keys.GetJwks(
        signing_key_service_pb2.GetJwksRequest(), timeout=TIMEOUT_S
    )


async def test_the_published_set_verifies_a_token_by_the_standard(own_identity: Identity) -> None:
    corp = await own_identity.new_corp()

    document = MessageToDict(await get_jwks(own_identity))

    keys = KeySet.import_key_set(document)  # type: ignore[arg-type]
    token = jwt.decode(corp.owner_session.access_token, keys, registry=TOKEN_ALGORITHMS)
    assert token.claims["sub"] == "boss"


async def test_a_rotated_key_is_published_at_once_and_made_once(own_identity: Identity) -> None:
    request_id = str(uuid.uuid4())
    [before] = (await get_jwks(own_identity)).keys

    rotated = await rotate(own_identity, request_id=request_id)
    repeated = await rotate(own_identity, request_id=request_id)
    again = await rotate(own_identity)

    assert rotated == repeated == again
    assert [key.kid for key in (await get_jwks(own_identity)).keys] == [before.kid, rotated.key_id]
    corp = await own_identity.new_corp()
    await own_identity.get_corp(corp.owner)


async def test_a_withdrawn_key_signs_no_more_and_sessions_go_on(own_identity: Identity) -> None:
    corp = await own_identity.new_corp()

    rotated = await rotate(own_identity, withdraw=True)

    assert [key.kid for key in (await get_jwks(own_identity)).keys] == [rotated.key_id]
    refreshed = await own_identity.refresh(corp.owner_session.refresh_token)
    token = jwt.decode(
        refreshed.access_token,
        KeySet.import_key_set(MessageToDict(await get_jwks(own_identity))),  # type: ignore[arg-type]
        registry=TOKEN_ALGORITHMS,
    )
    assert token.header["kid"] == rotated.key_id
