"""The tree of departments and who leads them."""

from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.directory.department_tree import Extent, Place
from tieline.directory.departments import Department

_SELECT = """
    SELECT department_id, name, coalesce(parent_department_id, 0) AS parent_department_id, path,
           (SELECT count(*)
              FROM directory.members
             WHERE members.corp_id = departments.corp_id
               AND members.department_id = departments.department_id
               AND members.state <> 'left') AS member_count,
           name_en, department_order,
           ARRAY(SELECT user_id
                   FROM directory.department_leaders AS leader
                  WHERE leader.corp_id = departments.corp_id
                    AND leader.department_id = departments.department_id
                  ORDER BY leader_order, user_id) AS leader_user_ids,
           ancestor_ids, change_number, create_time, update_time
      FROM directory.departments
"""


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
        _SELECT + "WHERE corp_id = $1 AND department_id = ANY($2::bigint[])",
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
    connection: Connection, corp_id: str, *, after_department_id: int, limit: int
) -> list[Department]:
    """Return departments by id, from behind ``after_department_id`` on."""
    records = await connection.fetch(
        _SELECT + "WHERE corp_id = $1 AND department_id > $2 ORDER BY department_id LIMIT $3",
        corp_id,
        after_department_id,
        limit,
    )
    return [_to_department(record) for record in records]


async def list_subtree(
    connection: Connection, corp_id: str, department_id: int
) -> list[Department]:
    """Return the department and all below it, each after its parent, siblings in their order.

    One statement and so one moment; a corp has at most 30,000 departments.
    """
    records = await connection.fetch(
        _SELECT
        + """
        WHERE corp_id = $1 AND $2 = ANY(ancestor_ids)
        ORDER BY cardinality(ancestor_ids), parent_department_id, department_order DESC,
                 department_id
        """,
        corp_id,
        department_id,
    )
    return [_to_department(record) for record in records]


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


async def insert_department(
    connection: Connection,
    corp_id: str,
    department_id: int,
    place: Place,
    *,
    name: str,
    name_en: str,
    order: int,
    change_number: int,
) -> None:
    """Add a department."""
    await connection.execute(
        """
        INSERT INTO directory.departments
               (corp_id, department_id, parent_department_id, name, path, name_en,
                department_order, ancestor_ids, change_number)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        corp_id,
        department_id,
        place.ancestor_ids[-2],
        name,
        place.path,
        name_en,
        order,
        list(place.ancestor_ids),
        change_number,
    )


async def update_department(
    connection: Connection,
    corp_id: str,
    department_id: int,
    *,
    name: str,
    name_en: str,
    order: int,
    change_number: int,
) -> None:
    """Change what of a department is its own; its place is ``move_subtree``'s."""
    await connection.execute(
        """
        UPDATE directory.departments
           SET name = $3, name_en = $4, department_order = $5, change_number = $6,
               update_time = now()
         WHERE corp_id = $1 AND department_id = $2
        """,
        corp_id,
        department_id,
        name,
        name_en,
        order,
        change_number,
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


async def move_subtree(
    connection: Connection,
    corp_id: str,
    department_ids: Sequence[int],
    old_top: Place,
    new_top: Place,
    first_change_number: int,
) -> None:
    """Give the departments of a subtree their new paths and ancestors, the top's parent with it.

    ``department_ids`` begins with the top; numbers are given in its order. No path that comes to be
    is there already, since every one begins with the top's new path.
    """
    await connection.execute(
        """
        UPDATE directory.departments
           SET path = $5 || substr(path, length($4) + 1),
               ancestor_ids = $7::bigint[] || ancestor_ids[$6 + 1:],
               parent_department_id = CASE
                   WHEN department_id = $3 THEN ($7::bigint[])[cardinality($7::bigint[]) - 1]
                   ELSE parent_department_id
               END,
               change_number = $8 + moved.row_number - 1,
               update_time = now()
          FROM unnest($2::bigint[]) WITH ORDINALITY AS moved (moved_id, row_number)
         WHERE corp_id = $1 AND department_id = moved.moved_id
        """,
        corp_id,
        list(department_ids),
        department_ids[0],
        old_top.path,
        new_top.path,
        len(old_top.ancestor_ids),
        list(new_top.ancestor_ids),
        first_change_number,
    )


async def replace_leaders(
    connection: Connection, corp_id: str, department_id: int, user_ids: Sequence[str]
) -> list[str]:
    """Have these members, in this order, lead the department; return whose mark changed."""
    await connection.execute(
        "DELETE FROM directory.department_leaders WHERE corp_id = $1 AND department_id = $2",
        corp_id,
        department_id,
    )
    await connection.execute(
        """
        INSERT INTO directory.department_leaders (corp_id, department_id, user_id, leader_order)
        SELECT $1, $2, user_id, leader_order
          FROM unnest($3::text[]) WITH ORDINALITY AS leader (user_id, leader_order)
        """,
        corp_id,
        department_id,
        list(user_ids),
    )
    records = await connection.fetch(
        """
        UPDATE directory.member_departments
           SET is_leader = NOT is_leader
         WHERE corp_id = $1 AND department_id = $2
           AND is_leader <> (user_id = ANY($3::text[]))
        RETURNING user_id
        """,
        corp_id,
        department_id,
        list(user_ids),
    )
    return sorted(record["user_id"] for record in records)


async def touch_departments(
    connection: Connection,
    corp_id: str,
    department_ids: Sequence[int],
    first_change_number: int,
) -> None:
    """Number a change of departments whose own rows stay as they are: of who leads them."""
    await connection.execute(
        """
        UPDATE directory.departments
           SET change_number = $3 + touched.row_number - 1, update_time = now()
          FROM unnest($2::bigint[]) WITH ORDINALITY AS touched (touched_id, row_number)
         WHERE corp_id = $1 AND department_id = touched.touched_id
        """,
        corp_id,
        list(department_ids),
        first_change_number,
    )


async def delete_department(connection: Connection, corp_id: str, department_id: int) -> None:
    """Delete a department without children and members, and whatever tags it has."""
    await connection.execute(
        "DELETE FROM directory.departments WHERE corp_id = $1 AND department_id = $2",
        corp_id,
        department_id,
    )


def _to_department(record: Record) -> Department:
    values = list(record.values())
    values[7:9] = tuple(values[7]), tuple(values[8])
    return Department(*values)
