"""What decides who sees whom: the versions, the viewer's place, the tree; and the decision in SQL.

`visible` is `visibility.Viewer.can_see` in SQL; a property test holds the two together.
"""

from collections.abc import Collection
from dataclasses import dataclass

from tieline.chassis.postgres import Connection
from tieline.directory.visibility.decision import Person, Scope, Tree, Viewer

# The greatest number of any change to departments, tags or what they hold. Each maximum is the end
# of an index.
_STRUCTURE_NUMBER = """
    greatest(
        corps.visibility_number,
        (SELECT max(change_number) FROM directory.departments WHERE corp_id = $1),
        (SELECT max(change_number) FROM directory.tags WHERE corp_id = $1),
        (SELECT max(change_number) FROM directory.tag_members WHERE corp_id = $1),
        (SELECT max(change_number) FROM directory.tag_departments WHERE corp_id = $1),
        (SELECT max(change_number) FROM directory.removals WHERE corp_id = $1)
    )
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """What a kept decision must have been made at to hold still."""

    visibility_number: int
    """0 for a corp without rules."""

    structure_number: int
    """Of departments, tags and rules together; 0 where nobody needs it."""

    last_change_number: int
    """Of anything in the corp."""


async def find_versions(
    connection: Connection, corp_id: str, user_id: str
) -> tuple[Versions, Person] | None:
    """Return at what the corp is and the viewer's place in it; None for a corp that is not there.

    One statement, so that both are of one moment. In a corp without rules only the numbers count,
    and nothing else is looked up.
    """
    row = await connection.fetchrow(
        f"""
        SELECT corps.visibility_number,
               CASE WHEN corps.visibility_number > 0 THEN {_STRUCTURE_NUMBER} ELSE 0 END
                   AS structure_number,
               corps.last_change_number,
               place.department_ids, place.ancestor_ids, place.tag_ids
          FROM directory.corps
          LEFT JOIN LATERAL (
               WITH own AS MATERIALIZED (
                   SELECT department_id
                     FROM directory.member_departments
                    WHERE corp_id = $1 AND user_id = $2
               ), above AS MATERIALIZED (
                   SELECT DISTINCT unnest(ancestor_ids || department_id) AS department_id
                     FROM directory.departments
                    WHERE corp_id = $1 AND department_id = ANY(ARRAY(SELECT department_id FROM own))
               )
               SELECT ARRAY(SELECT department_id FROM own) AS department_ids,
                      ARRAY(SELECT department_id FROM above) AS ancestor_ids,
                      ARRAY(
                          SELECT tag_id
                            FROM directory.tag_members
                           WHERE corp_id = $1 AND user_id = $2
                           UNION
                          SELECT tag_id
                            FROM directory.tag_departments
                           WHERE corp_id = $1
                             AND department_id = ANY(ARRAY(SELECT department_id FROM above))
                      ) AS tag_ids
          ) AS place ON corps.visibility_number > 0
         WHERE corps.corp_id = $1
        """,  # noqa: S608 -- a constant
        corp_id,
        user_id,
    )
    if row is None:
        return None
    person = Person(
        user_id,
        frozenset(row["department_ids"] or ()),
        frozenset(row["ancestor_ids"] or ()),
        frozenset(row["tag_ids"] or ()),
    )
    versions = Versions(
        row["visibility_number"], row["structure_number"], row["last_change_number"]
    )
    return versions, person


async def find_structure_number(connection: Connection, corp_id: str) -> int:
    """Return the number of the last change to departments, tags or rules."""
    number: int | None = await connection.fetchval(
        f"SELECT {_STRUCTURE_NUMBER} FROM directory.corps WHERE corp_id = $1",  # noqa: S608
        corp_id,
    )
    return number or 0


async def read_tree(connection: Connection, corp_id: str, tag_ids: Collection[int]) -> Tree:
    """Return the corp's departments, and whom these tags hold."""
    departments = await connection.fetch(
        """
        SELECT department_id, ancestor_ids || department_id AS ancestor_ids
          FROM directory.departments
         WHERE corp_id = $1
        """,
        corp_id,
    )
    tagged: dict[int, Scope] = {}
    if tag_ids:
        rows = await connection.fetch(
            """
            SELECT tag_id,
                   ARRAY(SELECT user_id
                           FROM directory.tag_members
                          WHERE corp_id = $1 AND tag_id = tag.tag_id) AS user_ids,
                   ARRAY(SELECT department_id
                           FROM directory.tag_departments
                          WHERE corp_id = $1 AND tag_id = tag.tag_id) AS department_ids
              FROM unnest($2::bigint[]) AS tag (tag_id)
            """,
            corp_id,
            list(tag_ids),
        )
        tagged = {
            row["tag_id"]: Scope(
                user_ids=frozenset(row["user_ids"]),
                department_ids=frozenset(row["department_ids"]),
            )
            for row in rows
        }
    ancestor_ids = {row["department_id"]: frozenset(row["ancestor_ids"]) for row in departments}
    return Tree(ancestor_ids, tagged)


