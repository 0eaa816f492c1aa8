"""What an export reads, in the snapshot of its transaction."""

from collections.abc import AsyncGenerator

from tieline.chassis.postgres import Connection
from tieline.directory.imports.batches import StoredMember
from tieline.directory.repositories.imports import STORED_COLUMNS, to_stored

# Some 400 KB of rows here and as much with the driver.
_FETCH_ROWS = 1000


async def list_paths(connection: Connection, corp_id: str) -> dict[int, str]:
    """Return the paths of all departments by id."""
    records = await connection.fetch(
        "SELECT department_id, path FROM directory.departments WHERE corp_id = $1", corp_id
    )
    return {record["department_id"]: record["path"] for record in records}


async def list_members(
    connection: Connection, corp_id: str
) -> AsyncGenerator[list[StoredMember], None]:
    """Yield all members by user id, some at a time; those who left are none."""
    cursor = await connection.cursor(
        f"""
        SELECT {STORED_COLUMNS}
          FROM directory.members
         WHERE corp_id = $1 AND state <> 'left'
         ORDER BY user_id
        """,  # noqa: S608 -- columns are named by the code
        corp_id,
    )
    while records := await cursor.fetch(_FETCH_ROWS):
        yield [to_stored(record) for record in records]
