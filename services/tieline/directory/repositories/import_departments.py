"""The departments that an import reads and makes."""

from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.departments.rules import NewDepartment


async def find_department_ids(
    connection: Connection, corp_id: str, paths: Collection[str]
) -> dict[str, int]:
    """Return the ids of those departments that exist, by path."""
    rows = await connection.fetch(
        """
        SELECT path, department_id
          FROM directory.departments
         WHERE corp_id = $1 AND path = ANY($2::text[])
        """,
        corp_id,
        list(paths),
    )
    return {row["path"]: row["department_id"] for row in rows}


async def find_paths(
    connection: Connection, corp_id: str, department_ids: Collection[int]
) -> dict[int, str]:
    """Return the paths of those departments that exist, by id."""
    if not department_ids:
        return {}
    rows = await connection.fetch(
        """
        SELECT department_id, path
          FROM directory.departments
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[])
        """,
        corp_id,
        list(department_ids),
    )
    return {row["department_id"]: row["path"] for row in rows}


async def count_nodes(
    connection: Connection, corp_id: str, department_ids: Collection[int]
) -> dict[int, int]:
    """Return how many members and departments are in each of these departments."""
    rows = await connection.fetch(
        """
        SELECT department_id,
               (SELECT count(*)
                  FROM directory.departments AS child
                 WHERE child.corp_id = $1 AND child.parent_department_id = department.department_id)
             + (SELECT count(*)
                  FROM directory.member_departments AS place
                 WHERE place.corp_id = $1 AND place.department_id = department.department_id)
               AS nodes
          FROM unnest($2::bigint[]) AS department (department_id)
        """,
        corp_id,
        list(department_ids),
    )
    return {row["department_id"]: row["nodes"] for row in rows}


async def list_departments_within(
    connection: Connection, corp_id: str, department_ids: Collection[int]
) -> dict[int, str]:
    """Return the paths of these departments and of all below them, by id."""
    rows = await connection.fetch(
        """
        SELECT department_id, path
          FROM directory.departments
         WHERE corp_id = $1 AND ancestor_ids && $2::bigint[]
        """,
        corp_id,
        list(department_ids),
    )
    return {row["department_id"]: row["path"] for row in rows}


async def insert_departments(
    connection: Connection,
    corp_id: str,
    departments: Sequence[NewDepartment],
    first_change_number: int,
) -> None:
    """Add departments, parents first. The caller holds the corp's lock.

    Their orders are 0; ``ancestor_ids`` are the parent's and their own.
    """
    await connection.copy_records_to_table(
        "departments",
        schema_name="directory",
        columns=(
            *("corp_id", "department_id", "parent_department_id", "name", "path"),
            *("ancestor_ids", "change_number"),
        ),
        records=[
            (
                *(corp_id, new.department_id, new.parent_department_id, new.name, new.path),
                *(list(new.ancestor_ids), change_number),
            )
            for change_number, new in enumerate(departments, start=first_change_number)
        ],
    )
    await connection.execute(
        "UPDATE directory.corps SET next_department_id = $2 WHERE corp_id = $1",
        corp_id,
        departments[-1].department_id + 1,
    )
