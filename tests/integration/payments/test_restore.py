"""A backup of the ledger, restored into an empty server's database, adds up as before."""

import asyncio

import asyncpg

from engines import Database
from integration.payments.corp import Corp
from tieline.chassis.migrations import pending
from tieline.embedded.postgres import binaries
from tieline.payments.repositories.ledger import LedgerRepository

COUNTED = ("accounts", "transfers", "postings", "red_packets", "outbox", "schema_migrations")


async def test_a_restored_dump_has_every_row_and_its_ledger_adds_up(
    corp: Corp, payments_database: Database, worker_id: str
) -> None:
    await corp.deposit(500)
    await corp.send(300, 3)
    restored = payments_database.admin_dsn.rpartition("/")[0] + f"/restored_{worker_id}"
    source = await asyncpg.connect(payments_database.admin_dsn)
    await source.execute(f"CREATE DATABASE restored_{worker_id}")

    await run("pg_dump", "--format=plain", f"--dbname={payments_database.admin_dsn}", into=restored)

    target = await asyncpg.connect(restored)
    try:
        for table in COUNTED:
            query = f"SELECT * FROM payments.{table} AS row ORDER BY row::text"
            assert await target.fetch(query) == await source.fetch(query)
        totals = await LedgerRepository(target, corp.corp_id).add_up()
    finally:
        await target.close()
        await source.close()
    assert totals.is_balanced
    assert totals.transfer_count == 3
    # The code of this release starts on it as it is.
    assert await pending(restored, ["payments"]) == []


async def run(program: str, *arguments: str, into: str) -> None:
    """Pipe a dump into a database, as an operator does; both programs must end well."""
    dump = await asyncio.create_subprocess_exec(
        binaries() / program, *arguments, stdout=asyncio.subprocess.PIPE
    )
    text, _ = await dump.communicate()
    restore = await asyncio.create_subprocess_exec(
        *(binaries() / "psql", into, "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"),
        stdin=asyncio.subprocess.PIPE,
    )
    await restore.communicate(text)
    assert (dump.returncode, restore.returncode) == (0, 0)
