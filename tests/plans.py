"""How PostgreSQL runs a repository's statement once it has settled on a plan for any parameters.

On a database of its own whose tables were never analyzed: what a new installation's services plan
with, and keep until the tables have grown.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tieline.chassis import migrations
from tieline.chassis.postgres import Connection

_FILTERED_SCAN = re.compile(r"Index (Only )?Scan .*\n +Index Cond: .*\n +Filter: ")

# PostgreSQL plans a statement for its parameters so often before it keeps a plan, or does not.
_CUSTOM_PLANS = 5


class RecordedStatement:
    """Stands in for a connection: keeps the last statement, and finds nothing."""

    def __init__(self) -> None:
        self.sql = ""
        self.parameter_count = 0

    async def fetch(self, sql: str, *parameters: object) -> list[Any]:
        self.sql = sql
        self.parameter_count = len(parameters)
        return []

    async def fetchrow(self, sql: str, *parameters: object) -> None:
        await self.fetch(sql, *parameters)

    async def fetchval(self, sql: str, *parameters: object) -> None:
        await self.fetch(sql, *parameters)

    async def execute(self, sql: str, *parameters: object) -> None:
        await self.fetch(sql, *parameters)


@asynccontextmanager
async def new_database(admin_dsn: str, name: str, service: str) -> AsyncIterator[Connection]:
    """Make a database with one service's tables, empty; yield the superuser's connection."""
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        dsn = admin_dsn.rpartition("/")[0] + f"/{name}"
        await migrations.migrate(dsn, [service])
        within = await asyncpg.connect(dsn)
        try:
            yield within
        finally:
            await within.close()
    finally:
        await connection.close()


async def explain(connection: Connection, ask: Callable[[Any], Awaitable[object]]) -> str:
    """Return the generic plan of the last statement with which ``ask`` asks its connection."""
    statement = RecordedStatement()
    await ask(statement)
    parameters = ", ".join(["NULL"] * statement.parameter_count)
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE asked AS {statement.sql}")
    try:
        rows = await connection.fetch(f"EXPLAIN EXECUTE asked ({parameters})")
    finally:
        await connection.execute("DEALLOCATE asked")
    return "\n".join(row[0] for row in rows)


def reads_by_index_alone(plan: str) -> bool:
    """Tell whether a plan looks each row up, however large the tables become."""
    if any(node in plan for node in ("Seq Scan", "Hash Join", "Merge Join", "Bitmap")):
        return False
    # What an index scan filters it has read: an index that has only some of the columns.
    return "Index" in plan and not _FILTERED_SCAN.search(plan)


async def list_planned_anew(
    connection: Connection, ask: Callable[[], Awaitable[object]]
) -> list[str]:
    """Ask a few times; return the statements that are planned again for each call."""
    await connection.execute("SET plan_cache_mode = auto")
    for _ in range(2 * _CUSTOM_PLANS):
        await ask()
    rows = await connection.fetch(
        "SELECT statement FROM pg_prepared_statements WHERE custom_plans > $1", _CUSTOM_PLANS
    )
    return [row["statement"] for row in rows]
