"""Every replica hears of every revocation: from the start, as it happens, and after an outage."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engines import Engine, build_nats
from fakes.eventually import eventually
from tieline.api.common.v1 import principal_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis import streams
from tieline.chassis.broker import Broker, connect_admin, connect_broker
from tieline.chassis.health import Health
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.process import StartError
from tieline.chassis.revocation_list import RevocationList
from tieline.chassis.revocations import following_revocations, read_revocation
from tieline.embedded.nats import EmbeddedNats

# What is promised, while NATS is there.
LIMIT_S = 2.0


def event(session_id: str, *, age_s: float = 0) -> identity_pb2.TokensRevoked:
    revoked = identity_pb2.TokensRevoked(corp_id="wwacme", session_id=session_id)
    revoked.issue_time_limit.FromNanoseconds(int((time.time() - age_s) * 1e9))
    return revoked


def session(session_id: str) -> Principal:
    now = time.time()
    return Principal(PrincipalKind.MEMBER, "li.wei", "wwacme", session_id, issue_time=now - 60)


async def publish(broker: Broker, revoked: identity_pb2.TokensRevoked) -> None:
    await broker.jetstream().publish(streams.TOKENS_REVOKED, revoked.SerializeToString())


@asynccontextmanager
async def replica(server: EmbeddedNats, service: str) -> AsyncIterator[RevocationList]:
    revocations = RevocationList()
    async with (
        connect_broker(server.url(service), name=service, health=Health()) as broker,
        following_revocations(broker, revocations),
    ):
        yield revocations


async def test_every_replica_knows_a_revocation_within_two_seconds(
    declared_nats: EmbeddedNats, identity_broker: Broker
) -> None:
    first, second = session("s1"), session("s2")
    async with (
        replica(declared_nats, "directory") as one,
        replica(declared_nats, "directory") as other,
        replica(declared_nats, "payments") as third,
    ):
        # The mirror's first event finds it being made; the limit is about the next one.
        await publish(identity_broker, event("s1"))
        await eventually(lambda: all(each.is_revoked(first) for each in (one, other, third)))

        await publish(identity_broker, event("s2"))

        await eventually(
            lambda: all(each.is_revoked(second) for each in (one, other, third)),
            timeout_s=LIMIT_S,
        )
        assert not one.is_revoked(session("s3"))


async def test_replica_that_starts_later_knows_what_was_revoked_before(
    declared_nats: EmbeddedNats, identity_broker: Broker
) -> None:
    async with replica(declared_nats, "messaging") as earlier:
        for number in range(1200):
            await publish(identity_broker, event(f"s{number}"))
        await publish(identity_broker, event("too old", age_s=3 * 3600))
        await eventually(lambda: len(earlier) == 1200)

    async with replica(declared_nats, "contacts") as later:
        assert later.is_revoked(session("s0"))
        assert later.is_revoked(session("s1199"))
        assert len(later) == 1200


async def test_what_was_revoked_around_an_outage_of_nats_is_known_after_it(tmp_path: Path) -> None:
    server = build_nats(tmp_path / "nats")
    engine = Engine(server)
    engine.start()
    await streams.declare(server.url("admin"))
    try:
        async with (
            replica(server, "directory") as revocations,
            connect_broker(server.url("identity"), name="identity", health=Health()) as broker,
        ):
            await publish(broker, event("before"))
            await eventually(lambda: revocations.is_revoked(session("before")))
            engine.kill()
            await eventually(lambda: not broker.is_connected)
            assert revocations.is_revoked(session("before"))
            engine.start()
            await eventually(lambda: broker.is_connected)

            await publish(broker, event("after"))

            await eventually(lambda: revocations.is_revoked(session("after")))
            assert revocations.is_revoked(session("before"))
    finally:
        engine.stop()


async def test_consumer_that_the_server_forgot_is_made_anew(
    declared_nats: EmbeddedNats, identity_broker: Broker
) -> None:
    async with (
        replica(declared_nats, "directory") as revocations,
        connect_admin(declared_nats.url("admin")) as admin,
    ):
        [consumer] = await admin.jetstream().consumers_info(streams.REVOCATIONS_STREAM)
        await admin.jetstream().delete_consumer(streams.REVOCATIONS_STREAM, consumer.name)

        await publish(identity_broker, event("s1"))

        await eventually(lambda: revocations.is_revoked(session("s1")))


async def test_start_without_the_stream_says_what_to_do(tmp_path: Path) -> None:
    server = build_nats(tmp_path / "nats")
    with server.running(), pytest.raises(StartError) as caught:
        async with replica(server, "directory"):
            pass

    assert "tieline migrate" in caught.value.text


async def test_event_that_can_not_be_read_stops_nothing(
    declared_nats: EmbeddedNats, identity_broker: Broker
) -> None:
    async with replica(declared_nats, "directory") as revocations:
        await identity_broker.jetstream().publish(streams.TOKENS_REVOKED, secrets.token_bytes(40))
        await publish(identity_broker, identity_pb2.TokensRevoked())
        await publish(identity_broker, event("s1"))

        await eventually(lambda: revocations.is_revoked(session("s1")))

    assert len(revocations) == 1


def test_an_event_that_names_nobody_voids_nothing() -> None:
    everybody = identity_pb2.TokensRevoked()
    unknown_kind = identity_pb2.TokensRevoked(
        corp_id="wwacme", principal=principal_pb2.PrincipalRef(id="li.wei")
    )

    assert read_revocation(everybody.SerializeToString()) is None
    assert read_revocation(unknown_kind.SerializeToString()) is None
    assert read_revocation(b"\xff") is None
