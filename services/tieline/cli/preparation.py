"""What stands between started engines and the first service: database, schemas, streams, passwords.

Every step may be repeated; on a prepared platform all of them together take a few milliseconds.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import asyncpg
import nats.errors

from tieline.chassis.broker_tls import NO_FILES, BrokerTls
from tieline.chassis.distribution import list_distributed, list_tables, plan_distribution
from tieline.chassis.driver_errors import describe_address, describe_connection_error
from tieline.chassis.migration_files import MigrationError
from tieline.chassis.migrations import migrate
from tieline.chassis.postgres import Connection
from tieline.chassis.process import StartError
from tieline.chassis.streams import declare
from tieline.cli.errors import CommandError

# PostgreSQL's own default. The passwords are random: more rounds would protect nothing.
SCRAM_ITERATIONS = 4096
SCRAM_SALT_BYTES = 16


async def migrate_and_declare(
    admin_dsn: str,
    nats_admin_url: str,
    services: Sequence[str],
    *,
    contract: bool = False,
    rerun: str | None = None,
    replicas: int = 1,
    nats_tls: BrokerTls = NO_FILES,
    report: Callable[[str], None],
) -> list[str]:
    """Bring the schemas and the streams to what this code needs; return what was applied."""
    try:
        applied = await migrate(admin_dsn, services, contract=contract, rerun=rerun, report=report)
        await declare(nats_admin_url, replicas=replicas, tls=nats_tls)
    except (MigrationError, StartError) as error:
        raise CommandError(error.text) from error
    except nats.errors.Error as error:
        raise CommandError(f"NATS refused to declare the streams: {error}") from error
    return applied


async def distribute(admin_dsn: str, *, dry_run: bool) -> list[str]:
    """Distribute the tables that Citus does not have yet; return the statements.

    A dry run reads the catalog and needs no Citus. An interrupted run goes on where it stopped.
    """
    async with _connected(admin_dsn) as connection:
        done = await list_distributed(connection)
        if done is None and not dry_run:
            raise CommandError(
                "the database has no Citus: run CREATE EXTENSION citus as superuser on every node, "
                "or try --dry-run"
            )
        statements = plan_distribution(await list_tables(connection), done or frozenset())
        if not dry_run:
            for statement in statements:
                await connection.execute(statement)
    return statements


async def create_database(superuser_dsn: str, name: str) -> None:
    """Create the database unless it is there."""
    async with _connected(superuser_dsn) as connection:
        if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name) is None:
            statement = await connection.fetchval(
                "SELECT format('CREATE DATABASE %I', $1::text)", name
            )
            await connection.execute(statement)


async def set_role_passwords(admin_dsn: str, passwords: Mapping[str, str]) -> None:
    """Give each role its password; the server sees, and could log, only a verifier."""
    async with _connected(admin_dsn) as connection:
        for role, password in passwords.items():
            statement = await connection.fetchval(
                "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)",
                role,
                scram_verifier(password, secrets.token_bytes(SCRAM_SALT_BYTES)),
            )
            await connection.execute(statement)


def scram_verifier(password: str, salt: bytes) -> str:
    """Return what PostgreSQL stores for an ASCII password (RFC 5802 and RFC 7677)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (
        base64.b64encode(part).decode() for part in (salt, stored_key, server_key)
    )
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{salt_text}${stored_text}:{server_text}"


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[Connection]:
    """Connect for the block; whatever PostgreSQL refuses becomes one line."""
    try:
        connection = await asyncpg.connect(dsn)
        try:
            yield connection
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CommandError(
            f"PostgreSQL at {describe_address(dsn)} refused: {describe_connection_error(error)}"
        ) from error
