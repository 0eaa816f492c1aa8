"""The statements of a search, each bounded by what a page needs, not by what matches.

Each returns where members stand among the results, from behind a position on, and leaves out those
who stand further ahead. `SearchPosition.key` is the term of the closest two, the place of the
third, the department of the last.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tieline.chassis.postgres import Connection, Record
from tieline.directory.members.rules import SearchPosition
from tieline.directory.repositories.search_query import Conditions, SearchQuery
from tieline.directory.search.terms import (
    BEGINNING,
    LATER_PART,
    list_department_grams,
    list_grams,
    range_of,
)

# Places are 32-bit numbers; as keys they are counted from 0 and padded, to be in order as texts.
_PLACE_OFFSET = 2**31
_KEY_DIGITS = 20

_PARTS = (BEGINNING, LATER_PART)

BEGINS, BEGINS_LATER, HOLDS, IN_DEPARTMENT = range(4)


# Of a table that has grown since its statistics the planner expects a handful of rows: reading and
# sorting them all seems as good to it as reading in the order of an index, which ends with the
# page. What is found by grams has no order and is sorted all the same. With that given, nothing is
# left to plan anew for each query, which took a sixth of the time.
SESSION_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "enable_sort": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "enable_seqscan": "off",
        "plan_cache_mode": "force_generic_plan",
    }
)
"""Of the connections on which searches run, from their start: to set them takes a round trip."""


def _no_term(conditions: Conditions) -> str:
    """Return that no term makes the entry stand further ahead, and none of the later parts.

    $2 and $3 are the bounds of beginnings, $4 and $5 of later parts.
    """
    return f"""
        NOT EXISTS (
            SELECT
              FROM unnest(entry.terms) AS ahead (term)
             WHERE (ahead.term >= $2 AND ahead.term < $3 OR ahead.term >= $4 AND ahead.term < $5)
               AND {conditions.shows_term("ahead.term")}
        )
    """  # noqa: S608 -- conditions are the code's


async def list_by_term(
    connection: Connection, query: SearchQuery, closeness: int, *, after: SearchPosition, limit: int
) -> list[SearchPosition]:
    """Return members with a term of this closeness that begins with the query, by term."""
    begin, end = range_of(_PARTS[closeness], query.joined)
    ahead_begin, ahead_end = range_of(BEGINNING, query.joined)
    is_later = after.closeness == closeness
    conditions = query.conditions(8)
    rows = await connection.fetch(
        f"""
        SELECT found.term, found.user_id
          FROM directory.search_terms AS found
          JOIN directory.search_entries AS entry
            ON entry.corp_id = found.corp_id AND entry.user_id = found.user_id
         WHERE found.corp_id = $1
           -- The position is at the range's beginning or in it: one bound, where the scan begins.
           AND (found.term, found.user_id) > ($2::text COLLATE "C", $3::text COLLATE "C")
           AND found.term < $4
           -- Millions of numbers begin with one digit: of those that nobody is shown the index
           -- alone is read.
           AND {conditions.may_be_shown}
           AND NOT EXISTS (
               SELECT
                 FROM unnest(entry.terms) AS ahead (term)
                WHERE (ahead.term >= $5 AND ahead.term < $6
                       OR ahead.term >= $7 AND ahead.term < found.term)
                  AND {conditions.shows_term("ahead.term")}
           )
           AND {conditions.shows_term("found.term")}
           AND {conditions.seen}
         ORDER BY found.term, found.user_id
         LIMIT {limit:d}
        """,  # noqa: S608 -- parameters are numbered, the limit is a number
        query.corp_id,
        after.key if is_later else begin,
        after.user_id if is_later else "",
        end,
        ahead_begin,
        # Of beginnings those that come first in the order alone, of later parts all beginnings.
        ahead_end if closeness else ahead_begin,
        begin,
        *conditions.parameters,
        *conditions.marks_of_all,
    )
    return [SearchPosition(closeness, row["term"], row["user_id"]) for row in rows]


async def list_sample(
    connection: Connection, query: SearchQuery, *, after: SearchPosition, size: int
) -> tuple[list[SearchPosition], SearchPosition | None]:
    """Look through the next entries by place for the query, whatever they hold.

    Returns whom it found, and how far it came; None at the end of the corp.
    """
    conditions = query.conditions(9)
    is_found = f"{conditions.holds('$8')} AND {_no_term(conditions)} AND {conditions.seen}"
    rows = await connection.fetch(
        f"""
        SELECT place, user_id, is_last,
               {is_found} AS is_found
          FROM (SELECT user_id, place, body, terms, department_ids,
                       row_number() OVER (ORDER BY place, user_id) = {size:d} AS is_last
                  FROM directory.search_entries
                 WHERE corp_id = $1 AND (place, user_id) > ($6, $7::text COLLATE "C")
                 ORDER BY place, user_id
                 LIMIT {size:d}) AS entry
         WHERE is_last OR {is_found}
         ORDER BY place, user_id
        """,  # noqa: S608 -- parameters are numbered, the size is a number
        query.corp_id,
        *_bounds(query),
        *_place_of(after),
        query.text,
        *conditions.parameters,
    )
    found = [_at_place(row) for row in rows if row["is_found"]]
    is_end = not rows or not rows[-1]["is_last"]
    return found, None if is_end else _at_place(rows[-1])


async def list_by_gram(
    connection: Connection, query: SearchQuery, *, after: SearchPosition, limit: int
) -> list[SearchPosition]:
    """Return members whose texts hold the query, by place; reads all of them."""
    grams = list_grams(query.corp_id, query.text)
    conditions = query.conditions(10)
    rows = await connection.fetch(
        f"""
        SELECT place, user_id
          FROM directory.search_entries AS entry
         -- Under another collation no index of corps serves: before statistics tell better the
         -- planner would read the whole corp.
         WHERE corp_id COLLATE "POSIX" = $1
           AND grams @> $9::integer[]
           AND {conditions.holds("$8")}
           AND (place, user_id) > ($6, $7::text COLLATE "C")
           AND {_no_term(conditions)}
           AND {conditions.seen}
         ORDER BY place, user_id
         LIMIT {limit:d}
        """,  # noqa: S608 -- parameters are numbered, the limit is a number
        query.corp_id,
        *_bounds(query),
        *_place_of(after),
        query.text,
        grams,
        *conditions.parameters,
    )
    return [_at_place(row) for row in rows]


async def list_departments_by_path(connection: Connection, query: SearchQuery) -> list[int]:
    """Return the departments whose path holds the query, by id. Reads all paths of the corp."""
    rows = await connection.fetch(
        """
        SELECT department_id
          FROM directory.departments
         WHERE corp_id = $1 AND strpos(lower(path), $2) > 0
         ORDER BY department_id
        """,
        query.corp_id,
        query.text,
    )
    return [row["department_id"] for row in rows]


async def list_by_department(
    connection: Connection,
    query: SearchQuery,
    department_ids: Sequence[int],
    *,
    after: SearchPosition,
    limit: int,
) -> list[SearchPosition]:
    """Return members of these departments, which are in order, by department."""
    if not department_ids:
        return []
    is_later = after.closeness == IN_DEPARTMENT
    conditions = query.conditions(10)
    rows = await connection.fetch(
        f"""
        SELECT found.department_id, found.user_id
          FROM unnest($9::bigint[]) AS department (department_id)
         CROSS JOIN LATERAL (
               SELECT place.department_id, place.user_id
                 FROM directory.member_departments AS place
                 JOIN directory.search_entries AS entry
                   ON entry.corp_id = place.corp_id AND entry.user_id = place.user_id
                WHERE place.corp_id = $1
                  AND place.department_id = department.department_id
                  AND (place.department_id, place.user_id) > ($6, $7::text COLLATE "C")
                  AND NOT coalesce({conditions.holds("$8")}, false)
                  AND {_no_term(conditions)}
                  AND NOT EXISTS (
                      SELECT
                        FROM unnest(entry.department_ids) AS ahead (department_id)
                       WHERE ahead.department_id = ANY($9::bigint[])
                         AND ahead.department_id < place.department_id
                  )
                  AND {conditions.seen}
                ORDER BY place.user_id
                LIMIT {limit:d}
         ) AS found
         WHERE department.department_id >= $6
         LIMIT {limit:d}
        """,  # noqa: S608 -- parameters are numbered, the limit is a number
        query.corp_id,
        *_bounds(query),
        int(after.key) if is_later else 0,
        after.user_id if is_later else "",
        query.held,
        department_ids,
        *conditions.parameters,
    )
    return [
        SearchPosition(IN_DEPARTMENT, _write_number(row["department_id"]), row["user_id"])
        for row in rows
    ]


# Everybody in these departments, $6, and these members, $7. By the departments' grams the rows are
# read once each; the other way, for entries of an earlier form, each is looked up by its key, which
# takes twice the time. The collation keeps the planner from reading the corp (see `list_by_gram`).
_ENTRY = "user_id, place, department_ids, body, terms"
_FEW_BY_GRAM = f"""
    SELECT {_ENTRY}
      FROM directory.search_entries
     WHERE corp_id COLLATE "POSIX" = $1 AND grams && $6::integer[]
     UNION ALL
    SELECT {_ENTRY}
      FROM (SELECT DISTINCT unnest($7::text[])) AS named (user_id)
      JOIN directory.search_entries USING (user_id)
     WHERE corp_id = $1 AND NOT grams && $6::integer[]
