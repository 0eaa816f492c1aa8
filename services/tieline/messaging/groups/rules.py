"""The rules of groups: who may change what of them, and who follows whom. Pure."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from tieline.api.messaging.v1 import conversation_note_pb2
from tieline.chassis.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from tieline.chassis.fields import check_text, check_user_id, raise_violations
from tieline.messaging.contents.checks import check_length
from tieline.messaging.conversations.rules import (
    ALLOWED_TO_PROTO,
    MAX_GROUP_PARTICIPANTS,
    MAX_NAME_CHARACTERS,
    Allowed,
    Conversation,
    ConversationKind,
    Participant,
    Role,
    Settings,
    member,
)

MAX_NOTICE_CHARACTERS = 2048
MAX_ADMINS = 10

# One note has room for them.
MAX_NAMED_USERS = 200

_ALLOWED_FROM_PROTO: Mapping[int, Allowed] = MappingProxyType(
    {proto: allowed for allowed, proto in ALLOWED_TO_PROTO.items()}
)
_GROUP_KINDS = (ConversationKind.GROUP, ConversationKind.CUSTOMER_GROUP)
_SETTINGS_FIELDS = ("name", "notice", "muted", "posting", "adding", "history_visible")


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody's place in a group."""

    participant: Participant
    role: Role
    join_time: dt.datetime


def require_going_on(conversation: Conversation) -> None:
    """Refuse to change a group that is dismissed."""
    if conversation.dismiss_time is not None:
        raise dismissed_error()


def require_own_membership(conversation: Conversation) -> None:
    """Refuse where who is in it is not decided here."""
    if conversation.kind is not ConversationKind.GROUP:
        raise wrong_kind_error()


def require_role(conversation: Conversation, *roles: Role) -> None:
    """Refuse callers who have none of these roles."""
    if conversation.role not in roles:
        raise role_error()


def require_adding(conversation: Conversation) -> None:
    """Refuse callers whom the settings don't let add people."""
    if conversation.settings.adding is not Allowed.EVERYONE:
        require_role(conversation, Role.OWNER, Role.ADMIN)


def check_room(conversation: Conversation, more: int) -> None:
    """Refuse so many more people where the group has no room for them."""
    if conversation.participant_count + more > MAX_GROUP_PARTICIPANTS:
        raise FailedPreconditionError(
            "CONVERSATION_FULL",
            f"a group has at most {MAX_GROUP_PARTICIPANTS} people",
            {"limit": str(MAX_GROUP_PARTICIPANTS)},
        )


def check_removal(conversation: Conversation, places: Collection[Place]) -> None:
    """Refuse to take out those whom the caller may not."""
    require_role(conversation, Role.OWNER, Role.ADMIN)
    for place in places:
        if place.role is Role.OWNER or (
            place.role is Role.ADMIN and conversation.role is not Role.OWNER
        ):
            raise role_error()


def check_admins(count: int) -> None:
    """Refuse one more administrator where there are enough."""
    if count >= MAX_ADMINS:
        raise ResourceExhaustedError(
            "LIMIT_REACHED",
            f"a group has at most {MAX_ADMINS} administrators",
            {"limit": str(MAX_ADMINS)},
        )


def check_named_users(user_ids: Sequence[str]) -> list[Participant]:
    """Return the members of these ids, each once, or refuse the list."""
    if not 1 <= len(user_ids) <= MAX_NAMED_USERS:
        raise InvalidArgumentError({"user_ids": f"must be 1 to {MAX_NAMED_USERS}"})
    violations: dict[str, str] = {}
    for index, user_id in enumerate(user_ids):
        check_user_id(user_id, f"user_ids[{index}]", violations)
    raise_violations(violations)
    return list(dict.fromkeys(map(member, user_ids)))


def check_named_user(user_id: str) -> Participant:
    """Return the member of that id, or refuse it."""
    violations: dict[str, str] = {}
    check_user_id(user_id, "user_id", violations)
    raise_violations(violations)
    return member(user_id)


def change_settings(
    kind: ConversationKind,
    current: Settings,
    wanted: conversation_note_pb2.ConversationSettings,
    paths: Sequence[str],
    now: dt.datetime,
) -> tuple[Settings, list[str]]:
    """Return the settings with the named fields changed, and which are other ones now."""
    violations: dict[str, str] = {}
    if not paths or any(path not in _SETTINGS_FIELDS for path in paths):
        violations["update_mask"] = f"must name some of {', '.join(_SETTINGS_FIELDS)}"
    for path in paths:
        check = _FIELD_CHECKS.get(path)
        if check is not None:
            check(wanted, violations)
    raise_violations(violations)
    if "name" in paths and kind is not ConversationKind.GROUP:
        raise wrong_kind_error()
    changed = replace(current, **{_ATTRIBUTES[path]: _read(wanted, path) for path in paths})
    fields = [
        path
        for path in _SETTINGS_FIELDS
        if getattr(changed, _ATTRIBUTES[path]) != getattr(current, _ATTRIBUTES[path])
    ]
    if "notice" in fields:
        changed = replace(changed, notice_time=now if changed.notice else None)
    return changed, fields


