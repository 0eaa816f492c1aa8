"""The SQL of the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tieline.chassis.postgres import Connection
from tieline.payments.ledger import (
    CURRENCY_CODE,
    Account,
    Posting,
    Transfer,
    account_kind,
    corp_deleted_error,
    post_transfers,
    touched_account_ids,
)

MAX_WRONG_ACCOUNTS = 100


@dataclass(frozen=True, slots=True)
class LedgerTotals:
    """What adding a ledger up anew finds."""

    transfer_count: int
    account_count: int
    posting_sum_minor: int
    unbalanced_transfer_count: int
    """Transfers whose postings don't sum to 0, or that are not two."""

    wrong_account_ids: Sequence[str]
    """At most 100."""

    @property
    def is_balanced(self) -> bool:
        """Whether nothing is wrong."""
        return not (
            self.posting_sum_minor or self.unbalanced_transfer_count or self.wrong_account_ids
        )


async def find_next_corp(connection: Connection, after_corp_id: str) -> str | None:
    """Return the first corp behind this one that has a ledger.

    Not one that is gone: nothing is posted any more, and its rows may just be being deleted.
    """
    corp_id: str | None = await connection.fetchval(
        """
        SELECT corp_id
          FROM payments.accounts
         WHERE corp_id > $1
           AND NOT EXISTS (SELECT FROM payments.deleted_corps AS gone
                            WHERE gone.corp_id = accounts.corp_id)
         ORDER BY corp_id
         LIMIT 1
        """,
        after_corp_id,
    )
    return corp_id


