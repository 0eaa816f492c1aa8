"""Corps, as identity's events tell of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.errors import UnavailableError
from tieline.chassis.postgres import Connection
from tieline.directory.departments.rules import ROOT_DEPARTMENT_ID, ROOT_PATH

# The event of a corp's creation takes milliseconds to get here.
_CORP_RETRY_AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class LockedCorp:
    """A corp whose rows nobody else writes until the transaction ends."""

    next_department_id: int
    last_change_number: int
    owner_user_id: str
    """Empty where it is not known."""

    next_tag_id: int


def corp_not_ready_error() -> UnavailableError:
    """Return the error of a corp that the directory has not heard of yet."""
    return UnavailableError(
        "CORP_NOT_READY",
        "the directory has not heard of the corp yet",
        retry_after_s=_CORP_RETRY_AFTER_S,
    )


async def insert_corp(
    connection: Connection, corp_id: str, display_name: str, owner_user_id: str
) -> bool:
    """Add the corp and its root department; False where they are there already."""
    is_new = await connection.fetchval(
        """
        INSERT INTO directory.corps (corp_id, owner_user_id, last_change_number)
        VALUES ($1, $2, 1)
        ON CONFLICT ON CONSTRAINT corps_pkey DO NOTHING
        RETURNING true
        """,
        corp_id,
        owner_user_id,
    )
    if not is_new:
        return False
    await connection.execute(
        """
        INSERT INTO directory.departments
               (corp_id, department_id, name, path, ancestor_ids, change_number)
        VALUES ($1, $2, $3, $4, ARRAY[$2::bigint], 1)
        """,
        corp_id,
        ROOT_DEPARTMENT_ID,
        display_name,
        ROOT_PATH,
    )
    return True


async def has_corp(connection: Connection, corp_id: str) -> bool:
    """Tell whether the corp has arrived here and is not gone."""
    return bool(
        await connection.fetchval(
            "SELECT true FROM directory.corps WHERE corp_id = $1 AND delete_time IS NULL", corp_id
        )
    )


async def lock_corp(connection: Connection, corp_id: str) -> LockedCorp:
    """Wait for every other writer of the corp's rows, and return where its counters stand.

    NO KEY: rows that refer to the corp's can still be checked. Nobody gets here who has not been
    found in the corp; one that the directory has not heard of is UnavailableError CORP_NOT_READY.
    """
    row = await connection.fetchrow(
        """
        SELECT next_department_id, last_change_number, owner_user_id, next_tag_id
          FROM directory.corps
         WHERE corp_id = $1 AND delete_time IS NULL
           FOR NO KEY UPDATE
        """,
        corp_id,
    )
    if row is None:
        raise corp_not_ready_error()
    return LockedCorp(*row)


async def advance_change_number(connection: Connection, corp_id: str, count: int) -> int:
    """Take ``count`` numbers for changes, return the first. The caller holds the corp's lock.

    The search's indexer is told that the corp waits for it.
    """
    last: int = await connection.fetchval(
        """
        WITH taken AS (
            UPDATE directory.corps
               SET last_change_number = last_change_number + $2
             WHERE corp_id = $1
            RETURNING last_change_number
        ), told AS (
            INSERT INTO directory.search_waiting (corp_id, change_number)
            SELECT $1, last_change_number FROM taken
        )
        SELECT last_change_number FROM taken
        """,
        corp_id,
        count,
    )
    return last - count + 1


async def raise_next_department_id(connection: Connection, corp_id: str, used: int) -> None:
    """Have ids that are made from now on be above ``used``."""
    await connection.execute(
        """
        UPDATE directory.corps
           SET next_department_id = greatest(next_department_id, $2 + 1)
         WHERE corp_id = $1
        """,
        corp_id,
        used,
    )


async def raise_next_tag_id(connection: Connection, corp_id: str, used: int) -> None:
    """Have ids that are made from now on be above ``used``."""
    await connection.execute(
        """
        UPDATE directory.corps
           SET next_tag_id = greatest(next_tag_id, $2 + 1)
         WHERE corp_id = $1
        """,
        corp_id,
        used,
    )


async def insert_removals(
    connection: Connection,
    corp_id: str,
    kind: str,
    resource_ids: Sequence[str],
    first_change_number: int,
) -> None:
    """Leave a tombstone of each, with numbers from ``first_change_number`` on."""
    await connection.execute(
        """
        INSERT INTO directory.removals (corp_id, change_number, kind, resource_id)
        SELECT $1, $4 + row_number - 1, $2, resource_id
          FROM unnest($3::text[]) WITH ORDINALITY AS removed (resource_id, row_number)
        """,
        corp_id,
        kind,
        list(resource_ids),
        first_change_number,
    )


async def note_corp(
    connection: Connection, corp_id: str, owner_user_id: str, *, is_active: bool
) -> None:
    """Keep who owns the corp and whether it is active; one that is not here is not made."""
    await connection.execute(
        "UPDATE directory.corps SET owner_user_id = $2, is_active = $3 WHERE corp_id = $1",
        corp_id,
        owner_user_id,
        is_active,
    )


async def is_active(connection: Connection, corp_id: str) -> bool:
    """Tell whether the corp is neither suspended nor about to be deleted."""
    return bool(
        await connection.fetchval(
            "SELECT is_active FROM directory.corps WHERE corp_id = $1", corp_id
        )
    )


async def mark_deleted(connection: Connection, corp_id: str) -> None:
    """Have the corp be gone; one that is not here stays unknown when its creation comes late.

    Its members need not be made searchable any more.
    """
    await connection.execute("DELETE FROM directory.search_waiting WHERE corp_id = $1", corp_id)
    await connection.execute(
        """
        INSERT INTO directory.corps (corp_id, delete_time)
        VALUES ($1, now())
        ON CONFLICT ON CONSTRAINT corps_pkey
        DO UPDATE SET delete_time = coalesce(corps.delete_time, now())
        """,
        corp_id,
    )
