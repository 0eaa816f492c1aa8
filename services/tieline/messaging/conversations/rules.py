"""The rules of conversations: who may be in which kind, and what names a pair. Pure."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import conversation_note_pb2, messaging_pb2
from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import check_text, check_user_id, raise_violations, to_timestamp
from tieline.chassis.principals import PrincipalKind

MAX_GROUP_PARTICIPANTS = 2000
MAX_NAME_CHARACTERS = 64

# What corps, conversations and customer groups are named by; anything else names none of them, and
# needs no look into the database.
_ID_PATTERN = re.compile(r"[0-9A-Za-z\-]{1,64}")


class ConversationKind(StrEnum):
    """Who talks in a conversation; the values stand in tables."""

    DIRECT = "direct"
    GROUP = "group"
    CUSTOMER_GROUP = "customer_group"
    APP = "app"


class Role(StrEnum):
    """What somebody may do in a conversation; the values stand in tables."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class Allowed(StrEnum):
    """Who may do something in a conversation; the values stand in tables."""

    EVERYONE = "everyone"
    ADMINS = "admins"
    OWNER = "owner"


class Participant(NamedTuple):
    """A member, customer or app. Its order is that of ListParticipants."""

    kind: str
    """``member``, ``customer`` or ``app``: a value of PrincipalKind."""

    id: str
    """User id in lower case, customer id, or agent id."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the owner and the administrators of a conversation decide."""

    name: str = ""
    notice: str = ""
    is_muted: bool = False
    posting: Allowed = Allowed.EVERYONE
    adding: Allowed = Allowed.EVERYONE
    history_visible: bool = True
    """Whether people who come from now on see what was said before."""

    notice_time: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as it is stored, with the number of its participants."""

    corp_id: str
    conversation_id: str
    kind: ConversationKind
    settings: Settings
    last_sequence: int
    uncounted: int
    last_activity_time: dt.datetime
    participant_count: int
    create_time: dt.datetime
    dismiss_time: dt.datetime | None
    visible_from_sequence: int = 0
    """The participant it was read for reads what has a higher number."""

    role: Role | None = None
    """Of the participant it was read for."""


@dataclass(frozen=True, slots=True)
class NewConversation:
    """A conversation that a member wants, checked."""

    kind: ConversationKind
    name: str
    caller: Participant
    others: Sequence[Participant]
    """Without the caller, each once."""


_KINDS_TO_PROTO: Mapping[ConversationKind, messaging_pb2.ConversationKind.ValueType] = (
    MappingProxyType(
        {
            ConversationKind.DIRECT: messaging_pb2.CONVERSATION_KIND_DIRECT,
            ConversationKind.GROUP: messaging_pb2.CONVERSATION_KIND_GROUP,
            ConversationKind.CUSTOMER_GROUP: messaging_pb2.CONVERSATION_KIND_CUSTOMER_GROUP,
            ConversationKind.APP: messaging_pb2.CONVERSATION_KIND_APP,
        }
    )
)
_CREATABLE = MappingProxyType(
    {
        messaging_pb2.CONVERSATION_KIND_DIRECT: ConversationKind.DIRECT,
        messaging_pb2.CONVERSATION_KIND_GROUP: ConversationKind.GROUP,
    }
)
_PRINCIPAL_KINDS = MappingProxyType(
    {
        PrincipalKind.MEMBER.value: principal_pb2.PRINCIPAL_KIND_MEMBER,
        PrincipalKind.CUSTOMER.value: principal_pb2.PRINCIPAL_KIND_CUSTOMER,
        PrincipalKind.APP.value: principal_pb2.PRINCIPAL_KIND_APP,
    }
)
ROLES_TO_PROTO: Mapping[Role, conversation_note_pb2.ParticipantRole.ValueType] = MappingProxyType(
    {
        Role.OWNER: conversation_note_pb2.PARTICIPANT_ROLE_OWNER,
        Role.ADMIN: conversation_note_pb2.PARTICIPANT_ROLE_ADMIN,
        Role.MEMBER: conversation_note_pb2.PARTICIPANT_ROLE_MEMBER,
    }
)
ALLOWED_TO_PROTO: Mapping[Allowed, conversation_note_pb2.Allowed.ValueType] = MappingProxyType(
    {
        Allowed.EVERYONE: conversation_note_pb2.ALLOWED_EVERYONE,
        Allowed.ADMINS: conversation_note_pb2.ALLOWED_ADMINS,
        Allowed.OWNER: conversation_note_pb2.ALLOWED_OWNER,
    }
)
_KINDS_FROM_PROTO = MappingProxyType({proto: kind for kind, proto in _PRINCIPAL_KINDS.items()})


def member(user_id: str) -> Participant:
    """Return the member of that user id, in whatever case it was written."""
    return Participant(PrincipalKind.MEMBER.value, user_id.lower())


def customer(customer_id: str) -> Participant:
    """Return the customer of that id."""
    return Participant(PrincipalKind.CUSTOMER.value, customer_id)


def app(agent_id: str) -> Participant:
    """Return the app of that id."""
    return Participant(PrincipalKind.APP.value, agent_id)


def build_direct_key(pair: Iterable[Participant]) -> str:
    """Return what names a pair, in whichever order it is given."""
    one, other = sorted(pair)
    assert one != other, "nobody talks to themselves"
    # No id contains a bar.
    return f"{one.kind}:{one.id}|{other.kind}:{other.id}"


def check_conversation_request(
    kind: int, name: str, user_ids: Sequence[str], caller: Participant
) -> NewConversation:
    """Return what CreateConversation asks for, or refuse it with all that is wrong."""
    violations: dict[str, str] = {}
    wanted = _CREATABLE.get(messaging_pb2.ConversationKind.ValueType(kind))
    if wanted is None:
        violations["kind"] = "must be DIRECT or GROUP"
    elif wanted is ConversationKind.GROUP:
        check_text(name, "name", violations, minimum=1, maximum=MAX_NAME_CHARACTERS)
    elif name:
        violations["name"] = "must be empty for DIRECT"
    others = _check_others(wanted, user_ids, caller, violations)
    raise_violations(violations)
    assert wanted is not None, "its absence is a violation"
    return NewConversation(wanted, name, caller, others)


def _check_others(
    kind: ConversationKind | None,
    user_ids: Sequence[str],
    caller: Participant,
    violations: dict[str, str],
) -> Sequence[Participant]:
    most = 1 if kind is ConversationKind.DIRECT else MAX_GROUP_PARTICIPANTS - 1
    # The caller may stand among them once; a longer list is not worth reading.
    if len(user_ids) > most + 1:
        violations["user_ids"] = f"must name at most {most} others"
        return ()
    for index, user_id in enumerate(user_ids):
        check_user_id(user_id, f"user_ids[{index}]", violations)
    others = [other for other in dict.fromkeys(map(member, user_ids)) if other != caller]
    if not 1 <= len(others) <= most:
        violations["user_ids"] = f"must name {'1' if most == 1 else f'1 to {most}'} others"
    return others


def is_conversation_id(value: str) -> bool:
    """Tell whether this may be the id of a conversation."""
    return _ID_PATTERN.fullmatch(value) is not None


def check_conversation_id(conversation_id: str) -> None:
    """Refuse what can't be the id of any conversation."""
    if not is_conversation_id(conversation_id):
        raise conversation_not_found_error(conversation_id)


