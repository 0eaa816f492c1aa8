"""What the replacement of all departments reads and writes. The caller holds the corp's lock."""

from collections.abc import Sequence

from tieline.chassis.packed_arrays import pack_numbers
from tieline.chassis.postgres import Connection
from tieline.directory.imports.department_replacement import PlacedDepartment, StoredDepartment
from tieline.directory.new_ids import is_far_ahead
from tieline.directory.repositories import corps


async def list_stored(connection: Connection, corp_id: str) -> dict[int, StoredDepartment]:
    """Return all departments by id."""
    records = await connection.fetch(
        """
        SELECT department_id, name, coalesce(parent_department_id, 0), department_order, path,
               EXISTS (SELECT
                         FROM directory.member_departments AS place
                        WHERE place.corp_id = departments.corp_id
                          AND place.department_id = departments.department_id)
            OR EXISTS (SELECT
                         FROM directory.members
                        WHERE members.corp_id = departments.corp_id
                          AND members.department_id = departments.department_id),
               coalesce(member_count, 0), name_en,
               ARRAY(SELECT leader.user_id
                       FROM directory.department_leaders AS leader
                      WHERE leader.corp_id = departments.corp_id
                        AND leader.department_id = departments.department_id
                      ORDER BY leader_order, user_id) AS leaders
          FROM directory.departments
          LEFT JOIN (SELECT department_id, count(*) AS member_count
                       FROM directory.member_departments
                      WHERE corp_id = $1
                      GROUP BY department_id) AS places USING (department_id)
         WHERE corp_id = $1
        """,
        corp_id,
    )
    return {
        record["department_id"]: StoredDepartment(*record)._replace(
            leaders=tuple(record["leaders"])
        )
        for record in records
    }


async def find_inside(
    connection: Connection, corp_id: str, pairs: Sequence[tuple[int, str]]
) -> set[tuple[int, str]]:
    """Return those of the departments and user ids of which the member is in the department."""
    records = await connection.fetch(
        """
        SELECT place.department_id, place.user_id
          FROM unnest($2::bigint[], $3::text[]) AS named (department_id, user_id)
          JOIN directory.member_departments AS place
            ON place.corp_id = $1
           AND place.user_id = named.user_id AND place.department_id = named.department_id
        """,
        corp_id,
        [department_id for department_id, _ in pairs],
        [user_id for _, user_id in pairs],
    )
    return {(record["department_id"], record["user_id"]) for record in records}


async def take_paths_away(
    connection: Connection, corp_id: str, department_ids: Sequence[int]
) -> None:
    """Give the departments paths that no other has, so that they may swap theirs."""
    await connection.execute(
        """
        UPDATE directory.departments
           SET path = '/' || department_id
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[]) AND department_id <> 1
        """,
        corp_id,
        list(department_ids),
    )


async def delete_departments(
    connection: Connection, corp_id: str, department_ids: Sequence[int]
) -> None:
    """Delete departments in which nothing is left."""
    await connection.execute(
        """
        DELETE FROM directory.departments
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[])
        """,
        corp_id,
        list(department_ids),
    )


async def insert_placed(
    connection: Connection,
    corp_id: str,
    departments: Sequence[PlacedDepartment],
    first_change_number: int,
) -> None:
    """Add departments under the ids that they have, which the corp's next id may have to follow."""
    await connection.copy_records_to_table(
        "departments",
        schema_name="directory",
        columns=(
            *("corp_id", "department_id", "parent_department_id", "name", "path"),
            *("ancestor_ids", "department_order", "change_number", "name_en"),
        ),
        records=[
            (
                *(corp_id, new.department_id, new.parent_department_id, new.name, new.path),
                *(list(new.ancestor_ids), new.order, change_number, new.name_en),
            )
            for change_number, new in enumerate(departments, start=first_change_number)
        ],
    )
    near = [new.department_id for new in departments if not is_far_ahead(new.department_id)]
    await corps.raise_next_department_id(connection, corp_id, max(near, default=0))


async def update_placed(
    connection: Connection,
    corp_id: str,
    departments: Sequence[PlacedDepartment],
    first_change_number: int,
) -> None:
    """Have departments be where and what they are now."""
    await connection.execute(
        """
        UPDATE directory.departments
           SET name = placed.name,
               parent_department_id = nullif(placed.parent_department_id, 0),
               path = placed.path,
               ancestor_ids = placed.ancestor_ids::bigint[],
               department_order = placed.department_order,
               name_en = placed.name_en,
               change_number = $2 + placed.row_number - 1,
               update_time = now()
          FROM unnest($3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bigint[],
                      $9::text[])
               WITH ORDINALITY
               AS placed (department_id, name, parent_department_id, path, ancestor_ids,
                          department_order, name_en, row_number)
         WHERE departments.corp_id = $1 AND departments.department_id = placed.department_id
        """,
        corp_id,
        first_change_number,
        [each.department_id for each in departments],
        [each.name for each in departments],
        [each.parent_department_id for each in departments],
        [each.path for each in departments],
        # An array of arrays must be rectangular: each goes as text.
        [pack_numbers(each.ancestor_ids) for each in departments],
        [each.order for each in departments],
        [each.name_en for each in departments],
    )
