"""The declared streams, and what each service's user may and may not do on a real server."""

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js.api import ConsumerConfig, StreamConfig

from fakes.broker_users import connected
from fakes.eventually import eventually
from tieline.chassis import streams
from tieline.chassis.broker import connect_admin
from tieline.chassis.process import StartError
from tieline.chassis.revocation_list import RevocationList
from tieline.chassis.revocations import following_revocations
from tieline.embedded.nats import EmbeddedNats


async def test_declaring_again_changes_nothing(declared_nats: EmbeddedNats) -> None:
    async with connect_admin(declared_nats.url("admin")) as admin:
        before = await _describe(admin)
        await streams.declare(declared_nats.url("admin"))
        after = await _describe(admin)

    assert before == after
    assert {name for name, *_ in before} == {
        "IDENTITY",
        "DIRECTORY",
        "MESSAGING",
        "CONTACTS",
        "PAYMENTS",
        "REVOCATIONS",
    }


async def test_every_durable_reads_only_subjects_of_its_stream() -> None:
    for durable in streams.DURABLES:
        owner = durable.stream.lower()
        assert owner in streams.SERVICES
        assert durable.service in streams.SERVICES
        assert all(subject.startswith(f"tieline.{owner}.v1.") for subject in durable.subjects)


@pytest.mark.parametrize("service", streams.SERVICES)
async def test_service_may_do_its_work(declared_nats: EmbeddedNats, service: str) -> None:
    async with connected(declared_nats, service) as (client, errors):
        await client.jetstream().publish(f"tieline.{service}.v1.something", b"x")
        await client.subscribe(f"requests.{service}.v1.ask", queue=service)
        await client.subscribe("$SRV.PING")
        await client.subscribe(f"$SRV.INFO.{service}.some-id")
        await client.subscribe(f"wake.{service}")
        await client.publish(f"wake.{service}")
        await client.publish(streams.load_subject(service, "replica-1"))
        await client.subscribe(streams.surge_subject(service))
        for durable in streams.durables_of(service):
            subscription = await client.jetstream().pull_subscribe_bind(
                consumer=service, stream=durable.stream
            )
            with pytest.raises(TimeoutError):
                await subscription.fetch(1, timeout=0.1)
        async with following_revocations(client, RevocationList()):
            pass
        with pytest.raises(NoRespondersError):
            await client.request("requests.identity.v1.nobody_answers_this", timeout=5)
        await client.flush()

    assert errors == []


@pytest.mark.parametrize(
    "subject",
    [
        "tieline.payments.v1.paid",
        "requests.directory.v2.ask",
        "live.corp.conversation",
        "wake.payments",
        "_INBOX.payments.guessed",
        "$JS.API.STREAM.DELETE.IDENTITY",
        "$JS.API.STREAM.PURGE.IDENTITY",
        "$JS.API.STREAM.MSG.GET.CONTACTS",
        "$JS.API.CONSUMER.MSG.NEXT.CONTACTS.messaging",
        "$JS.API.CONSUMER.CREATE.CONTACTS.mine",
        "$JS.API.CONSUMER.CREATE.IDENTITY.directory.tieline.identity.v1.tokens_revoked",
        "$JS.API.CONSUMER.DELETE.REVOCATIONS.another-replicas",
        "$JS.API.STREAM.CREATE.MINE",
        "load.payments.replica-1",
        "load.edge.replica-1",
        "surge.identity",
        "$JS.ACK.CONTACTS.messaging.1.1.1.1.1",
    ],
)
async def test_service_may_not_publish_what_is_not_its_own(
    declared_nats: EmbeddedNats, subject: str
) -> None:
    async with connected(declared_nats, "identity") as (client, errors):
        await client.publish(subject, b"{}")

        await eventually(lambda: errors)

    assert "permissions violation" in errors[0].lower()


