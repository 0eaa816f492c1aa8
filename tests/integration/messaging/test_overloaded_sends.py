"""What an overloaded replica tells in the results of streams and batches, and hears in them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from engines import Database, build_settings
from fakes.tokens import TestTokens
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, text
from tieline.api.common.v1 import admission_pb2
from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
)
from tieline.chassis import runtime
from tieline.chassis.admission.control import MAX_HELD_BACK, AdmissionControl
from tieline.chassis.admission.priorities import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    BusinessClass,
    class_of,
)
from tieline.embedded.nats import EmbeddedNats
from tieline.messaging.app import role
from tieline.messaging.settings import MessagingSettings

# What lets in no message: sending is HIGH.
CRITICAL_ALONE = HIGHEST_PRIORITY + 127


@dataclass(frozen=True)
class Replica:
    """A replica whose level the test sets."""

    control: AdmissionControl
    channel: grpc.aio.Channel


@pytest.fixture
async def replica(
    messaging_database: Database,
    messaging_nats: EmbeddedNats,
    replica_targets: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Replica]:
    controls: list[AdmissionControl] = []

    def make_control(key: bytes, *, capacity_per_s: int, is_on: bool) -> AdmissionControl:
        # Refuses, whatever the settings say; and no window ends: the level is the test's.
        control = AdmissionControl(key, capacity_per_s=capacity_per_s, clock=lambda: 1000.0)
        controls.append(control)
        return control

    monkeypatch.setattr(runtime, "AdmissionControl", make_control)
    settings = build_settings("messaging", messaging_database, messaging_nats)
    assert isinstance(settings, MessagingSettings)
    async with (
        role(settings),
        grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        yield Replica(controls[0], channel)


@pytest.fixture
def li_wei(replica: Replica, tokens: TestTokens) -> Person:
    stub = messaging_service_pb2_grpc.MessagingServiceStub(replica.channel)
    return Corp([stub], tokens).member("li.wei")


def outgoing(conversation_id: str) -> messaging_pb2.OutgoingMessage:
    return messaging_pb2.OutgoingMessage(
        conversation_id=conversation_id, client_message_id=new_id(), content=text("hello")
    )


async def test_a_streams_results_tell_the_level_and_its_requests_what_was_held_back(
    replica: Replica, li_wei: Person
) -> None:
    group = await li_wei.create_group("zhang.san")
    call: Any = li_wei.stub.SendMessages(metadata=li_wei.metadata, timeout=TIMEOUT_S)
    counted = admission_pb2.HeldBackCalls(normal=3, low=100_000)
    told = []
    for level in (LOWEST_PRIORITY, CRITICAL_ALONE):
        replica.control.level = level
        request = messaging_service_pb2.SendMessagesRequest(
            messages=[outgoing(group)], held_back=counted
        )
        await call.write(request)
        response = await call.read()
        told.append((response.admission.level, response.results[0].error.reason))
        assert class_of(response.admission.priority) == BusinessClass.HIGH
    call.cancel()

    held_back = replica.control.current_counts().held_back
    assert told == [(LOWEST_PRIORITY, ""), (CRITICAL_ALONE, "OVERLOADED")]
    assert held_back[BusinessClass.NORMAL] == 2 * 3
    assert held_back[BusinessClass.LOW] == 2 * (MAX_HELD_BACK - 3)


async def test_a_batchs_response_tells_the_level(replica: Replica, li_wei: Person) -> None:
    group = await li_wei.create_group("zhang.san")
    response = await li_wei.stub.BatchSendMessages(
        messaging_service_pb2.BatchSendMessagesRequest(messages=[outgoing(group)]),
        metadata=li_wei.metadata,
        timeout=TIMEOUT_S,
    )

    assert response.admission.level == LOWEST_PRIORITY
    assert class_of(response.admission.priority) == BusinessClass.HIGH
