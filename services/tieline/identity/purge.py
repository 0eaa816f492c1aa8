"""Deletes what no request can ask for any more: used assertions, ended sessions and secrets, corps
whose time of grace is over, months of the audit log that are past its retention, old codes.

Every replica does; they keep out of each other's way.
"""

import datetime as dt
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.outbox import build_event
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.identity.acts import record_act
from tieline.identity.apps.tokens import FAILURE_WINDOW
from tieline.identity.links.changes import leave_links
from tieline.identity.repositories import (
    app_token_failures,
    apps,
    audit_entries,
    corp_purge,
    customers,
    one_time_codes,
    providers,
    qr_sign_ins,
    sessions,
    tallies,
)

# Ten thousand customers signing in a second make 600,000 assertions a minute: 120 batches.
_INTERVAL_S = 60.0
_BATCH_ROWS = 5000

# Each has its lock, its event and its audit entry.
_BATCH_LINKS = 100

CORP_DELETED = "tieline.identity.v1.corp_deleted"

_DELETIONS = (
    customers.delete_expired_assertions,
    sessions.delete_over,
    apps.delete_expired_secrets,
    partial(app_token_failures.delete_over, window=FAILURE_WINDOW),
    one_time_codes.delete_ended,
    providers.delete_ended_flows,
    qr_sign_ins.delete_ended,
    tallies.delete_decayed,
    tallies.delete_forgotten_addresses,
)

logger = logging.getLogger(__name__)


@asynccontextmanager
async def purging(pool: Pool, *, audit_retention: dt.timedelta) -> AsyncIterator[None]:
    """Purge now and then within the block."""

    async def purge_all() -> None:
        await purge(pool)
        await purge_corps(pool)
        await keep_audit_log(pool, audit_retention)

    async with repeating("the purge of identity", purge_all, interval_s=_INTERVAL_S):
        yield


async def purge(pool: Pool) -> None:
    """Delete everything that is over, in transactions of bounded size."""
    for delete in _DELETIONS:
        while True:
            async with transaction(pool) as connection:
                deleted = await delete(connection, maximum_rows=_BATCH_ROWS)
            if deleted < _BATCH_ROWS:
                break


async def keep_audit_log(pool: Pool, retention: dt.timedelta) -> None:
    """Make room for the coming months of the audit log, drop those past the retention."""
    async with transaction(pool) as connection:
        dropped = await audit_entries.keep_partitions(connection, retention)
    if dropped:
        logger.info("dropped months of the audit log: %s", ", ".join(dropped))


async def purge_corps(pool: Pool) -> None:
    """Delete what identity keeps of corps whose time of grace is over; then tell the others.

    In transactions of bounded size, each of which can be the last one of this process: the next
    one goes on where it ended.
    """
    while True:
        async with transaction(pool) as connection:
            corp_id = await corp_purge.lock_due_corp(connection)
            if corp_id is None:
                return
            await _purge_some(connection, corp_id)


async def _purge_some(connection: Connection, corp_id: str) -> None:
    if await leave_links(connection, corp_id, maximum_links=_BATCH_LINKS):
        return
    if await corp_purge.delete_rows(connection, corp_id, maximum_rows=_BATCH_ROWS):
        return
    await corp_purge.mark_deleted(connection, corp_id)
    event = identity_pb2.CorpDeleted(corp_id=corp_id)
    await record_act(
        connection,
        corp_id=PLATFORM_LOG,
        action="corp.purge",
        resource=f"corps/{corp_id}",
        events=[build_event(CORP_DELETED, corp_id, corp_id, event)],
    )
