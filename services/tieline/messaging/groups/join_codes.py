"""The rules of the codes by which members come into groups. Pure but for the making of a code."""

import datetime as dt
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from tieline.api.messaging.v1 import conversation_service_pb2
from tieline.chassis.errors import NotFoundError, ResourceExhaustedError
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.messaging.conversations.rules import MAX_GROUP_PARTICIPANTS

MIN_LIFETIME = dt.timedelta(minutes=1)
MAX_LIFETIME = dt.timedelta(days=30)
DEFAULT_LIFETIME = dt.timedelta(days=7)

MAX_CODES = 20
MAX_REQUESTS = 200
REQUEST_LIFETIME = dt.timedelta(days=7)

# 16 characters of base64: 96 bits, which nobody guesses.
_CODE_BYTES = 12
_CODE_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class JoinCode:
    """A code by which members come into a group."""

    code: str
    conversation_id: str
    creator_user_id: str
    expire_time: dt.datetime
    max_uses: int
    """0 for any number."""

    use_count: int
    needs_approval: bool
    create_time: dt.datetime

    def is_in_force(self, now: dt.datetime) -> bool:
        """Return whether somebody may come in by it."""
        return now < self.expire_time and (not self.max_uses or self.use_count < self.max_uses)


def new_code() -> str:
    """Return a code that nobody can guess."""
    return secrets.token_urlsafe(_CODE_BYTES)


def check_code(code: str) -> None:
    """Refuse what can't be a code as an unknown one is refused."""
    if len(code) != _CODE_CHARACTERS or "\0" in code:
        raise code_not_found_error()


def check_new_code(lifetime: Duration | None, max_uses: int) -> dt.timedelta:
    """Return how long the code lives, or refuse what is wrong with it."""
    violations: dict[str, str] = {}
    length = DEFAULT_LIFETIME
    if lifetime is not None:
        # By hand: ToTimedelta raises where a duration is out of its own range.
        seconds = lifetime.seconds + lifetime.nanos / 1e9
        if MIN_LIFETIME.total_seconds() <= seconds <= MAX_LIFETIME.total_seconds():
            length = dt.timedelta(seconds=seconds)
        else:
            violations["lifetime"] = "must be 1 minute to 30 days"
    if not 0 <= max_uses <= MAX_GROUP_PARTICIPANTS:
        violations["max_uses"] = f"must be 0 to {MAX_GROUP_PARTICIPANTS}"
    raise_violations(violations)
    return length


def check_count(count: int) -> None:
    """Refuse one more code where the group has enough."""
    if count >= MAX_CODES:
        raise ResourceExhaustedError(
            "TOO_MANY_JOIN_CODES", f"a group has at most {MAX_CODES} codes in force"
        )


def code_not_found_error() -> NotFoundError:
    """Return the error for codes by which nobody comes in."""
    return NotFoundError("JOIN_CODE_NOT_FOUND", "no such code in force")


def request_not_found_error(user_id: str) -> NotFoundError:
    """Return the error for a request that is not there, or ended."""
    return NotFoundError(
        "JOIN_REQUEST_NOT_FOUND", "nobody of that id asks to join", {"userId": user_id}
    )


def code_to_proto(code: JoinCode) -> conversation_service_pb2.JoinCode:
    """Return the code as the API shows it."""
    return conversation_service_pb2.JoinCode(
        code=code.code,
        conversation_id=code.conversation_id,
        creator_user_id=code.creator_user_id,
        expire_time=to_timestamp(code.expire_time),
        max_uses=code.max_uses,
        use_count=code.use_count,
        needs_approval=code.needs_approval,
        create_time=to_timestamp(code.create_time),
    )


def request_to_proto(asked: Mapping[str, object]) -> conversation_service_pb2.JoinRequest:
    """Return the request as the API shows it."""
    user_id, create_time = asked["user_id"], asked["create_time"]
    assert isinstance(create_time, dt.datetime), "the column is a time"
    return conversation_service_pb2.JoinRequest(
        user_id=str(user_id), create_time=to_timestamp(create_time)
    )
