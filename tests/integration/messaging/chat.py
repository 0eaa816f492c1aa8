"""People who talk through messaging's public API, and what they receive."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import Message
from nats.aio.client import Client

from fakes.tokens import TestTokens
from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
)
from tieline.chassis.message_headers import EVENT_ID_HEADER, MESSAGE_ID_HEADER

TIMEOUT_S = 20

Stub = messaging_service_pb2_grpc.MessagingServiceStub


def text(value: str) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=value))


def new_id() -> str:
    return str(uuid.uuid4())


async def publish(broker: Client, subject: str, event: Message, *, event_id: str = "") -> None:
    """Publish what the service whose broker it is would tell of."""
    id_ = event_id or new_id()
    event.event_id = id_  # type: ignore[attr-defined]
    headers = {MESSAGE_ID_HEADER: new_id(), EVENT_ID_HEADER: id_}
    await broker.jetstream().publish(subject, event.SerializeToString(), headers=headers)


@dataclass
class Inbox:
    """What one open Subscribe call has received."""

    updates: list[messaging_service_pb2.SubscribeResponse] = field(default_factory=list)
    error: grpc.aio.AioRpcError | None = None

    @property
    def is_started(self) -> bool:
        return bool(self.updates)

    @property
    def joined(self) -> list[messaging_pb2.Conversation]:
        return [each.joined for each in self.updates if each.HasField("joined")]

    @property
    def is_caught_up(self) -> bool:
        return any(each.HasField("caught_up") for each in self.updates)

    @property
    def to_fetch(self) -> list[messaging_service_pb2.ConversationToFetch]:
        return [each.fetch for each in self.updates if each.HasField("fetch")]

    @property
    def left(self) -> list[str]:
        return [each.left.conversation_id for each in self.updates if each.HasField("left")]

    def messages(self, conversation_id: str) -> list[messaging_pb2.Message]:
        return [
            each.message
            for each in self.updates
            if each.HasField("message") and each.message.conversation_id == conversation_id
        ]

    def sequences(self, conversation_id: str) -> list[int]:
        return [message.sequence for message in self.messages(conversation_id)]


@dataclass(frozen=True)
class Person:
    """A member or customer, calling one replica."""

    stub: Stub
    corp_id: str
    kind: principal_pb2.PrincipalKind.ValueType
    id: str
    metadata: tuple[tuple[str, str], ...]

    @property
    def ref(self) -> principal_pb2.PrincipalRef:
        return principal_pb2.PrincipalRef(kind=self.kind, id=self.id)

    async def create(
        self,
        kind: messaging_pb2.ConversationKind.ValueType,
        others: Sequence[str],
        *,
        name: str = "",
        request_id: str = "",
    ) -> messaging_pb2.Conversation:
        response = await self.stub.CreateConversation(
            messaging_service_pb2.CreateConversationRequest(
                request_id=request_id or new_id(), kind=kind, name=name, user_ids=others
            ),
            metadata=self.metadata,
            timeout=TIMEOUT_S,
        )
        return response.conversation

    async def create_group(self, *others: str, name: str = "Team", request_id: str = "") -> str:
        conversation = await self.create(
            messaging_pb2.CONVERSATION_KIND_GROUP, others, name=name, request_id=request_id
        )
        return conversation.conversation_id

    async def create_direct(self, other: str) -> str:
        conversation = await self.create(messaging_pb2.CONVERSATION_KIND_DIRECT, [other])
        return conversation.conversation_id

    async def send(
        self, conversation_id: str, said: str = "hello", *, client_message_id: str = ""
    ) -> messaging_pb2.Message:
        response = await self.stub.SendMessage(
            messaging_service_pb2.SendMessageRequest(
                corp_id=self.corp_id,
                conversation_id=conversation_id,
                client_message_id=client_message_id or new_id(),
                content=text(said),
            ),
            metadata=self.metadata,
            timeout=TIMEOUT_S,
        )
        return response.message

    async def list_messages(
        self, conversation_id: str, *, after: int = 0, before: int = 0, page_size: int = 1000
    ) -> messaging_service_pb2.ListMessagesResponse:
        return await self.stub.ListMessages(
            messaging_service_pb2.ListMessagesRequest(
                corp_id=self.corp_id,
                conversation_id=conversation_id,
                after_sequence=after,
                before_sequence=before,
                page_size=page_size,
            ),
            metadata=self.metadata,
            timeout=TIMEOUT_S,
        )

    async def list_batch(
        self, *ranges: messaging_service_pb2.MessageRangeRequest
    ) -> list[messaging_service_pb2.MessageRange]:
        response = await self.stub.BatchListMessages(
            messaging_service_pb2.BatchListMessagesRequest(corp_id=self.corp_id, ranges=ranges),
            metadata=self.metadata,
            timeout=TIMEOUT_S,
        )
        return list(response.ranges)

    async def get(self, conversation_id: str) -> messaging_pb2.Conversation:
        response = await self.stub.GetConversation(
            messaging_service_pb2.GetConversationRequest(
                corp_id=self.corp_id, conversation_id=conversation_id
            ),
            metadata=self.metadata,
            timeout=TIMEOUT_S,
        )
        return response.conversation

    async def list_conversations(
        self, *, page_size: int = 0, page_token: str = ""
    ) -> messaging_service_pb2.ListConversationsResponse:
        return await self.stub.ListConversations(
            messaging_service_pb2.ListConversationsRequest(
                corp_id=self.corp_id, page_size=page_size, page_token=page_token
            ),
            metadata=self.metadata,
            timeout=TIMEOUT_S,
        )

    async def list_participants(
        self, conversation_id: str, *, page_size: int = 0, page_token: str = ""
    ) -> messaging_service_pb2.ListParticipantsResponse:
        return await self.stub.ListParticipants(
            messaging_service_pb2.ListParticipantsRequest(
                corp_id=self.corp_id,
                conversation_id=conversation_id,
                page_size=page_size,
                page_token=page_token,
            ),
            metadata=self.metadata,
            timeout=TIMEOUT_S,
        )

    @asynccontextmanager
    async def subscribed(
        self,
        held: Mapping[str, int] | None = None,
        *,
        batches: bool = False,
        state_revision: int = 0,
    ) -> AsyncIterator[Inbox]:
        """Subscribe, to catch up if ``held`` is given; the block begins with ``started``."""
        request = messaging_service_pb2.SubscribeRequest(
            corp_id=self.corp_id,
            catch_up=held is not None,
            batches=batches,
            state_revision=state_revision,
        )
        for conversation_id, sequence in (held or {}).items():
            request.held.add(conversation_id=conversation_id, sequence=sequence)
        call = self.stub.Subscribe(request, metadata=self.metadata)
        inbox = Inbox()
        first = await call.read()
        assert isinstance(first, messaging_service_pb2.SubscribeResponse), (
            "the stream does not end before it has begun"
        )
        inbox.updates.append(first)
        assert first.HasField("started")
        reader = asyncio.create_task(_read_all(call, inbox))
        try:
            yield inbox
        finally:
            call.cancel()
            await reader


async def _read_all(
    call: grpc.aio.UnaryStreamCall[
        messaging_service_pb2.SubscribeRequest, messaging_service_pb2.SubscribeResponse
    ],
    inbox: Inbox,
) -> None:
    try:
        # Read, not iterated: gRPC lets one call be used in one way only, and `started` was read.
        while isinstance(update := await call.read(), messaging_service_pb2.SubscribeResponse):
            inbox.updates.append(update)
    except asyncio.CancelledError:
        return
    except grpc.aio.AioRpcError as error:
        inbox.error = error


class Corp:
    """A corp of the test's own, so that no other test's people are in it."""

    def __init__(self, stubs: Sequence[Stub], tokens: TestTokens) -> None:
        self.corp_id = "ww" + secrets.token_hex(12)
        self._stubs = stubs
        self._tokens = tokens

    def member(self, user_id: str, *, replica: int = 0) -> Person:
        """Return the member, calling the replica of that number."""
        return self._person(
            principal_pb2.PRINCIPAL_KIND_MEMBER,
            user_id,
            self._tokens.member(self.corp_id, user_id),
            replica,
        )

    def customer(self, customer_id: str, *, replica: int = 0) -> Person:
        """Return the customer, who names this corp in each call."""
        token = self._tokens.customer(customer_id)
        return self._person(principal_pb2.PRINCIPAL_KIND_CUSTOMER, customer_id, token, replica)

    def _person(
        self, kind: principal_pb2.PrincipalKind.ValueType, id_: str, token: str, replica: int
    ) -> Person:
        metadata = (("authorization", f"Bearer {token}"),)
        return Person(self._stubs[replica], self.corp_id, kind, id_, metadata)
