"""Rules that every table must keep, read from the catalog of the migrated database."""

import asyncpg
import pytest

from engines import Database
from tieline.chassis.distribution import GLOBAL_TABLES, list_tables, plan_distribution
from tieline.chassis.streams import SERVICES
from tieline.cli.errors import CommandError
from tieline.cli.preparation import distribute


async def _fetch(database: Database, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        return await connection.fetch(query, list(SERVICES))
    finally:
        await connection.close()


async def test_every_key_of_a_tenant_table_begins_with_the_corp(database: Database) -> None:
    rows = await _fetch(
        database,
        """
        SELECT n.nspname || '.' || t.relname AS table_name, i.relname AS index_name,
               a.attname AS first_column
          FROM pg_index x
          JOIN pg_class t ON t.oid = x.indrelid
          JOIN pg_class i ON i.oid = x.indexrelid
          JOIN pg_namespace n ON n.oid = t.relnamespace
          LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]
         WHERE n.nspname = ANY($1::text[]) AND (x.indisprimary OR x.indisunique)
        """,
    )

    wrong = [
        f"{row['table_name']}: {row['index_name']} begins with {row['first_column']}"
        for row in rows
        if row["table_name"] not in GLOBAL_TABLES and row["first_column"] != "corp_id"
    ]

    assert wrong == []


async def test_every_foreign_key_of_a_tenant_table_begins_with_the_corp(
    database: Database,
) -> None:
    rows = await _fetch(
        database,
        """
        SELECT n.nspname || '.' || t.relname AS table_name, c.conname, a.attname AS first_column
          FROM pg_constraint c
          JOIN pg_class t ON t.oid = c.conrelid
          JOIN pg_namespace n ON n.oid = t.relnamespace
          JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.conkey[1]
         WHERE n.nspname = ANY($1::text[]) AND c.contype = 'f'
        """,
    )

    wrong = [
        f"{row['table_name']}: {row['conname']}"
        for row in rows
        if row["table_name"] not in GLOBAL_TABLES and row["first_column"] != "corp_id"
    ]

    assert wrong == []


async def test_every_tenant_table_is_distributed_by_its_corp_behind_what_it_references(
    database: Database,
) -> None:
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        tables = await list_tables(connection)
        columns = await connection.fetch(
            """
            SELECT attrelid::regclass::text AS name FROM pg_attribute
             WHERE attname = 'corp_id' AND attnotnull AND atttypid = 'text'::regtype
            """
        )
    finally:
        await connection.close()
    tenant = {table.name: table for table in tables if table.name not in GLOBAL_TABLES}

    order = [statement.split("'")[1] for statement in plan_distribution(tables, frozenset())]

    assert set(order) == tenant.keys() <= {row["name"] for row in columns}
    for place, name in enumerate(order):
        # What a foreign key points to is there before it, and on the same node.
        assert tenant[name].references - {name} <= set(order[:place])


async def test_distributing_without_citus_is_refused_and_a_dry_run_is_not(
    database: Database,
) -> None:
    with pytest.raises(CommandError, match="the database has no Citus: run CREATE EXTENSION"):
        await distribute(database.admin_dsn, dry_run=False)

    assert await distribute(database.admin_dsn, dry_run=True)


async def test_every_table_has_a_primary_key(database: Database) -> None:
    rows = await _fetch(
        database,
        """
        SELECT n.nspname || '.' || t.relname AS table_name
          FROM pg_class t
          JOIN pg_namespace n ON n.oid = t.relnamespace
         WHERE n.nspname = ANY($1::text[]) AND t.relkind IN ('r', 'p')
           AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = t.oid AND x.indisprimary)
        """,
    )

    assert [row["table_name"] for row in rows] == []


async def test_every_named_global_table_exists(database: Database) -> None:
    rows = await _fetch(
        database,
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname = ANY($1)",
    )

    assert set(GLOBAL_TABLES) <= {row["name"] for row in rows}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_reaches_its_own_schema_only(database: Database, service: str) -> None:
    connection = await asyncpg.connect(database.dsn(service))
    try:
        usable = await connection.fetchval(
            """
            SELECT array_agg(schema) FROM unnest($1::text[]) AS schema
             WHERE has_schema_privilege(schema, 'USAGE')
            """,
            list(SERVICES),
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"CREATE TABLE {service}.not_allowed ()")
    finally:
        await connection.close()

    assert usable == [service]
