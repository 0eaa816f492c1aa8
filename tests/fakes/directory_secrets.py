"""A corp in which every field of everybody holds a text that stands nowhere else.

Whoever gets such a text was told of it, by whatever method, field, error or page token that was.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from fakes.visibility_oracle import Oracle, World
from tieline.api.directory.v1 import (
    attribute_pb2,
    directory_pb2,
    linked_corp_service_pb2,
    member_service_pb2,
    visibility_pb2,
)
from tieline.client.errors import TielineError

# Parents of the departments below the root; their numbers stand in no other number.
EAST, WEST, NORTH, SOUTH, DEEP, FAR = range(900_002, 900_008)
PARENTS = {EAST: 1, WEST: 1, NORTH: EAST, SOUTH: EAST, DEEP: NORTH, FAR: WEST}
PLACES = {
    "anna": (EAST,),
    "bert": (NORTH, WEST),
    "cleo": (SOUTH,),
    "dora": (DEEP,),
    "emil": (FAR, EAST),
    "fred": (1,),
}
USERS = tuple(PLACES)
LEADERS = {NORTH: "bert", SOUTH: "cleo", FAR: "emil"}
DIRECT_LEADERS = {"anna": "bert", "bert": "cleo", "cleo": "dora", "emil": "anna"}
TAG = 1
TAGGED_USERS = frozenset({"bert", "fred"})
TAGGED_DEPARTMENTS = frozenset({SOUTH})
WORLD = World(
    PARENTS,
    {user_id: frozenset(place) for user_id, place in PLACES.items()},
    {TAG: TAGGED_USERS},
    {TAG: TAGGED_DEPARTMENTS},
)

HIDEABLE_FIELDS = frozenset(
    name.removeprefix("HIDEABLE_FIELD_").lower()
    for name, number in visibility_pb2.HideableField.items()
    if number
)
BADGE = "Badge"
# What may hold a department's six digits or a member's four letters by chance: the digits of a time
# or of a random id, and a token as it is sent, which is looked at unpacked.
_CHANCE = re.compile(
    r"\b(seconds|nanos): \d+|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r'|\w+_(token|cursor): "[^"]*"'
)
_MESSAGE_FIELDS = {"direct_leader": "direct_leader_user_id"}


def secrets_of(user_id: str) -> dict[str, str]:
    """Return what the member's fields hold."""
    number = USERS.index(user_id)
    return {
        "mobile": f"1380000700{number}",
        "telephone": f"020-9{number}9{number}9",
        "email": f"private-{user_id}@acme.example",
        "biz_email": f"work-{user_id}@acme.example",
        "address": f"Street of {user_id}",
        "position": f"Work of {user_id}",
        "alias": f"Nick of {user_id}",
        "avatar_media_id": f"picture-{user_id}",
    }


def badge_of(user_id: str) -> str:
    return f"Badge of {user_id}"


def fields_of(user_id: str) -> dict[str, Any]:
    """Return the fields with which the member is made."""
    badge = attribute_pb2.AttributeValue(name=BADGE, text=badge_of(user_id))
    return {
        **secrets_of(user_id),
        "name": f"Name of {user_id}",
        "gender": directory_pb2.GENDER_FEMALE,
        "extended_attributes": [badge],
    }


@dataclass(frozen=True)
class Sight:
    """What one viewer is to see of the corp, and nothing else."""

    hidden: Mapping[str, frozenset[str]]
    """Of everybody who is seen, the fields that are not."""

    departments: frozenset[int]

    is_partner: bool = False
    """Whether of another corp: departments that a partner asks for by itself are its own."""

    @classmethod
    def of(cls, oracle: Oracle, viewer_id: str, withheld: Iterable[str] = ()) -> "Sight":
        """Return what rules let a member see, without the fields that nobody like that gets."""
        hidden = {
            user_id: frozenset(oracle.hidden_fields(viewer_id, user_id)) | frozenset(withheld)
            for user_id in USERS
            if oracle.sees(viewer_id, user_id)
        }
        shown = {each for each in (1, *PARENTS) if oracle.shows_department(viewer_id, each)}
        return cls(hidden, frozenset(shown))

    @property
    def sees_everybody(self) -> bool:
        return len(self.hidden) == len(USERS)

    def list_secrets(self) -> dict[str, str]:
        """Return the texts that the viewer may not get, each with what it is."""
        found: dict[str, str] = {}
        for user_id in USERS:
            secrets = {**secrets_of(user_id), "extended_attributes": badge_of(user_id)}
            hidden = self.hidden.get(user_id, secrets.keys())
            found |= {
                text.lower(): f"the {name} of {user_id}"
                for name, text in secrets.items()
                if name in hidden
            }
            if user_id not in self.hidden:
                found[user_id] = f"the member {user_id}"
        for department_id in PARENTS.keys() - self.departments:
            found[str(department_id)] = f"the department {department_id}"
        return found

    def check(self, request: Message, answers: Iterable[Message | TielineError]) -> None:
        """Check that nothing of what was answered is hidden; what was asked with is known."""
        asked, name = str(request).lower(), request.DESCRIPTOR.name
        secrets = self.list_secrets()
        for answer in answers:
            # Searches compare in lower case, and so may what they leave.
            told = "\n".join(_list_texts(answer)).lower()
            for text, what in secrets.items():
                assert text not in told or text in asked, f"{name} tells of {what}: {told}"
            if isinstance(answer, Message):
                for message in walk(answer):
                    self._check_fields(message)

    def _check_fields(self, message: Message) -> None:
        """Check what is no text of its own."""
        self._check_page(message)
        if isinstance(message, directory_pb2.Department):
            is_told = self.sees_everybody or self.is_partner
            assert is_told or message.member_count == 0
            self._check_departments(message.ancestor_ids)
        if isinstance(message, member_service_pb2.MemberId):
            self._check_departments([message.department_id])
        if isinstance(message, directory_pb2.Member | linked_corp_service_pb2.LinkedMember):
            for field in self.hidden.get(message.user_id, ()):
                assert not getattr(message, _MESSAGE_FIELDS.get(field, field), None), field

    def _check_departments(self, department_ids: Iterable[int]) -> None:
        assert not PARENTS.keys() & set(department_ids) - self.departments

    @staticmethod
    def _check_page(message: Message) -> None:
        """Check that no page is empty where others follow: it would tell that somebody is there."""
        if getattr(message, "next_page_token", ""):
            assert any(field.is_repeated for field, _ in message.ListFields()), message


def walk(message: Message) -> Iterator[Message]:
    """Yield the message and all within it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from walk(each)


def _list_texts(answer: Message | TielineError) -> Iterator[str]:
    """Yield all that an answer says, page tokens as whoever takes them apart reads them."""
    if isinstance(answer, TielineError):
        told = f"{answer} {answer.text} {dict(answer.metadata)} {dict(answer.violations)}"
        yield _CHANCE.sub("", told)
        return
    yield _CHANCE.sub("", str(answer))
    for message in walk(answer):
        for field, value in message.ListFields():
            if field.name.endswith(("_token", "_cursor")):
                yield _unpack(value)


def _unpack(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("latin-1")
    except binascii.Error:
        return token