def read_text(wanted: conversation_note_pb2.ConversationSettings, paths: Sequence[str]) -> str:
    """Return what people are to read of the settings that the paths name."""
    return "\n".join(getattr(wanted, path) for path in ("name", "notice") if path in paths)


def find_refusal(role: str, posting: str) -> PermissionDeniedError | FailedPreconditionError | None:
    """Return why somebody of that role may not send; None where nothing speaks against it.

    ``posting`` is what the settings come to: a value of Allowed, or ``nobody`` where the group is
    dismissed.
    """
    if posting == Allowed.EVERYONE or (role == Role.OWNER and posting != "nobody"):
        return None
    if posting == "nobody":
        return dismissed_error()
    if posting == Allowed.ADMINS and role == Role.ADMIN:
        return None
    return PermissionDeniedError(
        "POSTING_NOT_ALLOWED", "the conversation's settings do not let the caller send"
    )


def find_content_refusal(
    kind: str, role: str, *, is_notice: bool, mentions_everyone: bool
) -> PermissionDeniedError | FailedPreconditionError | None:
    """Return why somebody of that role may not say this in a conversation of that kind."""
    if not is_notice and not mentions_everyone:
        return None
    if kind not in _GROUP_KINDS:
        return wrong_kind_error()
    if is_notice and role not in (Role.OWNER, Role.ADMIN):
        return role_error()
    return None


def choose_successor(places: Collection[Place]) -> Participant | None:
    """Return who becomes the owner of those who stay: None where there is no member."""
    members = [place for place in places if place.participant.kind == "member"]
    if not members:
        return None
    oldest = min(
        members,
        key=lambda place: (place.role is not Role.ADMIN, place.join_time, place.participant),
    )
    return oldest.participant


def dismissed_error() -> FailedPreconditionError:
    """Return the error for groups in which nothing happens any more."""
    return FailedPreconditionError("CONVERSATION_DISMISSED", "the group is dismissed")


def wrong_kind_error() -> FailedPreconditionError:
    """Return the error for what can't be done with a conversation of this kind."""
    return FailedPreconditionError(
        "WRONG_CONVERSATION_KIND", "this is not done with conversations of this kind"
    )


def role_error() -> PermissionDeniedError:
    """Return the error for what is left to others."""
    return PermissionDeniedError(
        "ROLE_NOT_SUFFICIENT", "the caller's role in the group is not enough"
    )


def participant_not_found_error(participant: Participant) -> NotFoundError:
    """Return the error for somebody who is not in the conversation."""
    return NotFoundError(
        "PARTICIPANT_NOT_FOUND",
        "nobody of that id is in the conversation",
        {"participantId": participant.id},
    )


def _check_name(
    wanted: conversation_note_pb2.ConversationSettings, violations: dict[str, str]
) -> None:
    check_text(wanted.name, "settings.name", violations, minimum=1, maximum=MAX_NAME_CHARACTERS)


def _check_notice(
    wanted: conversation_note_pb2.ConversationSettings, violations: dict[str, str]
) -> None:
    check_length(wanted.notice, "settings.notice", violations, maximum=MAX_NOTICE_CHARACTERS)


def _check_posting(
    wanted: conversation_note_pb2.ConversationSettings, violations: dict[str, str]
) -> None:
    if wanted.posting not in _ALLOWED_FROM_PROTO:
        violations["settings.posting"] = "must be EVERYONE, ADMINS or OWNER"


def _check_adding(
    wanted: conversation_note_pb2.ConversationSettings, violations: dict[str, str]
) -> None:
    if _ALLOWED_FROM_PROTO.get(wanted.adding) not in (Allowed.EVERYONE, Allowed.ADMINS):
        violations["settings.adding"] = "must be EVERYONE or ADMINS"


def _read(wanted: conversation_note_pb2.ConversationSettings, path: str) -> Any:
    value = getattr(wanted, path)
    return _ALLOWED_FROM_PROTO[value] if path in ("posting", "adding") else value


_ATTRIBUTES = MappingProxyType(
    {path: "is_muted" if path == "muted" else path for path in _SETTINGS_FIELDS}
)
_FIELD_CHECKS = MappingProxyType(
    {
        "name": _check_name,
        "notice": _check_notice,
        "posting": _check_posting,
        "adding": _check_adding,
    }
)
