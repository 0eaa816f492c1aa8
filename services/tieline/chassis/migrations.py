"""Brings a database's schemas to what this code needs; run by one role, before the services.

What was applied stands with its name and checksum in ``<schema>.schema_migrations``. Migrations
that expand are applied before the first replica of this code starts; those that contract
(``migration_files``) wait until somebody says that no replica of older code is left.

A file runs in one transaction with its row there, so that it is applied whole or not at all. One
that can't (``CREATE INDEX CONCURRENTLY``) says ``-- no-transaction`` in its first line, ends each
statement with a semicolon at the end of a line, and is safe to run again; should it stop halfway,
its row has no finish_time. The next run begins it anew if it builds indexes that it drops first;
for any other somebody must say ``--rerun``.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import asyncpg

from tieline.chassis.driver_errors import describe_address, describe_connection_error
from tieline.chassis.migration_files import (
    CHASSIS,
    Applied,
    Migration,
    MigrationError,
    check_name,
    check_served,
    choose_missing,
    load_migrations,
)
from tieline.chassis.postgres import (
    CONNECT_TIMEOUT_S,
    TCP_SETTINGS,
    Connection,
)

# Any number that nothing else locks: the bytes of "tieline" read as an integer.
_LOCK_KEY = int.from_bytes(b"tieline")
_LOCK_POLL_INTERVAL_S = 0.2

# A migration that waits for a busy table stops everybody behind it; better it fails and is run
# again at a quieter moment. Nobody stands behind one that builds indexes concurrently, which has to
# wait for every older transaction: that one waits as long as they take.
_LOCK_TIMEOUT = "5s"

OLDEST_POSTGRES = 15
"""The oldest major version that the migrations and statements are written for."""


async def migrate(
    admin_dsn: str,
    services: Iterable[str],
    *,
    contract: bool = False,
    rerun: str | None = None,
    report: Callable[[str], None] = lambda name: None,
) -> list[str]:
    """Apply what is missing; return the names of what was applied, in order.

    Connects as a role that may create schemas and roles. Runners at the same time wait for each
    other, and the later ones find nothing to do. ``contract`` says that no replica of older code is
    left: what contracts a schema that was there before waits for it. ``rerun`` names one migration
    without transaction that stopped halfway and is to run again. ``report`` hears each name once it
    is applied.
    """
    names: list[str] = []

    def applied(migration: Migration) -> None:
        names.append(migration.name)
        report(migration.name)

    async with _connect(admin_dsn) as connection, _only_runner(connection):
        for service in services:
            await _prepare_schema(connection, service)
            history = await _list_applied(connection, service)
            for migration in choose_missing(
                load_migrations(service), history, contract=contract, rerun=rerun
            ):
                await _apply(connection, migration)
                applied(migration)
    return names


async def pending(dsn: str, services: Iterable[str], *, contract: bool = False) -> list[str]:
    """Return the names of what ``migrate`` would apply; MigrationError where it would stop."""
    names: list[str] = []
    async with _connect(dsn) as connection:
        for service in services:
            history = await _list_applied(connection, service)
            missing = choose_missing(load_migrations(service), history, contract=contract)
            names += [migration.name for migration in missing]
    return names


async def check_schema(connection: Connection, service: str) -> None:
    """Raise MigrationError unless the service's schema has what this code needs.

    A newer schema is accepted as long as it was only expanded: during an upgrade, and after a
    rollback, the code before runs on it.
    """
    check_server_version(connection.get_server_version().major)
    check_served(load_migrations(service), await _list_applied(connection, service))


def check_server_version(major: int) -> None:
    """Raise MigrationError where PostgreSQL is older than what the statements are written for."""
    if major < OLDEST_POSTGRES:
        raise MigrationError(
            f"PostgreSQL is version {major}, Tieline needs {OLDEST_POSTGRES} or newer: upgrade the "
            "server, or name another one"
        )


@asynccontextmanager
async def _connect(dsn: str) -> AsyncIterator[Connection]:
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": "tieline-migrate", **TCP_SETTINGS},
        )
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise MigrationError(
            f"can't connect to PostgreSQL at {describe_address(dsn)} to migrate it: "
            f"{describe_connection_error(error)}; start it, or correct the DSN"
        ) from None
    try:
        check_server_version(connection.get_server_version().major)
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def _only_runner(connection: Connection) -> AsyncIterator[None]:
    # Asked again and again instead of waited for: a waiting statement holds a snapshot, and
    # CREATE INDEX CONCURRENTLY in the other runner would wait for that.
    while not await connection.fetchval(  # noqa: ASYNC110 -- the lock is another process's
        "SELECT pg_try_advisory_lock($1)", _LOCK_KEY
    ):
        await asyncio.sleep(_LOCK_POLL_INTERVAL_S)
    try:
        await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
        yield
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock_all()")


async def _prepare_schema(connection: Connection, service: str) -> None:
    check_name(service)
    role = f"tieline_{service}"
    await _create_role(connection, role)
    database = await connection.fetchval("SELECT quote_ident(current_database())")
    async with connection.transaction():
        await connection.execute(
            f"""
            CREATE SCHEMA IF NOT EXISTS {service};
            REVOKE ALL ON SCHEMA {service} FROM PUBLIC;
            REVOKE ALL ON SCHEMA public FROM PUBLIC;
            REVOKE ALL ON DATABASE {database} FROM PUBLIC;
            GRANT CONNECT ON DATABASE {database} TO {role};
            GRANT USAGE ON SCHEMA {service} TO {role};
            ALTER ROLE {role} IN DATABASE {database} SET search_path = {service};

            CREATE TABLE IF NOT EXISTS {service}.schema_migrations (
                component   text        NOT NULL,
                version     integer     NOT NULL,
                name        text        NOT NULL,
                checksum    text        NOT NULL,
                start_time  timestamptz NOT NULL,
                finish_time timestamptz,
                CONSTRAINT schema_migrations_pkey PRIMARY KEY (component, version)
            );
            GRANT SELECT ON {service}.schema_migrations TO {role};

            ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
            ALTER DEFAULT PRIVILEGES IN SCHEMA {service}
                GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
            ALTER DEFAULT PRIVILEGES IN SCHEMA {service} GRANT USAGE ON SEQUENCES TO {role};
            ALTER DEFAULT PRIVILEGES IN SCHEMA {service} GRANT EXECUTE ON FUNCTIONS TO {role};
            """  # noqa: S608 -- the name is checked
        )


async def _create_role(connection: Connection, role: str) -> None:
    if await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", role):
        return
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN")
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
        # Roles belong to the cluster, the advisory lock to one database: a runner in another
        # database was faster.
        return


async def _list_applied(connection: Connection, service: str) -> list[Applied]:
    check_name(service)
    has_table = await connection.fetchval(
        "SELECT to_regclass($1) IS NOT NULL", f"{service}.schema_migrations"
    )
    if not has_table:
        return []
    rows = await connection.fetch(
        f"""
        SELECT component, version, name AS file_name, checksum,
               finish_time IS NOT NULL AS is_finished
          FROM {service}.schema_migrations
         ORDER BY component = '{CHASSIS}' DESC, version
        """  # noqa: S608 -- the name is checked
    )
    return [Applied(**row) for row in rows]


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        if migration.is_transactional:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await _record_start(connection, migration)
                await _record_finish(connection, migration)
        else:
            await _record_start(connection, migration)
            await _run_statements(connection, migration)
            await _record_finish(connection, migration)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        way_out = (
            "nothing of it was applied; correct the cause and run `tieline migrate` again"
            if migration.is_transactional
            else "correct the cause and run `tieline migrate` again"
            if migration.is_repeatable
            else f"correct the cause and run `tieline migrate --rerun {migration.name}`"
        )
        raise MigrationError(
            f"migration {migration.name} ({migration.file_name}) failed: "
            f"{describe_connection_error(error)}; {way_out}"
        ) from error


async def _run_statements(connection: Connection, migration: Migration) -> None:
    if migration.is_repeatable:
        await connection.execute("SET lock_timeout = 0")
    for statement in migration.statements:
        await connection.execute(statement)
    await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")


async def _record_start(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        f"""
        INSERT INTO {migration.schema}.schema_migrations
               (component, version, name, checksum, start_time)
        VALUES ($1, $2, $3, $4, clock_timestamp())
        ON CONFLICT ON CONSTRAINT schema_migrations_pkey
        DO UPDATE SET start_time = excluded.start_time
        """,  # noqa: S608 -- the name is checked
        migration.component,
        migration.version,
        migration.file_name,
        migration.checksum,
    )


async def _record_finish(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        f"""
        UPDATE {migration.schema}.schema_migrations
           SET finish_time = clock_timestamp()
         WHERE component = $1 AND version = $2
        """,  # noqa: S608 -- the name is checked
        migration.component,
        migration.version,
    )
