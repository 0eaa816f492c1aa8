"""The rules of contact ways and contacts. Pure."""

import datetime as dt
from dataclasses import dataclass

from tieline.chassis.fields import check_text, raise_violations

# As in the open API's add_contact_way.
MAX_STATE_LENGTH = 30

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class ContactWay:
    """A code by which customers add one member."""

    code: str
    user_id: str
    state: str
    create_time: dt.datetime


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer of one member."""

    user_id: str
    customer_id: str
    customer_name: str
    state: str
    create_time: dt.datetime


def check_state(state: str) -> None:
    """Refuse a mark that breaks a limit."""
    violations: dict[str, str] = {}
    check_text(state, "state", violations, minimum=0, maximum=MAX_STATE_LENGTH)
    raise_violations(violations)
