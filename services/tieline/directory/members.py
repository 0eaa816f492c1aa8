"""The rules of members: their fields, and how they are compared. Pure.

User ids are unique ignoring case; the lower-case form stands in tokens, tables and answers.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import NamedTuple

MAX_NAME_CHARACTERS = 64
MAX_POSITION_CHARACTERS = 128
MAX_QUERY_CHARACTERS = 64

MOBILE_PATTERN = re.compile(r"(?=.{5,20}\Z)\+?[0-9]+")
MOBILE_RULE = "must be 5 to 20 characters: digits, with or without a leading +"

# Addresses beyond ASCII would need a rule of their own for what differs by case alone.
EMAIL_PATTERN = re.compile(r"(?=.{6,64}\Z)[!-?A-~]+@[0-9A-Za-z.-]+", re.ASCII)
EMAIL_RULE = "must be an e-mail address of 6 to 64 bytes"


@dataclass(frozen=True, slots=True)
class Member:
    """One person of a corp."""

    user_id: str
    name: str
    department_id: int
    position: str
    mobile: str
    email: str
    create_time: dt.datetime
    update_time: dt.datetime


class SearchPosition(NamedTuple):
    """Where a member stands among a search's results."""

    closeness: int
    """0 where a field begins with the query, 1 a later part of one, 2 where one holds it, 3 where
    the path of a department does."""

    key: str
    """What the order is by among those who are as close."""

    user_id: str


BEFORE_ALL_RESULTS = SearchPosition(-1, "", "")


def member_key(user_id: str) -> str:
    """Return the form of a user id by which a member is stored and found."""
    # Some letters outside of ASCII have ASCII ones as their lower case; no user id has them.
    return user_id.lower() if user_id.isascii() else user_id


def fold(text: str) -> str:
    """Return what a name or a query is compared by, so that case makes no difference.

    Done here and not by the database, whose folding depends on how its cluster was made.
    """
    return text.casefold()
