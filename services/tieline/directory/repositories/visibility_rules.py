"""A corp's visibility rules."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from tieline.chassis.postgres import Connection
from tieline.directory.visibility.decision import Rule
from tieline.directory.visibility.rules import read_rule


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule as it is stored."""

    rule_id: str
    contents: bytes
    """A serialized VisibilityRule without what the other fields hold."""

    change_number: int
    create_time: dt.datetime
    update_time: dt.datetime


async def list_all(connection: Connection, corp_id: str) -> list[Rule]:
    """Return all rules of the corp, as they are evaluated."""
    rows = await connection.fetch(
        "SELECT contents FROM directory.visibility_rules WHERE corp_id = $1", corp_id
    )
    return [read_rule(row["contents"]) for row in rows]


async def count(connection: Connection, corp_id: str) -> int:
    """Return how many rules the corp has."""
    number: int = await connection.fetchval(
        "SELECT count(*) FROM directory.visibility_rules WHERE corp_id = $1", corp_id
    )
    return number


async def list_page(
    connection: Connection, corp_id: str, *, after_rule_id: str, limit: int
) -> list[StoredRule]:
    """Return rules in the order in which they were made, from behind ``after_rule_id`` on."""
    rows = await connection.fetch(
        """
        SELECT rule_id, contents, change_number, create_time, update_time
          FROM directory.visibility_rules
         WHERE corp_id = $1 AND rule_id > $2
         ORDER BY rule_id
         LIMIT $3
        """,
        corp_id,
        after_rule_id,
        limit,
    )
    return [StoredRule(*row) for row in rows]


async def find(connection: Connection, corp_id: str, rule_id: str) -> StoredRule | None:
    """Return the rule, if there is one."""
    row = await connection.fetchrow(
        """
        SELECT rule_id, contents, change_number, create_time, update_time
          FROM directory.visibility_rules
         WHERE corp_id = $1 AND rule_id = $2
        """,
        corp_id,
        rule_id,
    )
    return None if row is None else StoredRule(*row)


async def upsert(
    connection: Connection,
    corp_id: str,
    rule_id: str,
    *,
    display_name: str,
    kind: str,
    contents: bytes,
    change_number: int,
) -> StoredRule:
    """Write the rule. The caller holds the corp's lock and has taken the number."""
    row = await connection.fetchrow(
        """
        INSERT INTO directory.visibility_rules
               (corp_id, rule_id, display_name, kind, contents, change_number)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT ON CONSTRAINT visibility_rules_pkey
        DO UPDATE SET
               display_name = excluded.display_name,
               contents = excluded.contents,
               change_number = excluded.change_number,
               update_time = now()
        RETURNING rule_id, contents, change_number, create_time, update_time
        """,
        corp_id,
        rule_id,
        display_name,
        kind,
        contents,
        change_number,
    )
    assert row is not None, "an upsert returns its row"
    return StoredRule(*row)


async def delete(connection: Connection, corp_id: str, rule_id: str) -> None:
    """Remove the rule. The caller holds the corp's lock."""
    await connection.execute(
        "DELETE FROM directory.visibility_rules WHERE corp_id = $1 AND rule_id = $2",
        corp_id,
        rule_id,
    )


async def mark_changed(connection: Connection, corp_id: str, change_number: int) -> None:
    """Have every reader read the rules anew. The caller holds the corp's lock."""
    await connection.execute(
        "UPDATE directory.corps SET visibility_number = $2 WHERE corp_id = $1",
        corp_id,
        change_number,
    )


@dataclass(frozen=True, slots=True)
class Missing:
    """Of what a rule names, what the corp does not have."""

    user_ids: frozenset[str]
    department_ids: frozenset[int]
    tag_ids: frozenset[int]


async def find_missing(
    connection: Connection,
    corp_id: str,
    user_ids: Collection[str],
    department_ids: Collection[int],
    tag_ids: Collection[int],
) -> Missing:
    """Return which of these the corp does not have."""
    row = await connection.fetchrow(
        """
        SELECT ARRAY(SELECT unnest($2::text[])
                     EXCEPT
                     SELECT user_id FROM directory.members
                      WHERE corp_id = $1 AND user_id = ANY($2::text[])),
               ARRAY(SELECT unnest($3::bigint[])
                     EXCEPT
                     SELECT department_id FROM directory.departments
                      WHERE corp_id = $1 AND department_id = ANY($3::bigint[])),
               ARRAY(SELECT unnest($4::bigint[])
                     EXCEPT
                     SELECT tag_id FROM directory.tags
                      WHERE corp_id = $1 AND tag_id = ANY($4::bigint[]))
        """,
        corp_id,
        list(user_ids),
        list(department_ids),
        list(tag_ids),
    )
    assert row is not None, "a SELECT without FROM has one row"
    return Missing(*(frozenset(ids) for ids in row))
