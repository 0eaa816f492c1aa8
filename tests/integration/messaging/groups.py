"""People who change groups through messaging's public API."""

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from integration.messaging.chat import TIMEOUT_S, Person
from tieline.api.messaging.v1 import (
    conversation_note_pb2,
    conversation_service_pb2,
    conversation_service_pb2_grpc,
    messaging_pb2,
)

ADMIN = conversation_note_pb2.PARTICIPANT_ROLE_ADMIN
MEMBER = conversation_note_pb2.PARTICIPANT_ROLE_MEMBER
OWNER = conversation_note_pb2.PARTICIPANT_ROLE_OWNER


class Groups:
    """ConversationService at one replica."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = conversation_service_pb2_grpc.ConversationServiceStub(channel)

    async def call(self, person: Person, method: str, **fields: Any) -> Any:
        """Call the method as that person, in the person's corp."""
        request_type = getattr(conversation_service_pb2, f"{method}Request")
        request: Message = request_type(corp_id=person.corp_id, **fields)
        return await getattr(self.stub, method)(
            request, metadata=person.metadata, timeout=TIMEOUT_S
        )

    async def add(self, person: Person, group: str, *user_ids: str) -> list[str]:
        response = await self.call(
            person, "AddParticipants", conversation_id=group, user_ids=user_ids
        )
        return [each.id for each in response.added]

    async def remove(self, person: Person, group: str, *user_ids: str) -> list[str]:
        response = await self.call(
            person, "RemoveParticipants", conversation_id=group, user_ids=user_ids
        )
        return [each.id for each in response.removed]

    async def change(
        self, person: Person, group: str, paths: Sequence[str] = (), **settings: Any
    ) -> messaging_pb2.Conversation:
        response = await self.call(
            person,
            "UpdateSettings",
            conversation_id=group,
            settings=conversation_note_pb2.ConversationSettings(**settings),
            update_mask=FieldMask(paths=paths or list(settings)),
        )
        conversation = response.conversation
        assert isinstance(conversation, messaging_pb2.Conversation)
        return conversation

    async def set_role(self, person: Person, group: str, user_id: str, role: int = ADMIN) -> None:
        await self.call(
            person, "UpdateParticipantRole", conversation_id=group, user_id=user_id, role=role
        )


async def refused(call: Any, reason: str) -> None:
    """Expect the call to fail for that reason."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert reason in str(caught.value.trailing_metadata()), caught.value.details()
