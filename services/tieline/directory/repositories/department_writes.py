"""The tree of departments and who leads them: writing. The caller holds the corp's lock."""

from collections.abc import Mapping, Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.departments.tree import Place


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
    connection: Connection, corp_id: str, leaders: Mapping[int, Sequence[str]]
) -> list[str]:
    """Have these members, in this order, lead the departments; return whose mark changed."""
    department_ids = list(leaders)
    rows = [(each, user_id) for each, user_ids in leaders.items() for user_id in user_ids]
    await connection.execute(
        """
        DELETE FROM directory.department_leaders
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[])
        """,
        corp_id,
        department_ids,
    )
    await connection.execute(
        """
        INSERT INTO directory.department_leaders (corp_id, department_id, user_id, leader_order)
        SELECT $1, department_id, user_id, leader_order
          FROM unnest($2::bigint[], $3::text[]) WITH ORDINALITY
               AS leader (department_id, user_id, leader_order)
        """,
        corp_id,
        [row[0] for row in rows],
        [row[1] for row in rows],
    )
    records = await connection.fetch(
        """
        UPDATE directory.member_departments
           SET is_leader = NOT is_leader
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[])
           AND is_leader <> EXISTS (SELECT
                                      FROM directory.department_leaders AS leader
                                     WHERE leader.corp_id = $1
                                       AND leader.department_id = member_departments.department_id
                                       AND leader.user_id = member_departments.user_id)
        RETURNING user_id
        """,
        corp_id,
        department_ids,
    )
    return sorted({record["user_id"] for record in records})


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