async def has_fewer_members(
    connection: Connection, corp_id: str, department_ids: Collection[int], limit: int
) -> bool:
    """Tell whether fewer than ``limit`` members are in these departments."""
    count: int = await connection.fetchval(
        """
        SELECT count(*)
          FROM (SELECT
                  FROM directory.member_departments
                 WHERE corp_id = $1 AND department_id = ANY($2::bigint[])
                 LIMIT $3) AS found
        """,
        corp_id,
        list(department_ids),
        limit,
    )
    return count < limit


# Statements that have it take this many parameters for it.
PARAMETER_COUNT = 10


def visible(first: int, *, user_id: str, department_ids: str) -> str:
    """Return the condition that a limited viewer sees a row, from parameter ``first`` on.

    ``user_id`` and ``department_ids`` are SQL for the member's, the latter an array of them all.
    `parameters_of` gives the values.
    """
    numbers = range(first, first + PARAMETER_COUNT)
    viewer, full_users, full_departments, *rest = (f"${number}" for number in numbers)
    everybody, leavers, users, departments, no_users, no_departments, within = rest
    return f"""(
        {user_id} = {viewer}
        OR {user_id} = ANY({full_users}::text[])
        OR {department_ids} && {full_departments}::bigint[]
        OR (
            ({everybody}::boolean AND ({leavers}::boolean OR {department_ids} <> '{{}}')
             OR {user_id} = ANY({users}::text[])
             OR {department_ids} && {departments}::bigint[])
            AND {user_id} <> ALL({no_users}::text[])
            AND NOT {department_ids} && {no_departments}::bigint[]
            AND ({within}::bigint[] IS NULL OR {department_ids} <@ {within}::bigint[])
        )
    )"""


def parameters_of(viewer: Viewer) -> tuple[object, ...]:
    """Return the values for the parameters of `visible`."""
    denied = viewer.denied
    return (
        viewer.user_id,
        sorted(viewer.full.user_ids),
        sorted(viewer.full.department_ids),
        viewer.allowed.everybody and not denied.everybody,
        viewer.sees_leavers,
        [] if denied.everybody else sorted(viewer.allowed.user_ids),
        [] if denied.everybody else sorted(viewer.allowed.department_ids),
        sorted(denied.user_ids),
        sorted(denied.department_ids),
        None if viewer.within is None else sorted(viewer.within),
    )


def member_filter(viewer: Viewer, first: int, table: str) -> tuple[str, tuple[object, ...]]:
    """Return the condition that the viewer sees the member that a row is, or belongs to.

    The table has `corp_id` and `user_id`; $1 is the corp. The parameters of the condition follow,
    from ``first`` on. Where the viewer sees but some departments, only their members are looked at.
    """
    if viewer.is_unlimited:
        return "true", ()
    seen = visible(first, user_id=f"{table}.user_id", department_ids="at.department_ids")
    # OFFSET 0 keeps the planner from asking for the departments at each place anew.
    condition = f"""(
        SELECT {seen}
          FROM (SELECT ARRAY(
                    SELECT place.department_id
                      FROM directory.member_departments AS place
                     WHERE place.corp_id = {table}.corp_id AND place.user_id = {table}.user_id
                ) AS department_ids OFFSET 0) AS at
    )"""  # noqa: S608 -- tables are named by the code
    people = viewer.list_candidates()
    if people.everybody:
        return condition, parameters_of(viewer)
    among = f"""{table}.user_id IN (
        SELECT place.user_id
          FROM directory.member_departments AS place
         WHERE place.corp_id = $1
           AND place.department_id = ANY(${first + PARAMETER_COUNT}::bigint[])
         UNION ALL
        SELECT unnest(${first + PARAMETER_COUNT + 1}::text[])
    )"""  # noqa: S608 -- tables are named by the code
    parameters = (
        *parameters_of(viewer),
        sorted(people.department_ids),
        sorted(people.user_ids),
    )
    return f"{among} AND {condition}", parameters


def department_filter(viewer: Viewer, number: int) -> tuple[str, tuple[object, ...]]:
    """Return the condition that a row's `department_id` is shown, with its value if it has one."""
    if viewer.department_ids is None:
        return "true", ()
    return f"department_id = ANY(${number}::bigint[])", (sorted(viewer.department_ids),)


async def list_departments_of(
    connection: Connection, corp_id: str, user_ids: Collection[str]
) -> dict[str, list[int]]:
    """Return all departments of each of the members that exist, by user id."""
    rows = await connection.fetch(
        """
        SELECT user_id,
               ARRAY(SELECT place.department_id
                       FROM directory.member_departments AS place
                      WHERE place.corp_id = members.corp_id AND place.user_id = members.user_id)
                   AS department_ids
          FROM directory.members
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
        """,
        corp_id,
        list(user_ids),
    )
    return {row["user_id"]: row["department_ids"] for row in rows}
