"""What the indexer reads and writes: members that changed, and what finds them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from tieline.chassis.packed_arrays import pack_numbers
from tieline.chassis.postgres import Connection, Record
from tieline.directory.search.terms import FORM, SearchedMember, SearchEntry


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the indexer is in a corp."""

    indexed: int
    """Members changed up to this number can be found."""

    last: int
    """The corp's last change."""


@dataclass(frozen=True, slots=True)
class ChangedMember:
    """A member to be made searchable, or not any more."""

    member: SearchedMember
    department_ids: tuple[int, ...]
    has_left: bool
    change_number: int
    terms: tuple[str, ...]
    """Those that find the member so far."""


async def find_progress(connection: Connection, corp_id: str) -> Progress:
    """Return how far the corp is, without waiting for who makes it go on."""
    row = await connection.fetchrow(
        """
        SELECT coalesce(CASE WHEN progress.form >= $2 THEN progress.change_number END, -1)
                   AS indexed,
               corps.last_change_number
          FROM directory.corps
          LEFT JOIN directory.search_progress AS progress ON progress.corp_id = corps.corp_id
         WHERE corps.corp_id = $1
        """,
        corp_id,
        FORM,
    )
    return Progress(-1, -1) if row is None else Progress(*row)


async def list_waiting_corps(connection: Connection, limit: int) -> list[str]:
    """Return corps that have changed since the indexer was there; reads those changes alone."""
    rows = await connection.fetch(
        "SELECT DISTINCT corp_id FROM directory.search_waiting LIMIT $1", limit
    )
    return [row["corp_id"] for row in rows]


async def list_corps_behind(connection: Connection, limit: int) -> list[str]:
    """Return corps in which somebody can't be found yet, waiting or not.

    Reads a line of every corp. Finds what a program left behind that made entries differently or
    did not tell of its changes.
    """
    rows = await connection.fetch(
        """
        SELECT corps.corp_id
          FROM directory.corps
          LEFT JOIN directory.search_progress AS progress ON progress.corp_id = corps.corp_id
         WHERE corps.delete_time IS NULL
           AND (progress.form IS DISTINCT FROM greatest(progress.form, $1)
                OR progress.change_number < corps.last_change_number)
         LIMIT $2
        """,
        FORM,
        limit,
    )
    return [row["corp_id"] for row in rows]


async def lock_progress(connection: Connection, corp_id: str) -> Progress:
    """Wait for whoever is indexing the corp; then be the one who does."""
    await connection.execute(
        """
        INSERT INTO directory.search_progress AS progress (corp_id, form)
        VALUES ($1, $2)
        ON CONFLICT ON CONSTRAINT search_progress_pkey
        DO UPDATE SET form = excluded.form, change_number = -1
         WHERE progress.form < excluded.form
        """,
        corp_id,
        FORM,
    )
    indexed: int = await connection.fetchval(
        "SELECT change_number FROM directory.search_progress WHERE corp_id = $1 FOR UPDATE", corp_id
    )
    # Read before the members: all changes up to this number are committed.
    last: int | None = await connection.fetchval(
        "SELECT last_change_number FROM directory.corps WHERE corp_id = $1", corp_id
    )
    return Progress(indexed, -1 if last is None else last)


async def store_progress(connection: Connection, corp_id: str, indexed: int) -> None:
    """Say that changes up to this number are indexed."""
    await connection.execute(
        """
        WITH done AS (
            DELETE FROM directory.search_waiting WHERE corp_id = $1 AND change_number <= $2
        )
        UPDATE directory.search_progress SET change_number = $2 WHERE corp_id = $1
        """,
        corp_id,
        indexed,
    )


async def list_changed(
    connection: Connection, corp_id: str, progress: Progress, limit: int
) -> list[ChangedMember]:
    """Return members that changed, in the order of the changes; some more with the last number."""
    rows = await connection.fetch(
        """
        SELECT members.user_id, name, alias, position, mobile, email, biz_email,
               ARRAY(SELECT place.department_id
                       FROM directory.member_departments AS place
                      WHERE place.corp_id = members.corp_id AND place.user_id = members.user_id)
                   AS department_ids,
               state = 'left' AS has_left, change_number, entries.terms
          FROM directory.members
          LEFT JOIN directory.search_entries AS entries
            ON entries.corp_id = members.corp_id AND entries.user_id = members.user_id
         WHERE members.corp_id = $1 AND change_number > $2 AND change_number <= $3
         ORDER BY change_number
         FETCH FIRST $4 ROWS WITH TIES
        """,
        corp_id,
        progress.indexed,
        progress.last,
        limit,
    )
    return [_read_changed(row) for row in rows]


def _read_changed(row: Record) -> ChangedMember:
    return ChangedMember(
        SearchedMember(*row[:7]),
        tuple(row["department_ids"]),
        row["has_left"],
        row["change_number"],
        tuple(row["terms"] or ()),
    )


async def delete_terms(
    connection: Connection, corp_id: str, terms: Iterable[tuple[str, str]]
) -> None:
    """Remove terms of members, each as (term, user id)."""
    ordered = sorted(terms)
    if ordered:
        await connection.execute(
            """
            DELETE FROM directory.search_terms AS old
             USING unnest($2::text[], $3::text[]) AS given (term, user_id)
             WHERE old.corp_id = $1 AND old.term = given.term AND old.user_id = given.user_id
            """,
            corp_id,
            *_columns(ordered),
        )


async def insert_terms(
    connection: Connection, corp_id: str, terms: Iterable[tuple[str, str]]
) -> None:
    """Add terms of members, each as (term, user id)."""
    # In the order of the index, whose pages are then visited once.
    ordered = sorted(terms)
    if ordered:
        await connection.execute(
            """
            INSERT INTO directory.search_terms (corp_id, term, user_id)
            SELECT $1, term, user_id FROM unnest($2::text[], $3::text[]) AS given (term, user_id)
            ON CONFLICT ON CONSTRAINT search_terms_pkey DO NOTHING
            """,
            corp_id,
            *_columns(ordered),
        )


def _columns(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [term for term, _ in pairs], [user_id for _, user_id in pairs]


async def delete_entries(connection: Connection, corp_id: str, user_ids: Sequence[str]) -> None:
    """Remove the entries of members."""
    await connection.execute(
        "DELETE FROM directory.search_entries WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        corp_id,
        user_ids,
    )


async def upsert_entries(
    connection: Connection,
    corp_id: str,
    entries: Sequence[tuple[str, Sequence[int], SearchEntry]],
) -> None:
    """Write the entries of members, each with the user id and the departments."""
    await connection.execute(
        """
        INSERT INTO directory.search_entries
               (corp_id, user_id, place, department_ids, body, terms, grams)
        SELECT $1, user_id, place, department_ids::bigint[], body,
               string_to_array(terms, E'\\x1f'), grams::integer[]
          FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
               AS entry (user_id, place, department_ids, body, terms, grams)
        ON CONFLICT ON CONSTRAINT search_entries_pkey
        DO UPDATE SET
               department_ids = excluded.department_ids,
               body = excluded.body,
               terms = excluded.terms,
               grams = excluded.grams
        """,
        corp_id,
        list(map(itemgetter(0), entries)),
        [entry.place for _, _, entry in entries],
        # Arrays of arrays must be rectangular, so these go as texts.
        [pack_numbers(department_ids) for _, department_ids, _ in entries],
        [entry.text for _, _, entry in entries],
        ["\x1f".join(entry.terms) for _, _, entry in entries],
        [pack_numbers(entry.grams) for _, _, entry in entries],
    )