class LedgerRepository:
    """Reads and writes the accounts of one corp."""

    def __init__(self, connection: Connection, corp_id: str) -> None:
        self._connection = connection
        self._corp_id = corp_id

    async def post(self, transfers: Sequence[Transfer]) -> Mapping[str, Account]:
        """Move the money, all of it or none; return the accounts after it.

        Locks the accounts until the transaction ends, in the order of their ids. Raises
        FailedPreconditionError INSUFFICIENT_FUNDS when a transfer is not covered, CORP_DELETED
        when the corp is gone.
        """
        account_ids = touched_account_ids(transfers)
        await self._insert_missing_accounts(account_ids)
        locked = await self._lock_accounts(account_ids)
        if not locked:
            raise corp_deleted_error(self._corp_id)
        postings, accounts = post_transfers(locked, transfers)
        await self._insert_transfers(transfers)
        await self._insert_postings(postings)
        await self._update_accounts(accounts.values())
        return accounts

    async def get_balance(self, account_id: str) -> int:
        """Return what an account holds; 0 for one that never held anything."""
        balance_minor = await self._connection.fetchval(
            "SELECT balance_minor FROM payments.accounts WHERE corp_id = $1 AND account_id = $2",
            self._corp_id,
            account_id,
        )
        return balance_minor or 0

    async def add_up(self) -> LedgerTotals:
        """Add the whole ledger up anew; the caller's transaction must be one snapshot."""
        return LedgerTotals(
            transfer_count=await self._connection.fetchval(
                "SELECT count(*) FROM payments.transfers WHERE corp_id = $1", self._corp_id
            ),
            account_count=await self._connection.fetchval(
                "SELECT count(*) FROM payments.accounts WHERE corp_id = $1", self._corp_id
            ),
            posting_sum_minor=await self._connection.fetchval(
                """
                SELECT coalesce(sum(amount_minor), 0)::bigint
                  FROM payments.postings
                 WHERE corp_id = $1
                """,
                self._corp_id,
            ),
            unbalanced_transfer_count=await self._count_unbalanced_transfers(),
            wrong_account_ids=await self._list_wrong_accounts(),
        )

    async def _insert_missing_accounts(self, account_ids: Sequence[str]) -> None:
        # In the order of the locks. Who locks accounts has inserted all of its own before, and so
        # never waits for an account that another transaction is inserting: no deadlock.
        await self._connection.execute(
            """
            INSERT INTO payments.accounts (corp_id, account_id, kind, currency_code)
            SELECT $1, missing.account_id, missing.kind, $4
              FROM unnest($2::text[], $3::text[]) AS missing (account_id, kind)
             ORDER BY missing.account_id COLLATE "C"
                ON CONFLICT ON CONSTRAINT accounts_pkey DO NOTHING
            """,
            self._corp_id,
            account_ids,
            [account_kind(account_id) for account_id in account_ids],
            CURRENCY_CODE,
        )

    async def _lock_accounts(self, account_ids: Sequence[str]) -> dict[str, Account]:
        """Return the accounts, which were just made if they were not there; none of a corp gone."""
        rows = await self._connection.fetch(
            """
            SELECT account_id, balance_minor, posting_count
              FROM payments.accounts
             WHERE corp_id = $1 AND account_id = ANY($2::text[])
               AND NOT EXISTS (SELECT FROM payments.deleted_corps WHERE corp_id = $1)
             ORDER BY account_id COLLATE "C"
               FOR UPDATE
            """,
            self._corp_id,
            account_ids,
        )
        return {row["account_id"]: Account(**row) for row in rows}

    async def _insert_transfers(self, transfers: Sequence[Transfer]) -> None:
        await self._connection.execute(
            """
            INSERT INTO payments.transfers (corp_id, transfer_id, kind, business_key, reference)
            SELECT $1, new.*
              FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) AS new
            """,
            self._corp_id,
            [transfer.transfer_id for transfer in transfers],
            [transfer.kind for transfer in transfers],
            [transfer.business_key for transfer in transfers],
            [transfer.reference for transfer in transfers],
        )

    async def _insert_postings(self, postings: Sequence[Posting]) -> None:
        await self._connection.execute(
            """
            INSERT INTO payments.postings
                   (corp_id, account_id, position, transfer_id, amount_minor, balance_after_minor)
            SELECT $1, new.*
              FROM unnest($2::text[], $3::bigint[], $4::uuid[], $5::bigint[], $6::bigint[]) AS new
            """,
            self._corp_id,
            [posting.account_id for posting in postings],
            [posting.position for posting in postings],
            [posting.transfer_id for posting in postings],
            [posting.amount_minor for posting in postings],
            [posting.balance_after_minor for posting in postings],
        )

    async def _update_accounts(self, accounts: Iterable[Account]) -> None:
        changed = list(accounts)
        await self._connection.execute(
            """
            UPDATE payments.accounts AS account
               SET balance_minor = changed.balance_minor, posting_count = changed.posting_count
              FROM unnest($2::text[], $3::bigint[], $4::bigint[])
                   AS changed (account_id, balance_minor, posting_count)
             WHERE account.corp_id = $1 AND account.account_id = changed.account_id
            """,
            self._corp_id,
            [account.account_id for account in changed],
            [account.balance_minor for account in changed],
            [account.posting_count for account in changed],
        )

    async def _count_unbalanced_transfers(self) -> int:
        count: int = await self._connection.fetchval(
            """
            SELECT count(*)
              FROM (SELECT transfer.transfer_id
                      FROM payments.transfers AS transfer
                      LEFT JOIN payments.postings AS posting
                        ON posting.corp_id = transfer.corp_id
                       AND posting.transfer_id = transfer.transfer_id
                     WHERE transfer.corp_id = $1
                     GROUP BY transfer.transfer_id
                    HAVING count(posting.amount_minor) <> 2 OR sum(posting.amount_minor) <> 0
                   ) AS unbalanced
            """,
            self._corp_id,
        )
        return count

    async def _list_wrong_accounts(self) -> list[str]:
        """Compare the kept balances, the running ones too, with the sums of the postings."""
        rows = await self._connection.fetch(
            """
            WITH running AS (
                SELECT account_id, position, amount_minor, balance_after_minor,
                       sum(amount_minor) OVER until_here AS sum_minor,
                       row_number() OVER until_here AS row_number
                  FROM payments.postings
                 WHERE corp_id = $1
                WINDOW until_here AS (PARTITION BY account_id ORDER BY position)
            ), summed AS (
                SELECT account_id, sum(amount_minor) AS sum_minor, count(*) AS posting_count,
                       bool_and(balance_after_minor = sum_minor AND position = row_number)
                           AS is_consistent
                  FROM running
                 GROUP BY account_id
            )
            SELECT account.account_id
              FROM payments.accounts AS account
              LEFT JOIN summed ON summed.account_id = account.account_id
             WHERE account.corp_id = $1
               AND (account.balance_minor <> coalesce(summed.sum_minor, 0)
                    OR account.posting_count <> coalesce(summed.posting_count, 0)
                    OR NOT coalesce(summed.is_consistent, true)
                    OR (account.kind <> 'bank' AND account.balance_minor < 0))
             ORDER BY account.account_id
             LIMIT $2
            """,
            self._corp_id,
            MAX_WRONG_ACCOUNTS,
        )
        return [row["account_id"] for row in rows]