@pytest.mark.parametrize(
    "subject",
    [
        "tieline.>",
        "requests.payments.v1.ask",
        "live.>",
        "wake.payments",
        "load.identity.*",
        "surge.payments",
        "_INBOX.>",
        "_INBOX.payments.>",
        ">",
    ],
)
async def test_service_may_not_listen_to_what_is_not_its_own(
    declared_nats: EmbeddedNats, subject: str
) -> None:
    async with connected(declared_nats, "identity") as (client, errors):
        await client.subscribe(subject)

        await eventually(lambda: errors)

    assert "permissions violation" in errors[0].lower()


async def test_the_operator_hears_replicas_and_edge_and_tells_the_services(
    declared_nats: EmbeddedNats,
) -> None:
    async with (
        connected(declared_nats, streams.OPERATOR) as (operator, operator_errors),
        connected(declared_nats, streams.EDGE) as (edge, edge_errors),
        connected(declared_nats, "payments") as (payments, payments_errors),
    ):
        reports = await operator.subscribe(streams.LOAD_REPORTS)
        states = await payments.subscribe(streams.surge_subject("payments"))
        await operator.flush()
        await payments.flush()

        await edge.publish(streams.load_subject(streams.EDGE, "edge-1"), b"edge's")
        assert (await reports.next_msg(timeout=5)).data == b"edge's"
        await payments.publish(streams.load_subject("payments", "replica-1"), b"replica's")
        assert (await reports.next_msg(timeout=5)).subject == "load.payments.replica-1"
        await operator.publish(streams.surge_subject("payments"), b"state")
        assert (await states.next_msg(timeout=5)).data == b"state"

    assert operator_errors + edge_errors + payments_errors == []


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        (streams.OPERATOR, "load.payments.replica-1"),
        (streams.OPERATOR, "tieline.payments.v1.paid"),
        (streams.OPERATOR, "requests.payments.v1.ask"),
        (streams.OPERATOR, "$JS.API.STREAM.DELETE.IDENTITY"),
        (streams.EDGE, "load.payments.replica-1"),
        (streams.EDGE, "surge.payments"),
        (streams.EDGE, "requests.payments.v1.ask"),
    ],
)
async def test_operator_and_edge_may_publish_nothing_else(
    declared_nats: EmbeddedNats, user: str, subject: str
) -> None:
    async with connected(declared_nats, user) as (client, errors):
        await client.publish(subject, b"x")

        await eventually(lambda: errors)

    assert "permissions violation" in errors[0].lower()


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        (streams.OPERATOR, "tieline.>"),
        (streams.OPERATOR, "_INBOX.payments.>"),
        (streams.EDGE, "load.*.*"),
        (streams.EDGE, ">"),
    ],
)
async def test_operator_and_edge_may_hear_nothing_else(
    declared_nats: EmbeddedNats, user: str, subject: str
) -> None:
    async with connected(declared_nats, user) as (client, errors):
        await client.subscribe(subject)

        await eventually(lambda: errors)

    assert "permissions violation" in errors[0].lower()


async def test_messaging_alone_delivers_live(declared_nats: EmbeddedNats) -> None:
    async with connected(declared_nats, "messaging") as (client, errors):
        subscription = await client.subscribe("live.corp.conversation")
        await client.publish("live.corp.conversation", b"x")

        message = await subscription.next_msg(timeout=5)

    assert message.data == b"x"
    assert errors == []


async def test_wrong_password_and_server_away_are_one_line_without_the_password(
    declared_nats: EmbeddedNats,
) -> None:
    for url in (
        f"nats://admin:wrong-password@127.0.0.1:{declared_nats.port}",
        "nats://admin:wrong-password@127.0.0.1:1",
    ):
        with pytest.raises(StartError) as raised:
            await streams.declare(url)

        assert "127.0.0.1" in raised.value.text
        assert "wrong-password" not in raised.value.text
        assert "\n" not in raised.value.text


async def _describe(admin: Client) -> list[tuple[str, StreamConfig, list[ConsumerConfig]]]:
    jetstream = admin.jetstream()
    described = []
    for info in await jetstream.streams_info():
        assert info.config.name is not None
        consumers = await jetstream.consumers_info(info.config.name)
        described.append(
            (info.config.name, info.config, [consumer.config for consumer in consumers])
        )
    return described
