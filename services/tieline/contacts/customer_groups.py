"""The rules of customer groups. Pure."""

import datetime as dt
import re
from dataclasses import dataclass

from tieline.chassis.errors import FailedPreconditionError, NotFoundError
from tieline.chassis.fields import check_text, raise_violations

# Members and customers together, as in the open API's customer groups.
MAX_MEMBER_COUNT = 500

MAX_NAME_LENGTH = 64

_ID_LENGTH = 26
_ID = re.compile(r"wr[0-9a-z]{24}")


@dataclass(frozen=True, slots=True)
class CustomerGroup:
    """A group of members and customers."""

    customer_group_id: str
    name: str
    owner_user_id: str
    member_count: int
    """Members and customers in it, the owner too."""

    create_time: dt.datetime


@dataclass(frozen=True, slots=True)
class JoinWay:
    """A code by which customers join a group."""

    code: str
    customer_group_id: str
    create_time: dt.datetime


def check_name(name: str) -> None:
    """Refuse a name that breaks a limit."""
    violations: dict[str, str] = {}
    check_text(name, "name", violations, minimum=1, maximum=MAX_NAME_LENGTH)
    raise_violations(violations)


def check_room(group: CustomerGroup) -> None:
    """Refuse one more in a full group."""
    if group.member_count >= MAX_MEMBER_COUNT:
        raise FailedPreconditionError(
            "CUSTOMER_GROUP_FULL",
            f"the group has {MAX_MEMBER_COUNT} members and customers",
            {"customerGroupId": group.customer_group_id},
        )


def check_customer_group_id(customer_group_id: str) -> None:
    """Refuse what can't be a group's id just as an unknown group is refused."""
    if not _ID.fullmatch(customer_group_id):
        raise customer_group_not_found_error(customer_group_id)


def customer_group_not_found_error(customer_group_id: str) -> NotFoundError:
    """Build what those get who may not know of the group.

    Of what is no id only so much goes into the answer as an id has: 26 characters.
    """
    return NotFoundError(
        "CUSTOMER_GROUP_NOT_FOUND",
        "no such customer group",
        {"customerGroupId": customer_group_id[:_ID_LENGTH]},
    )
