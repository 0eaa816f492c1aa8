"""Corps, as identity's events tell of them."""

from dataclasses import dataclass

from tieline.chassis.errors import UnavailableError
from tieline.chassis.postgres import Connection
from tieline.directory.departments import ROOT_DEPARTMENT_ID, ROOT_PATH

# The event of a corp's creation takes milliseconds to get here.
_CORP_RETRY_AFTER_S = 0.5

# What a new corp begins with.
ROOT_CHANGE_NUMBER = 1
OWNER_CHANGE_NUMBER = 2


@dataclass(frozen=True, slots=True)
class LockedCorp:
    """A corp whose rows nobody else writes until the transaction ends."""

    next_department_id: int
    last_change_number: int


def corp_not_ready_error() -> UnavailableError:
    """Return the error of a corp that the directory has not heard of yet."""
    return UnavailableError(
        "CORP_NOT_READY",
        "the directory has not heard of the corp yet",
        retry_after_s=_CORP_RETRY_AFTER_S,
    )


async def insert_corp(connection: Connection, corp_id: str, display_name: str) -> None:
    """Add the corp and its root department; a repeat changes nothing."""
    await connection.execute(
        """
        INSERT INTO directory.corps (corp_id, last_change_number)
        VALUES ($1, $2)
        ON CONFLICT DO NOTHING
        """,
        corp_id,
        OWNER_CHANGE_NUMBER,
    )
    await connection.execute(
        """
        INSERT INTO directory.departments (corp_id, department_id, name, path, ancestor_ids,
                                           change_number)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING
        """,
        corp_id,
        ROOT_DEPARTMENT_ID,
        display_name,
        ROOT_PATH,
        [ROOT_DEPARTMENT_ID],
        ROOT_CHANGE_NUMBER,
    )


async def has_corp(connection: Connection, corp_id: str) -> bool:
    """Tell whether the corp has arrived here."""
    return bool(
        await connection.fetchval("SELECT true FROM directory.corps WHERE corp_id = $1", corp_id)
    )


async def lock_corp(connection: Connection, corp_id: str) -> LockedCorp:
    """Wait for every other writer of the corp's rows, and return where its counters stand.

    NO KEY: rows that refer to the corp's can still be checked. Nobody gets here who has not been
    found in the corp; one that the directory has not heard of is UnavailableError CORP_NOT_READY.
    """
    row = await connection.fetchrow(
        """
        SELECT next_department_id, last_change_number
          FROM directory.corps
         WHERE corp_id = $1
           FOR NO KEY UPDATE
        """,
        corp_id,
    )
    if row is None:
        raise corp_not_ready_error()
    return LockedCorp(*row)


async def advance_change_number(connection: Connection, corp_id: str, count: int) -> int:
    """Take ``count`` numbers for changes, return the first. The caller holds the corp's lock."""
    last: int = await connection.fetchval(
        """
        UPDATE directory.corps
           SET last_change_number = last_change_number + $2
         WHERE corp_id = $1
        RETURNING last_change_number
        """,
        corp_id,
        count,
    )
    return last - count + 1
