"""Reading the audit log looks entries up however long the log becomes."""

from collections.abc import AsyncIterator

import pytest

from plans import explain, new_database
from tieline.chassis.postgres import Connection
from tieline.identity.audit.log import LATEST, AuditFilter, Position
from tieline.identity.repositories.audit_entries import list_entries


@pytest.fixture(scope="module")
async def empty(postgres_admin_dsn: str, worker_id: str) -> AsyncIterator[Connection]:
    name = f"identity_plans_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "identity") as connection:
        # Plans are explained with NULL for each bound, which leaves no partition to look into.
        await connection.execute("SET enable_partition_pruning = off")
        yield connection


@pytest.mark.parametrize(
    ("wanted", "condition"),
    [
        pytest.param(AuditFilter(), "Index Cond: ((corp_id = $1)", id="all"),
        pytest.param(AuditFilter(actor_id="li.wei"), "(actor_id = $5)", id="actor"),
        pytest.param(AuditFilter(resource="members/li.wei"), "(resource = $8)", id="resource"),
    ],
)
async def test_entries_are_looked_up_by_what_is_asked_for(
    empty: Connection, wanted: AuditFilter, condition: str
) -> None:
    plan = await explain(
        empty, lambda recorded: list_entries(recorded, "ww0", wanted, Position.at(LATEST), 51)
    )

    looked_up = [line for line in plan.splitlines() if "Index Cond" in line]
    assert "Seq Scan" not in plan, plan
    assert looked_up, plan
    assert all(condition in line for line in looked_up), plan
