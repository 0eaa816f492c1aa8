"""A corp that is gone: nothing is posted any more, and its ledger stays for as long as it must."""

from dataclasses import replace

import asyncpg
import pytest
from nats.aio.client import Client

from calls import refusal
from engines import Database, connected
from fakes.eventually import eventually
from integration.payments.corp import Corp
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.health import Health
from tieline.chassis.ids import new_corp_id, new_uuid7
from tieline.chassis.message_headers import CORP_ID_HEADER, EVENT_ID_HEADER, KEY_HEADER
from tieline.chassis.postgres import create_pool, transaction
from tieline.embedded.nats import EmbeddedNats
from tieline.payments.corps_purge import purge
from tieline.payments.ledger_audit import LedgerAudit

TABLES = (
    "postings",
    "transfers",
    "accounts",
    "red_packet_shares",
    "red_packets",
    "first_answers",
)
KEEP_DAYS = 3653


async def count_rows(connection: asyncpg.Connection, corp_id: str) -> dict[str, int]:
    return {
        table: await connection.fetchval(
            f"SELECT count(*) FROM payments.{table} WHERE corp_id = $1", corp_id
        )
        for table in TABLES
    }


async def publish_deleted(broker: Client, connection: asyncpg.Connection, corp_id: str) -> None:
    """Tell that the corp is gone, twice, and wait until payments knows."""
    event = identity_pb2.CorpDeleted(corp_id=corp_id)
    for _ in range(2):
        headers = {EVENT_ID_HEADER: new_uuid7(), CORP_ID_HEADER: corp_id, KEY_HEADER: corp_id}
        await broker.jetstream().publish(
            "tieline.identity.v1.corp_deleted", event.SerializeToString(), headers=headers
        )

    async def is_known() -> bool:
        return bool(
            await connection.fetchval(
                "SELECT true FROM payments.deleted_corps WHERE corp_id = $1", corp_id
            )
        )

    await eventually(is_known)


async def test_ledger_of_a_corp_that_is_gone_takes_nothing_and_stays_until_its_time_is_over(
    corp: Corp,
    payments_nats: EmbeddedNats,
    payments_database: Database,
    admin_connection: asyncpg.Connection,
) -> None:
    other = replace(corp, corp_id=new_corp_id())
    await other.deposit(70)
    packet = await corp.send(1000, 2)
    await corp.open(packet, corp.customer())
    await corp.deposit(500)
    late = corp.customer()
    before = await count_rows(admin_connection, corp.corp_id)

    async with connected(payments_nats, "identity") as identity:
        await publish_deleted(identity, admin_connection, corp.corp_id)
    payments, platform = corp.payments, corp.tokens.platform()
    errors = [
        await refusal(payments.CreateDeposit, corp.deposit_request(1), platform),
        await refusal(payments.CreateRedPacket, corp.packet_request(2, 1), corp.administrator),
        await refusal(payments.OpenRedPacket, corp.open_request(packet), late),
    ]

    assert {(error.reason, error.metadata["corpId"]) for error in errors} == {
        ("CORP_DELETED", corp.corp_id)
    }
    assert await count_rows(admin_connection, corp.corp_id) == before
    assert await corp.balance(corp.administrator) == 500

    dsn = payments_database.dsn("payments")
    async with create_pool(dsn, service="payments", max_size=1, health=Health()) as pool:
        assert not await purge(pool, keep_days=KEEP_DAYS, maximum_rows=3)
        async with transaction(pool) as connection:
            # Whatever the service says, what went today stays.
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is to be kept"):
                await connection.fetchval(
                    "SELECT payments.delete_kept_rows($1, 0, 5)", corp.corp_id
                )
        assert await count_rows(admin_connection, corp.corp_id) == before

        await admin_connection.execute(
            "UPDATE payments.deleted_corps SET delete_time = now() - make_interval(days => $2)"
            " WHERE corp_id = $1",
            corp.corp_id,
            KEEP_DAYS,
        )
        assert await purge(pool, keep_days=KEEP_DAYS, maximum_rows=3)
        audit = LedgerAudit(pool, corp.corp_id[:-1])
        await audit.check_next()
        assert corp.corp_id not in audit.wrong_corp_ids, "half a ledger is no alarm"
        while await purge(pool, keep_days=KEEP_DAYS, maximum_rows=3):
            pass

    assert set((await count_rows(admin_connection, corp.corp_id)).values()) == {0}
    assert await other.balance(other.administrator) == 70


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            "INSERT INTO payments.deleted_corps (corp_id, delete_time) VALUES ('ww1', 'epoch')",
            id="gone for long",
        ),
        pytest.param("UPDATE payments.deleted_corps SET delete_time = 'epoch'", id="went earlier"),
        pytest.param("DELETE FROM payments.deleted_corps", id="never gone"),
        pytest.param("DELETE FROM payments.postings", id="no ledger"),
    ],
)
async def test_service_can_not_say_when_a_corp_went_nor_delete_a_ledger(
    payments_database: Database, statement: str
) -> None:
    connection = await asyncpg.connect(payments_database.dsn("payments"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()
