"""How often somebody may ask for numbers and addresses that nobody has. Pure.

Who knows numbers asks for members; who tries numbers out asks mostly for nobody.
"""

import datetime as dt

from tieline.chassis.errors import NotFoundError, ResourceExhaustedError

# The open API's share of the corp's members; so small a corp that it means nothing gets the other.
_SHARE = 5
_MIN_ALLOWANCE = 20


def allowance_of(member_count: int) -> int:
    """Return how many lookups of a day may find nobody."""
    return max(member_count // _SHARE, _MIN_ALLOWANCE)


def check_allowance(failure_count: int, allowance: int, now: dt.datetime) -> None:
    """Refuse whoever has used the day's allowance up; the day is UTC's."""
    if failure_count < allowance:
        return
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + dt.timedelta(days=1)
    raise ResourceExhaustedError(
        "LOOKUPS_BLOCKED",
        "too many lookups found nobody today: go on tomorrow (UTC)",
        retry_after_s=(midnight - now).total_seconds(),
    )


def nobody_error() -> NotFoundError:
    """Return the error of a number or address that no member has."""
    return NotFoundError("USER_NOT_FOUND", "no member has it")