"""  # noqa: S608 -- columns are named above
_FEW_BY_PLACE = """
    SELECT entry.user_id, entry.place, entry.department_ids, entry.body, entry.terms
      FROM (SELECT place.user_id
              FROM directory.member_departments AS place
             WHERE place.corp_id = $1 AND place.department_id = ANY($6::bigint[])
             UNION
            SELECT unnest($7::text[])) AS candidate (user_id)
      JOIN directory.search_entries AS entry
        ON entry.corp_id = $1 AND entry.user_id = candidate.user_id
"""


async def list_among_few(
    connection: Connection,
    query: SearchQuery,
    department_ids: Sequence[int],
    *,
    after: SearchPosition,
    limit: int,
) -> list[SearchPosition]:
    """Return what the others together return, by looking at everybody whom a viewer may see.

    ``department_ids`` are those whose path holds the query.
    """
    people = query.viewer.list_candidates()
    candidates, within = _FEW_BY_PLACE, sorted(people.department_ids)
    if query.is_indexed:
        candidates = _FEW_BY_GRAM
        within = list_department_grams(query.corp_id, within)
    conditions = query.conditions(13)
    holds = conditions.holds("$8")
    rows = await connection.fetch(
        f"""
        SELECT closeness, key, user_id
          FROM (SELECT entry.user_id, match.*
                  FROM ({candidates}) AS entry
                 CROSS JOIN LATERAL (
                       SELECT min(term) FILTER (WHERE term >= $2 AND term < $3) AS beginning,
                              min(term) FILTER (WHERE term >= $4 AND term < $5) AS later
                         FROM unnest(entry.terms) AS terms (term)
                        WHERE {conditions.shows_term("term")}
                 ) AS by_term
                 CROSS JOIN LATERAL (
                       SELECT CASE WHEN by_term.beginning IS NOT NULL THEN {BEGINS}
                                   WHEN by_term.later IS NOT NULL THEN {BEGINS_LATER}
                                   WHEN {holds} THEN {HOLDS}
                                   ELSE {IN_DEPARTMENT} END AS closeness,
                              coalesce(
                                  by_term.beginning,
                                  by_term.later,
                                  CASE WHEN {holds}
                                       THEN lpad((place + {_PLACE_OFFSET})::text,
                                                 {_KEY_DIGITS}, '0')
                                       ELSE (SELECT lpad(min(each)::text, {_KEY_DIGITS}, '0')
                                               FROM unnest(entry.department_ids) AS each
                                              WHERE each = ANY($9::bigint[]))
                                  END
                              ) COLLATE "C" AS key
                 ) AS match
                 -- Most are found out here, before their terms are looked at one by one.
                 WHERE (strpos(entry.body, $8) > 0
                        OR entry.department_ids && $9::bigint[]
                        OR strpos(E'\\x1f' || array_to_string(entry.terms, E'\\x1f'),
                                  E'\\x1f' || $2) > 0
                        OR strpos(array_to_string(entry.terms, E'\\x1f'), E'\\x1f' || $4) > 0)
                   AND {conditions.seen}) AS found
         WHERE key IS NOT NULL
           AND (closeness, key, user_id) > ($10, $11::text COLLATE "C", $12::text COLLATE "C")
         ORDER BY closeness, key, user_id
         LIMIT {limit:d}
        """,  # noqa: S608 -- parameters are numbered, the rest are constants and numbers
        query.corp_id,
        *_bounds(query),
        within,
        sorted(people.user_ids),
        query.held,
        department_ids,
        *after,
        *conditions.parameters,
    )
    return [SearchPosition(*row) for row in rows]


def _bounds(query: SearchQuery) -> tuple[str, str, str, str]:
    return (*range_of(BEGINNING, query.joined), *range_of(LATER_PART, query.joined))


def _place_of(position: SearchPosition) -> tuple[int, str]:
    if position.closeness != HOLDS:
        return -_PLACE_OFFSET, ""
    return int(position.key) - _PLACE_OFFSET, position.user_id


def _at_place(row: Record) -> SearchPosition:
    return SearchPosition(HOLDS, _write_number(row["place"] + _PLACE_OFFSET), row["user_id"])


def _write_number(number: int) -> str:
    return f"{number:0{_KEY_DIGITS}d}"
