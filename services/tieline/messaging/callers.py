"""Who calls, within which corp and conversation, and whom calls name: what servicers share."""

from collections.abc import Collection, Sequence

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import NotFoundError
from tieline.chassis.postgres import Connection
from tieline.chassis.requests import ask
from tieline.messaging.conversations.rules import (
    Participant,
    check_conversation_id,
    conversation_not_found_error,
    conversation_to_proto,
)
from tieline.messaging.repositories.conversations import ConversationRepository
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.sending.numbering import ConversationKey


def require_user(corp_id: str) -> UserKey:
    """Return the caller within the corp that the request means."""
    principal = current_principal()
    return principal.require_corp(corp_id), Participant(principal.kind.value, principal.id)


def require_conversation(corp_id: str, conversation_id: str) -> tuple[ConversationKey, Participant]:
    """Return the key that the request means, and the caller."""
    corp_id, caller = require_user(corp_id)
    check_conversation_id(conversation_id)
    return (corp_id, conversation_id), caller


async def get_conversation(
    connection: Connection, key: ConversationKey, participant: Participant
) -> messaging_pb2.Conversation:
    """Return a conversation that the participant is in, or refuse it."""
    conversation = await ConversationRepository(connection).find_conversation_of(key, participant)
    if conversation is None:
        raise conversation_not_found_error(key[1])
    return conversation_to_proto(conversation)


async def check_members(broker: Broker, corp_id: str, named: Collection[Participant]) -> None:
    """Refuse, by NOT_FOUND USER_NOT_FOUND, people whom directory does not know."""
    missing = await find_missing_members(broker, corp_id, named)
    if missing:
        raise user_not_found_error(missing[0])


async def find_missing_members(
    broker: Broker, corp_id: str, named: Collection[Participant]
) -> Sequence[str]:
    """Return who of these is no member that may sign in: unknown, gone or disabled."""
    response = await ask(
        broker,
        "directory",
        "find_missing_members",
        directory_requests_pb2.FindMissingMembersRequest(
            corp_id=corp_id, user_ids=[each.id for each in named]
        ),
        directory_requests_pb2.FindMissingMembersResponse,
    )
    return response.missing_user_ids


def user_not_found_error(user_id: str) -> NotFoundError:
    """Return the error for somebody who is not there, or not the caller's to name."""
    return NotFoundError("USER_NOT_FOUND", "no such member in the corp", {"userId": user_id})
