"""What the notes in a conversation's log say. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2
from tieline.messaging.conversations.rules import (
    ROLES_TO_PROTO,
    Participant,
    Role,
    Settings,
    find_participant,
    participant_to_proto,
    settings_to_proto,
)

DEPARTURES = frozenset(
    {
        conversation_note_pb2.PARTICIPANTS_CHANGE_REMOVED,
        conversation_note_pb2.PARTICIPANTS_CHANGE_LEFT,
        conversation_note_pb2.PARTICIPANTS_CHANGE_LEFT_CORP,
    }
)


def find_departed(note: conversation_note_pb2.ParticipantsNote) -> Iterator[Participant]:
    """Yield those who, by this note, are not in the conversation any more."""
    if note.change in DEPARTURES:
        for ref in note.participants:
            participant = find_participant(ref)
            if participant is not None:
                yield participant


def build_participants_note(
    change: conversation_note_pb2.ParticipantsChange.ValueType,
    participants: Iterable[Participant],
) -> messaging_pb2.MessageContent:
    """Return the note about who came or went."""
    return messaging_pb2.MessageContent(
        participants_note=conversation_note_pb2.ParticipantsNote(
            change=change, participants=map(participant_to_proto, participants)
        )
    )


def build_settings_note(fields: Iterable[str], settings: Settings) -> messaging_pb2.MessageContent:
    """Return the note about settings that are others now."""
    return messaging_pb2.MessageContent(
        settings_note=conversation_note_pb2.SettingsNote(
            changed_fields=fields, settings=settings_to_proto(settings)
        )
    )


def build_roles_note(roles: Mapping[Participant, Role]) -> messaging_pb2.MessageContent:
    """Return the note about roles that are others now."""
    changes = [
        conversation_note_pb2.RoleChange(
            participant=participant_to_proto(participant), role=ROLES_TO_PROTO[role]
        )
        for participant, role in roles.items()
    ]
    return messaging_pb2.MessageContent(roles_note=conversation_note_pb2.RolesNote(changes=changes))


def build_dismiss_note() -> messaging_pb2.MessageContent:
    """Return the note about the end of a group."""
    return messaging_pb2.MessageContent(dismiss_note=conversation_note_pb2.DismissNote())