def conversation_not_found_error(conversation_id: str) -> NotFoundError:
    """Return the error for conversations that are not there, or not the caller's."""
    return NotFoundError(
        "CONVERSATION_NOT_FOUND",
        "no such conversation among the caller's",
        {"conversationId": conversation_id[:64]},
    )


def participant_to_proto(participant: Participant) -> principal_pb2.PrincipalRef:
    """Return the participant as the API names it."""
    return principal_pb2.PrincipalRef(kind=_PRINCIPAL_KINDS[participant.kind], id=participant.id)


def write_participant(participant: Participant, ref: principal_pb2.PrincipalRef) -> None:
    """Write the participant's name into a message that is there."""
    ref.kind = _PRINCIPAL_KINDS[participant.kind]
    ref.id = participant.id


def find_participant(ref: principal_pb2.PrincipalRef) -> Participant | None:
    """Return whom the reference names; None where nobody of that kind is in conversations."""
    kind = _KINDS_FROM_PROTO.get(ref.kind)
    if kind is None:
        return None
    return member(ref.id) if kind == PrincipalKind.MEMBER else Participant(kind, ref.id)


def settings_to_proto(settings: Settings) -> conversation_note_pb2.ConversationSettings:
    """Return the settings as the API shows them."""
    proto = conversation_note_pb2.ConversationSettings(
        name=settings.name,
        notice=settings.notice,
        muted=settings.is_muted,
        posting=ALLOWED_TO_PROTO[settings.posting],
        adding=ALLOWED_TO_PROTO[settings.adding],
        history_visible=settings.history_visible,
    )
    if settings.notice_time is not None:
        proto.notice_time.CopyFrom(to_timestamp(settings.notice_time))
    return proto


def conversation_to_proto(conversation: Conversation) -> messaging_pb2.Conversation:
    """Return the conversation as the API shows it."""
    proto = messaging_pb2.Conversation(
        corp_id=conversation.corp_id,
        conversation_id=conversation.conversation_id,
        kind=_KINDS_TO_PROTO[conversation.kind],
        name=conversation.settings.name,
        last_sequence=conversation.last_sequence,
        last_activity_time=to_timestamp(conversation.last_activity_time),
        participant_count=conversation.participant_count,
        create_time=to_timestamp(conversation.create_time),
        uncounted=conversation.uncounted,
        visible_from_sequence=conversation.visible_from_sequence,
        settings=settings_to_proto(conversation.settings),
    )
    if conversation.dismiss_time is not None:
        proto.dismiss_time.CopyFrom(to_timestamp(conversation.dismiss_time))
    if conversation.role is not None and conversation.kind is not ConversationKind.DIRECT:
        proto.role = ROLES_TO_PROTO[conversation.role]
    return proto
