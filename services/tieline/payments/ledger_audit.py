"""Adds the ledgers up anew, one corp after the other, while the service runs.

What never happens is what an alert is for: a ledger that does not add up is found within as many
minutes as there are corps, shared among the replicas by chance of where each begins.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tieline.chassis.ids import new_corp_id
from tieline.chassis.postgres import Pool
from tieline.chassis.repeating import repeating
from tieline.payments.repositories.ledger import LedgerRepository, find_next_corp

INTERVAL_S = 60.0

logger = logging.getLogger(__name__)


class LedgerAudit:
    """Where this replica's round through the corps stands, and what it found."""

    def __init__(self, pool: Pool, after_corp_id: str = "") -> None:
        self._pool = pool
        self._after_corp_id = after_corp_id
        self.wrong_corp_ids: set[str] = set()
        """Corps whose ledger did not add up when it was last looked at here."""

    async def check_next(self) -> None:
        """Add the next corp's ledger up; after the last corp comes the first."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            corp_id = await find_next_corp(connection, self._after_corp_id)
            self._after_corp_id = corp_id or ""
            if corp_id is None:
                return
            totals = await LedgerRepository(connection, corp_id).add_up()
        if totals.is_balanced:
            self.wrong_corp_ids.discard(corp_id)
            return
        self.wrong_corp_ids.add(corp_id)
        logger.error(
            "the ledger of %s does not add up: %d unbalanced transfers, sum %d, accounts %s",
            corp_id,
            totals.unbalanced_transfer_count,
            totals.posting_sum_minor,
            ", ".join(totals.wrong_account_ids),
        )


@asynccontextmanager
async def auditing_ledgers(pool: Pool, meter: Meter) -> AsyncIterator[None]:
    """Check a corp a minute until the block is left; a metric tells how many are wrong."""
    # Replicas that begin in different places go round together in less time.
    audit = LedgerAudit(pool, new_corp_id())

    def observe(_: CallbackOptions) -> list[Observation]:
        return [Observation(len(audit.wrong_corp_ids))]

    meter.create_observable_gauge(
        "ledger.mismatches", [observe], "{corp}", "Corps whose ledger does not add up."
    )
    async with repeating("adding ledgers up", audit.check_next, interval_s=INTERVAL_S):
        yield
