"""What messages on their way answer and whom they mention: looked up for those that do, few do.

Under the locks of their conversations, so that what is found stays so until they are stored.
"""

from collections.abc import Mapping, Sequence

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.rules import Participant, find_participant
from tieline.messaging.messages.change_rules import (
    check_reply,
    mentioned_not_found_error,
    message_not_found_error,
)
from tieline.messaging.messages.rules import Send
from tieline.messaging.repositories.message_changes import MessageChangeRepository
from tieline.messaging.repositories.overviews import EVERYONE
from tieline.messaging.repositories.participants import ParticipantRepository, Place
from tieline.messaging.sending.numbering import ConversationKey

Places = Mapping[tuple[ConversationKey, Participant], Place]


async def find_refusals(connection: Connection, sends: Sequence[Send]) -> dict[int, ServiceError]:
    """Return what speaks against those of the sends that refer to something, by their index."""
    contents = {
        index: messaging_pb2.MessageContent.FromString(send.content)
        for index, send in enumerate(sends)
        if send.has_references
    }
    if not contents:
        return {}
    places = await _read_places(connection, sends, contents)
    refusals: dict[int, ServiceError] = {}
    for index, content in contents.items():
        send = sends[index]
        key = (send.corp_id, send.conversation_id)
        refusal = find_missing(key, list_mentioned(content), places)
        if refusal is None and content.HasField("reply_to"):
            own = places.get((key, send.sender))
            refusal = await _check_reply(connection, key, content, own)
        if refusal is not None:
            refusals[index] = refusal
    return refusals


def list_mentioned(content: messaging_pb2.MessageContent) -> list[Participant]:
    """Return whom the content mentions."""
    found = map(find_participant, content.mentions.participants)
    return [participant for participant in found if participant is not None]


def list_meant(content: messaging_pb2.MessageContent) -> set[Participant]:
    """Return whom a content that was checked counts as mentioned for."""
    if not content.HasField("mentions"):
        return set()
    meant = set(list_mentioned(content))
    if content.mentions.everyone:
        meant.add(EVERYONE)
    return meant


def find_missing(
    key: ConversationKey, mentioned: Sequence[Participant], places: Places
) -> ServiceError | None:
    """Return the error for the first who is not in the conversation; None where all are."""
    for participant in mentioned:
        if (key, participant) not in places:
            return mentioned_not_found_error(participant)
    return None


async def _read_places(
    connection: Connection,
    sends: Sequence[Send],
    contents: Mapping[int, messaging_pb2.MessageContent],
) -> Places:
    pairs: set[tuple[ConversationKey, Participant]] = set()
    for index, content in contents.items():
        key = (sends[index].corp_id, sends[index].conversation_id)
        pairs.update((key, each) for each in (sends[index].sender, *list_mentioned(content)))
    return await ParticipantRepository(connection).filter_participants(pairs)


async def _check_reply(
    connection: Connection,
    key: ConversationKey,
    content: messaging_pb2.MessageContent,
    own: Place | None,
) -> ServiceError | None:
    sequence = content.reply_to.sequence
    if own is None or sequence <= own.visible_from_sequence:
        return message_not_found_error(sequence)
    found = await MessageChangeRepository(connection).list_by_number(key, [sequence])
    return check_reply(content, found.get(sequence))
