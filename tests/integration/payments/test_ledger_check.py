"""CheckLedger finds whatever does not add up; the service itself can't cause it."""

import asyncpg
import pytest

from engines import Database
from integration.payments.corp import Corp
from tieline.chassis.health import Health
from tieline.chassis.postgres import create_pool
from tieline.payments.ledger_audit import LedgerAudit


async def test_ledger_of_a_corp_without_money_balances(corp: Corp) -> None:
    ledger = await corp.check()

    assert ledger.balanced
    assert (ledger.transfer_count, ledger.account_count, ledger.posting_sum_minor) == (0, 0, 0)


@pytest.mark.parametrize(
    ("tampering", "wrong_account_ids", "posting_sum_minor"),
    [
        pytest.param(
            "UPDATE payments.accounts SET balance_minor = balance_minor + 1"
            " WHERE corp_id = $1 AND account_id = 'corp'",
            ["corp"],
            0,
            id="a balance was raised",
        ),
        pytest.param(
            "UPDATE payments.postings SET amount_minor = amount_minor + 1"
            " WHERE corp_id = $1 AND account_id = 'corp'",
            ["corp"],
            1,
            id="a posting was raised",
        ),
        pytest.param(
            "UPDATE payments.postings SET balance_after_minor = balance_after_minor + 1"
            " WHERE corp_id = $1 AND account_id = 'corp'",
            ["corp"],
            0,
            id="a running balance was raised",
        ),
        pytest.param(
            "DELETE FROM payments.postings WHERE corp_id = $1 AND account_id = 'bank'",
            ["bank"],
            500,
            id="a posting is gone",
        ),
        pytest.param(
            "DELETE FROM payments.postings WHERE corp_id = $1",
            ["bank", "corp"],
            0,
            id="both sides of a transfer are gone",
        ),
    ],
)
async def test_check_finds_what_was_tampered_with(
    corp: Corp,
    admin_connection: asyncpg.Connection,
    tampering: str,
    wrong_account_ids: list[str],
    posting_sum_minor: int,
) -> None:
    await corp.deposit(500)
    await admin_connection.execute(tampering, corp.corp_id)

    ledger = await corp.check()

    assert not ledger.balanced
    assert list(ledger.wrong_account_ids) == wrong_account_ids
    assert ledger.posting_sum_minor == posting_sum_minor


async def test_check_finds_transfers_whose_sides_differ_although_all_sums_agree(
    corp: Corp, admin_connection: asyncpg.Connection
) -> None:
    await corp.deposit(500)
    await corp.deposit(700)
    # The corp's sides of the two change places; positions follow, so that every sum still fits.
    async with admin_connection.transaction():
        sides = await admin_connection.fetch(
            "DELETE FROM payments.postings WHERE corp_id = $1 AND account_id = 'corp' RETURNING *",
            corp.corp_id,
        )
        swapped = zip(sides, reversed(sides), strict=True)
        await admin_connection.executemany(
            """
            INSERT INTO payments.postings
                   (corp_id, account_id, position, transfer_id, amount_minor, balance_after_minor)
            VALUES ($1, 'corp', $2, $3, $4, $5)
            """,
            [
                (
                    corp.corp_id,
                    own["position"],
                    other["transfer_id"],
                    own["amount_minor"],
                    own["balance_after_minor"],
                )
                for own, other in swapped
            ],
        )

    ledger = await corp.check()

    assert (ledger.posting_sum_minor, list(ledger.wrong_account_ids)) == (0, [])
    assert not ledger.balanced


async def test_service_can_not_rewrite_the_ledger(payments_database: Database) -> None:
    connection = await asyncpg.connect(payments_database.dsn("payments"))
    try:
        for statement in (
            "UPDATE payments.postings SET amount_minor = 1",
            "DELETE FROM payments.postings",
            "UPDATE payments.transfers SET kind = 'deposit'",
            "DELETE FROM payments.transfers",
            "DELETE FROM payments.accounts",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_audit_goes_round_and_keeps_a_corp_that_is_wrong_until_it_is_right(
    corp: Corp,
    payments_database: Database,
    admin_connection: asyncpg.Connection,
) -> None:
    await corp.deposit(500)
    change = """
        UPDATE payments.accounts SET balance_minor = balance_minor + $2
         WHERE corp_id = $1 AND account_id = 'corp'
    """
    async with create_pool(
        payments_database.dsn("payments"), service="payments", max_size=1, health=Health()
    ) as pool:
        audit = LedgerAudit(pool)
        await admin_connection.execute(change, corp.corp_id, 1)
        while corp.corp_id not in audit.wrong_corp_ids:
            await audit.check_next()
        await admin_connection.execute(change, corp.corp_id, -1)
        while corp.corp_id in audit.wrong_corp_ids:
            await audit.check_next()
