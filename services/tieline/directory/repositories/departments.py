"""The tree of departments."""

from tieline.chassis.postgres import Connection, Record
from tieline.directory.departments import Department


async def has_department(connection: Connection, corp_id: str, department_id: int) -> bool:
    """Tell whether the corp has this department."""
    return bool(
        await connection.fetchval(
            "SELECT true FROM directory.departments WHERE corp_id = $1 AND department_id = $2",
            corp_id,
            department_id,
        )
    )


async def list_departments(
    connection: Connection, corp_id: str, *, after_department_id: int, limit: int
) -> list[Department]:
    """Return departments by id, from behind ``after_department_id`` on."""
    records: list[Record] = await connection.fetch(
        """
        SELECT department_id, name, coalesce(parent_department_id, 0), path,
               (SELECT count(*)
                  FROM directory.members
                 WHERE members.corp_id = departments.corp_id
                   AND members.department_id = departments.department_id)
          FROM directory.departments
         WHERE corp_id = $1 AND department_id > $2
         ORDER BY department_id
         LIMIT $3
        """,
        corp_id,
        after_department_id,
        limit,
    )
    return [Department(*record) for record in records]
