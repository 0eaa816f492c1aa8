"""A row in every tenant table of every service; the corp is deleted; what is left is listed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from engines import Database, create_database
from tieline.chassis.distribution import GLOBAL_TABLES
from tieline.chassis.health import Health
from tieline.chassis.ids import new_corp_id
from tieline.chassis.postgres import Pool, create_pool
from tieline.chassis.streams import SERVICES
from tieline.contacts import corps_purge as contacts_purge
from tieline.directory import corps_purge as directory_purge
from tieline.identity import purge as identity_purge
from tieline.messaging import corps_purge as messaging_purge
from tieline.payments import corps_purge as payments_purge

_KEEPS_ID = "keeps the id, so that nothing that comes late brings the corp back"
_ON_ITS_WAY = "on its way to others"
_BY_EXPIRY = "has objects in a store: goes with the next purge of media, by its expiry"

# Tables that keep rows of a corp that is gone, each with its reason (docs/operations/tenants.md).
KEPT = {
    "identity.corps": _KEEPS_ID,
    "directory.corps": _KEEPS_ID,
    "messaging.corps": _KEEPS_ID,
    "contacts.deleted_corps": _KEEPS_ID,
    "payments.deleted_corps": _KEEPS_ID,
    "identity.audit_entries": "kept as long as every other corp's",
    "messaging.media": _BY_EXPIRY,
    "messaging.media_uploads": _BY_EXPIRY,
    **{
        f"{service}.{table}": _ON_ITS_WAY
        for service in SERVICES
        for table in ("outbox", "handled_events", "dead_letters")
    },
}

_VALUES = {
    "bytea": "'\\x00'",
    "boolean": "false",
    "date": "current_date",
    "interval": "'1 day'",
    "json": "'{}'",
    "jsonb": "'{}'",
    "text": "'x'",
    "tsvector": "''",
    "timestamp with time zone": "now()",
    "uuid": "gen_random_uuid()",
}


@pytest.fixture(scope="module")
async def admin(database: Database, worker_id: str) -> AsyncIterator[asyncpg.Connection]:
    """The superuser of a database whose tables take rows of any value."""
    created = await create_database(database, f"deleted_corps_{worker_id}", SERVICES)
    connection = await asyncpg.connect(created.admin_dsn)
    try:
        # Foreign keys and triggers are no part of the question.
        await connection.execute("SET session_replication_role = replica")
        for check in await connection.fetch(
            """
            SELECT conrelid::regclass::text AS name, conname FROM pg_constraint
             WHERE contype = 'c' AND conislocal AND coninhcount = 0
               AND connamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1))
            """,
            list(SERVICES),
        ):
            await connection.execute(f"ALTER TABLE {check['name']} DROP CONSTRAINT {check[1]}")
        yield connection
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def pools(
    database: Database, admin: asyncpg.Connection, worker_id: str
) -> AsyncIterator[dict[str, Pool]]:
    """Each service's pool, with the rights of its own role."""
    async with AsyncExitStack() as stack:
        yield {
            service: await stack.enter_async_context(
                create_pool(
                    database.dsn(service).rpartition("/")[0] + f"/deleted_corps_{worker_id}",
                    service=service,
                    max_size=1,
                    health=Health(),
                )
            )
            for service in SERVICES
        }


async def tenant_tables(admin: asyncpg.Connection) -> dict[str, list[asyncpg.Record]]:
    """Return the columns that a row needs, by table."""
    rows = await admin.fetch(
        """
        SELECT attrelid::regclass::text AS name, attname,
               format_type(atttypid, NULL) AS type
          FROM pg_attribute
          JOIN pg_class ON pg_class.oid = attrelid
         WHERE relnamespace = ANY (SELECT oid FROM pg_namespace WHERE nspname = ANY ($1))
           AND relkind IN ('r', 'p') AND NOT relispartition
           AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
           AND attidentity = '' AND (attnotnull OR attname = 'expire_time')
        """,
        list(SERVICES),
    )
    tables: dict[str, list[asyncpg.Record]] = {}
    for row in rows:
        tables.setdefault(row["name"], []).append(row)
    return {
        name: columns
        for name, columns in tables.items()
        if name not in GLOBAL_TABLES and "corp_id" in {column["attname"] for column in columns}
    }


async def fill(admin: asyncpg.Connection, corp_id: str) -> set[str]:
    """Put a row of the corp into every tenant table; return the tables."""
    tables = await tenant_tables(admin)
    for name, columns in tables.items():
        values = [
            f"'{corp_id}'" if column["attname"] == "corp_id" else _value(column["type"])
            for column in columns
        ]
        names = ", ".join(column["attname"] for column in columns)
        await admin.execute(f"INSERT INTO {name} ({names}) VALUES ({', '.join(values)})")
    return set(tables)


def _value(type_name: str) -> str:
    if type_name.endswith("[]"):
        return "'{}'"
    return _VALUES.get(type_name, "1")


async def tables_with_rows(admin: asyncpg.Connection, corp_id: str) -> set[str]:
    return {
        name
        for name in await tenant_tables(admin)
        if await admin.fetchval(f"SELECT count(*) FROM {name} WHERE corp_id = $1", corp_id)
    }


async def delete(admin: asyncpg.Connection, pools: dict[str, Pool], corp_id: str) -> None:
    """Have the corp gone for years in every service, and each service purge it."""
    for statement in (
        "UPDATE identity.corps SET purge_time = now(), delete_time = NULL WHERE corp_id = $1",
        "UPDATE directory.corps SET delete_time = now(), purge_time = NULL WHERE corp_id = $1",
        "UPDATE messaging.corps SET delete_time = now(), purge_time = NULL WHERE corp_id = $1",
        "UPDATE contacts.deleted_corps SET delete_time = to_timestamp(0) WHERE corp_id = $1",
        "UPDATE payments.deleted_corps SET delete_time = to_timestamp(0) WHERE corp_id = $1",
    ):
        await admin.execute(statement, corp_id)
    await identity_purge.purge_corps(pools["identity"])
    while await directory_purge.purge(pools["directory"], maximum_rows=3):
        pass
    while await messaging_purge.purge(pools["messaging"], maximum_rows=3):
        pass
    while await contacts_purge.purge(pools["contacts"], maximum_rows=3):
        pass
    while await payments_purge.purge(pools["payments"], keep_days=3653, maximum_rows=3):
        pass


async def test_nothing_is_left_of_a_corp_that_is_gone_but_what_is_listed(
    admin: asyncpg.Connection, pools: dict[str, Pool]
) -> None:
    gone, stays = new_corp_id(), new_corp_id()
    filled = await fill(admin, gone)
    await fill(admin, stays)

    await delete(admin, pools, gone)

    assert await tables_with_rows(admin, gone) == set(KEPT)
    assert await tables_with_rows(admin, stays) == filled
