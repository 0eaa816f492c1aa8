"""Parts of statements that several repositories have."""

from tieline.chassis.postgres import Connection


def qualify(table: str, columns: str) -> str:
    """Return the list of columns with the table before each."""
    return ", ".join(f"{table}.{column.strip()}" for column in columns.split(","))


async def lock_name(connection: Connection, name: str) -> None:
    """Have others who lock the same name in messaging wait until the transaction ends."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"tieline.messaging.{name}"
    )
