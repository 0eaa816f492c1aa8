"""The table of streams and durable consumers, and what each service may do on NATS.

Declared by ``tieline migrate`` from this one table, not by whichever service starts first. The
permissions go into the NATS server's configuration, one user per service: a service publishes its
own events and answers its own requests, and can neither read nor forge another's.
"""

from dataclasses import dataclass

from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamSource,
)
from nats.js.errors import NotFoundError as StreamNotFoundError

from tieline.chassis.broker import connect_admin
from tieline.chassis.broker_tls import NO_FILES, BrokerTls
from tieline.chassis.revocation_list import MAX_TOKEN_LIFETIME_S

SERVICES = ("identity", "directory", "messaging", "contacts", "payments")

OPERATOR = "operator"
"""The surge operator's NATS user: reads load reports, publishes what it does about them."""

EDGE = "edge"
"""The edge's NATS user: publishes load reports of its own."""

NATS_USERS = (*SERVICES, OPERATOR, EDGE)
"""All users that have permissions here."""

LOAD_REPORTS = "load.*.*"
"""Subjects of all load reports, ``load.<service>.<replica>``; the edge's are ``load.edge.…``."""

_DAY_S = 24 * 60 * 60

MAX_AGE_S = 7 * _DAY_S
"""How long a consumer may be away and miss nothing."""

# A relay that could not learn whether the stream has an event sends it again within seconds; ten
# minutes cover an outage, and cost the server about 100 bytes per event.
_DUPLICATE_WINDOW_S = 10 * 60

# An event's payload is 512 KiB at most; headers take the rest.
_MAX_MESSAGE_BYTES = 1024 * 1024

ACK_WAIT_S = 5
"""How long an event may be in hand without a sign of life before it is delivered again.

What a killed replica had in hand holds up the events behind it for so long.
"""

TOKENS_REVOKED = "tieline.identity.v1.tokens_revoked"
"""Subject of the one event that every replica of every service follows (``revocations.py``)."""

REVOCATIONS_STREAM = "REVOCATIONS"
"""A mirror of identity's stream with those events alone."""

# What is older concerns no token that is still good; five minutes more cover clocks and outages.
_REVOCATIONS_AGE_S = MAX_TOKEN_LIFETIME_S + 5 * 60


@dataclass(frozen=True, slots=True)
class Durable:
    """One service's place in another service's stream, or in its own."""

    service: str
    """The consuming service; also the durable's name."""

    stream: str
    subjects: tuple[str, ...]
    max_in_hand: int = 1
    """Events that may be in hand at a time, whatever the number of replicas. With one, nothing
    overtakes an event that waits for its next attempt."""


DURABLES = (
    # What every service writes down of acts, for the audit log.
    Durable("identity", "IDENTITY", ("tieline.identity.v1.audit_recorded",)),
    Durable(
        "identity",
        "DIRECTORY",
        (
            "tieline.directory.v1.audit_recorded",
            "tieline.directory.v1.member_disabled",
            "tieline.directory.v1.member_enabled",
            "tieline.directory.v1.member_left",
        ),
    ),
    Durable("identity", "MESSAGING", ("tieline.messaging.v1.audit_recorded",)),
    Durable("identity", "CONTACTS", ("tieline.contacts.v1.audit_recorded",)),
    Durable("identity", "PAYMENTS", ("tieline.payments.v1.audit_recorded",)),
    Durable(
        "directory",
        "IDENTITY",
        (
            "tieline.identity.v1.app_changed",
            "tieline.identity.v1.app_deleted",
            "tieline.identity.v1.corp_created",
            "tieline.identity.v1.corp_deleted",
            "tieline.identity.v1.corp_deletion_requested",
            "tieline.identity.v1.corp_link_changed",
            "tieline.identity.v1.corp_resumed",
            "tieline.identity.v1.corp_suspended",
            "tieline.identity.v1.corp_updated",
            "tieline.identity.v1.member_activated",
        ),
    ),
    Durable(
        "messaging",
        "CONTACTS",
        (
            "tieline.contacts.v1.contact_added",
            "tieline.contacts.v1.customer_group_created",
            "tieline.contacts.v1.customer_joined_group",
            "tieline.contacts.v1.customer_left_group",
        ),
    ),
    Durable(
        "messaging",
        "DIRECTORY",
        ("tieline.directory.v1.member_disabled", "tieline.directory.v1.member_left"),
    ),
    Durable(
        "messaging",
        "IDENTITY",
        (
            "tieline.identity.v1.corp_deleted",
            "tieline.identity.v1.corp_resumed",
            "tieline.identity.v1.corp_suspended",
            "tieline.identity.v1.corp_updated",
            TOKENS_REVOKED,
        ),
    ),
    Durable("contacts", "IDENTITY", ("tieline.identity.v1.corp_deleted",)),
    Durable("payments", "IDENTITY", ("tieline.identity.v1.corp_deleted",)),
    # For offline push, which takes many at a time in any order (``event_batches.py``).
    Durable("messaging", "MESSAGING", ("tieline.messaging.v1.messages_sent",), max_in_hand=1000),
)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a NATS user may publish to and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def stream_of(service: str) -> str:
    """Return the name of the stream that holds the service's events."""
    return service.upper()


