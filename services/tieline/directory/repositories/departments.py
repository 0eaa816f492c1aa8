"""The tree of departments and who leads them: reading."""

from collections.abc import Collection

from tieline.chassis.postgres import Connection, Record
from tieline.directory.departments.rules import Department
from tieline.directory.departments.tree import Extent, Place
from tieline.directory.visibility.decision import Viewer


def _select(condition: str, order: str) -> str:
    """Return the statement for the departments that the condition finds; $1 is the corp.

    The members of all of them are counted in one pass. Counted for each department, a table that
    was never analyzed would be read as many times as there are departments.
    """
    return f"""
        WITH page AS MATERIALIZED (
            SELECT corp_id, department_id, name, parent_department_id, path, name_en,
                   department_order, ancestor_ids, change_number, create_time, update_time
              FROM directory.departments
             WHERE corp_id = $1 AND {condition}
        ), counted AS (
            SELECT members.department_id, count(*) AS member_count
              FROM directory.members
             WHERE members.corp_id = $1
               AND members.department_id = ANY (ARRAY(SELECT page.department_id FROM page))
               AND members.state <> 'left'
             GROUP BY members.department_id
        )
        SELECT department_id, name, coalesce(parent_department_id, 0) AS parent_department_id, path,
               coalesce(member_count, 0) AS member_count, name_en, department_order,
               ARRAY(SELECT user_id
                       FROM directory.department_leaders AS leader
                      WHERE leader.corp_id = page.corp_id
                        AND leader.department_id = page.department_id
                      ORDER BY leader_order, user_id) AS leader_user_ids,
               ancestor_ids, change_number, create_time, update_time
          FROM page
          LEFT JOIN counted USING (department_id)
         ORDER BY {order}
    """  # noqa: S608 -- conditions and orders are written below


async def has_department(connection: Connection, corp_id: str, department_id: int) -> bool:
    """Tell whether the corp has this department."""
    return bool(
        await connection.fetchval(
            "SELECT true FROM directory.departments WHERE corp_id = $1 AND department_id = $2",
            corp_id,
            department_id,
        )
    )


async def find_departments(
    connection: Connection, corp_id: str, department_ids: Collection[int]
) -> dict[int, Department]:
    """Return those of the departments that exist, by id."""
    records = await connection.fetch(
        _select("department_id = ANY($2::bigint[])", "department_id"),
        corp_id,
        list(department_ids),
    )
    return {record["department_id"]: _to_department(record) for record in records}


async def find_ancestors(
    connection: Connection, corp_id: str, department_ids: Collection[int]
) -> dict[int, tuple[int, ...]]:
    """Return the ids from the root down to each of the departments that exist."""
    records = await connection.fetch(
        """
        SELECT department_id, ancestor_ids
          FROM directory.departments
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[])
        """,
        corp_id,
        list(department_ids),
    )
    return {record["department_id"]: tuple(record["ancestor_ids"]) for record in records}


async def list_departments(
    connection: Connection,
    corp_id: str,
    *,
    viewer: Viewer,
    after_department_id: int,
    limit: int,
) -> list[Department]:
    """Return departments that are shown by id, from behind ``after_department_id`` on."""
    shown = viewer.department_ids
    records = await connection.fetch(
        _select(
            """
            department_id > $2
            AND ($4::bigint[] IS NULL OR department_id = ANY($4::bigint[]))
            ORDER BY department_id
            LIMIT $3
            """,
            "department_id",
        ),
        corp_id,
        after_department_id,
        limit,
        None if shown is None else sorted(shown),
    )
    return [_to_department(record) for record in records]


async def list_subtree(
    connection: Connection, corp_id: str, department_id: int
) -> list[Department]:
    """Return the department and all below it, each after its parent, siblings in their order.

    One statement and so one moment; a corp has at most 30,000 departments.
    """
    records = await connection.fetch(
        _select(
            "$2 = ANY(ancestor_ids)",
            """
            cardinality(ancestor_ids), page.parent_department_id, department_order DESC,
            department_id
            """,
        ),
        corp_id,
        department_id,
    )
    return [_to_department(record) for record in records]


async def list_ids_from(connection: Connection, corp_id: str, first_id: int) -> set[int]:
    """Return the ids of departments from this one on."""
    records = await connection.fetch(
        """
        SELECT department_id
          FROM directory.departments
         WHERE corp_id = $1 AND department_id >= $2
        """,
        corp_id,
        first_id,
    )
    return {record["department_id"] for record in records}


async def find_sibling_by_name(connection: Connection, corp_id: str, path: str) -> int | None:
    """Return the id of the department with this path, or None."""
    department_id: int | None = await connection.fetchval(
        "SELECT department_id FROM directory.departments WHERE corp_id = $1 AND path = $2",
        corp_id,
        path,
    )
    return department_id


async def read_extent(
    connection: Connection, corp_id: str, department_id: int, place: Place
) -> Extent:
    """Return how far the department's subtree reaches."""
    record = await connection.fetchrow(
        """
        SELECT max(cardinality(ancestor_ids)) AS levels, max(length(path)) AS path_characters
          FROM directory.departments
         WHERE corp_id = $1 AND $2 = ANY(ancestor_ids)
        """,
        corp_id,
        department_id,
    )
    assert record is not None, "an aggregate gives a row"
    return Extent(
        levels=record["levels"] - len(place.ancestor_ids),
        path_characters=record["path_characters"] - len(place.path),
    )


async def count_departments(connection: Connection, corp_id: str) -> int:
    """Return how many departments the corp has."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM directory.departments WHERE corp_id = $1", corp_id
    )
    return count


async def count_nodes(connection: Connection, corp_id: str, department_id: int) -> int:
    """Return how many children and members the department has together."""
    count: int = await connection.fetchval(
        """
        SELECT (SELECT count(*)
                  FROM directory.departments
                 WHERE corp_id = $1 AND parent_department_id = $2)
             + (SELECT count(*)
                  FROM directory.member_departments
                 WHERE corp_id = $1 AND department_id = $2)
        """,
        corp_id,
        department_id,
    )
    return count


async def has_children(connection: Connection, corp_id: str, department_id: int) -> bool:
    """Tell whether the department has departments below it."""
    return bool(
        await connection.fetchval(
            """
            SELECT EXISTS (SELECT
                             FROM directory.departments
                            WHERE corp_id = $1 AND parent_department_id = $2)
            """,
            corp_id,
            department_id,
        )
    )


async def has_members(connection: Connection, corp_id: str, department_id: int) -> bool:
    """Tell whether anybody is in the department."""
    return bool(
        await connection.fetchval(
            """
            SELECT EXISTS (SELECT
                             FROM directory.member_departments
                            WHERE corp_id = $1 AND department_id = $2)
            """,
            corp_id,
            department_id,
        )
    )


async def list_below(connection: Connection, corp_id: str, department_id: int) -> list[int]:
    """Return the ids of the departments below this one, parents first."""
    records = await connection.fetch(
        """
        SELECT department_id
          FROM directory.departments
         WHERE corp_id = $1 AND $2 = ANY(ancestor_ids) AND department_id <> $2
         ORDER BY cardinality(ancestor_ids), department_id
        """,
        corp_id,
        department_id,
    )
    return [record["department_id"] for record in records]


def _to_department(record: Record) -> Department:
    values = list(record.values())
    values[7:9] = tuple(values[7]), tuple(values[8])
    return Department(*values)