def durables_of(service: str) -> tuple[Durable, ...]:
    """Return the service's places in streams."""
    return tuple(durable for durable in DURABLES if durable.service == service)


def load_subject(service: str, replica: str) -> str:
    """Return the subject of one replica's load reports; ``EDGE`` for one of the edge."""
    return f"load.{service}.{replica}"


def surge_subject(service: str) -> str:
    """Return the subject on which the operator tells what it does for a service."""
    return f"surge.{service}"


def permissions_of(user: str) -> Permissions:
    """Return what one of ``NATS_USERS`` may do; everything else is refused."""
    if user == OPERATOR:
        return Permissions((surge_subject("*"),), (LOAD_REPORTS,))
    if user == EDGE:
        # It asks nothing and hears nothing; to nats-server an empty list would be no limit.
        return Permissions((load_subject(EDGE, "*"),), (f"_INBOX.{EDGE}.>",))
    return _service_permissions(user)


def _service_permissions(service: str) -> Permissions:
    # Live delivery to members and customers goes through messaging alone.
    live = ("live.>",) if service == "messaging" else ()
    publish = [
        f"tieline.{service}.v1.*",
        f"wake.{service}",
        "requests.*.v1.*",
        load_subject(service, "*"),
        # A consumer of the replica's own, on a stream that holds nothing else.
        f"$JS.API.CONSUMER.CREATE.{REVOCATIONS_STREAM}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{REVOCATIONS_STREAM}.*",
        *live,
    ]
    for durable in durables_of(service):
        publish += [
            f"$JS.API.CONSUMER.MSG.NEXT.{durable.stream}.{durable.service}",
            f"$JS.ACK.{durable.stream}.{durable.service}.>",
        ]
    subscribe = [
        f"_INBOX.{service}.>",
        surge_subject(service),
        f"requests.{service}.v1.*",
        f"wake.{service}",
        # Its own events, as they pass: each replica hears of what the others changed.
        f"tieline.{service}.v1.*",
        # Discovery of the NATS service API: everybody's, this service's, this replica's.
        "$SRV.*",
        f"$SRV.*.{service}",
        f"$SRV.*.{service}.*",
        *live,
    ]
    return Permissions(tuple(publish), tuple(subscribe))


async def declare(admin_url: str, *, replicas: int = 1, tls: BrokerTls = NO_FILES) -> None:
    """Create or update every stream and durable consumer; a repeat changes nothing.

    ``admin_url`` is a user that may use the whole JetStream API. ``replicas`` is the number of NATS
    servers that hold each event, 1 to 5. StartError when NATS is away.
    """
    async with connect_admin(admin_url, tls=tls) as broker:
        jetstream = broker.jetstream()
        for service in SERVICES:
            await _declare_stream(jetstream, _build_stream(service, replicas))
        await _declare_stream(jetstream, _build_revocations(replicas))
        for durable in DURABLES:
            await _declare_durable(jetstream, durable, replicas)


def _build_stream(service: str, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=stream_of(service),
        subjects=[f"tieline.{service}.v1.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=MAX_AGE_S,
        max_msg_size=_MAX_MESSAGE_BYTES,
        duplicate_window=_DUPLICATE_WINDOW_S,
        num_replicas=replicas,
        # Nobody but the age limit removes an event.
        deny_delete=True,
    )


def _build_revocations(replicas: int) -> StreamConfig:
    return StreamConfig(
        name=REVOCATIONS_STREAM,
        mirror=StreamSource(name=stream_of("identity"), filter_subject=TOKENS_REVOKED),
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=_REVOCATIONS_AGE_S,
        num_replicas=replicas,
        deny_delete=True,
    )


async def _declare_stream(jetstream: JetStreamContext, config: StreamConfig) -> None:
    assert config.name is not None, "every stream here has a name"
    try:
        await jetstream.stream_info(config.name)
    except StreamNotFoundError:
        await jetstream.add_stream(config)
    else:
        await jetstream.update_stream(config)


async def _declare_durable(jetstream: JetStreamContext, durable: Durable, replicas: int) -> None:
    config = ConsumerConfig(
        durable_name=durable.service,
        filter_subjects=list(durable.subjects),
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        # The consumer itself ends redelivery, by a dead letter; the server's limit would lose it.
        max_deliver=-1,
        max_ack_pending=durable.max_in_hand,
        num_replicas=replicas,
    )
    await jetstream.add_consumer(durable.stream, config)
