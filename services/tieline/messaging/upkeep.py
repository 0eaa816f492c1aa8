"""Keeps the tables of messages in shape: parts for the months to come, no sends of long ago.

Every replica does; they keep out of each other's way.
"""

import datetime as dt
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.messaging.app_messages.card_responses import LIFETIME
from tieline.messaging.app_messages.rules import KEPT_FOR
from tieline.messaging.repositories.app_messages import AppMessageRepository
from tieline.messaging.repositories.card_tasks import delete_old_tasks
from tieline.messaging.repositories.overviews import delete_old_mentions
from tieline.messaging.repositories.response_codes import ResponseCodeRepository
from tieline.messaging.repositories.upkeep import UpkeepRepository

# Who was mentioned longer ago than this and has not read on will not miss it in a count.
_MENTION_AGE = dt.timedelta(days=180)

TASK_ID_WINDOW = dt.timedelta(days=180)
"""How long an app's task id names one card, as the API promises. The open API says no time."""

REPEAT_WINDOW = dt.timedelta(days=7)
"""How long a repeated client message id is recognised, as the API promises."""

# So many months may pass in which no replica could make a part.
MONTHS_AHEAD = 3

# A thousand messages a second are 60,000 sends to forget a minute: twelve batches.
_INTERVAL_S = 60.0
_BATCH_ROWS = 5000

# Each with its recipients: as many as a corp has members.
_BATCH_JOBS = 5

logger = logging.getLogger(__name__)


@asynccontextmanager
async def keeping_up(pool: Pool) -> AsyncIterator[None]:
    """Do it now and then within the block; first before anything is sent."""

    async def work() -> None:
        await keep_up(pool)

    await _keep_up_first(pool)
    async with repeating("the upkeep of messages", work, interval_s=_INTERVAL_S):
        yield


async def keep_up(pool: Pool) -> None:
    """Make the parts that are missing; forget what need not be recognised any more."""
    async with transaction(pool) as connection:
        made = await UpkeepRepository(connection).create_parts(months_ahead=MONTHS_AHEAD)
    if made:
        logger.info("made parts for %d months of messages", made)
    deleted = _BATCH_ROWS
    while deleted == _BATCH_ROWS:
        async with transaction(pool) as connection:
            deleted = await UpkeepRepository(connection).delete_old_sends(
                age=REPEAT_WINDOW, maximum_rows=_BATCH_ROWS
            )
    deleted = _BATCH_ROWS
    while deleted == _BATCH_ROWS:
        async with transaction(pool) as connection:
            deleted = await delete_old_mentions(
                connection, age=_MENTION_AGE, maximum_rows=_BATCH_ROWS
            )
    await _forget_app_messages(pool)
    deleted = _BATCH_ROWS
    while deleted == _BATCH_ROWS:
        async with transaction(pool) as connection:
            deleted = await delete_old_tasks(
                connection, age=TASK_ID_WINDOW, maximum_rows=_BATCH_ROWS
            )


async def _forget_app_messages(pool: Pool) -> None:
    deleted = _BATCH_JOBS
    while deleted == _BATCH_JOBS:
        async with transaction(pool) as connection:
            deleted = await AppMessageRepository(connection).delete_old(
                age=KEPT_FOR, maximum=_BATCH_JOBS
            )
    deleted = _BATCH_ROWS
    while deleted == _BATCH_ROWS:
        async with transaction(pool) as connection:
            deleted = await ResponseCodeRepository(connection).delete_expired(
                lifetime=LIFETIME, maximum_rows=_BATCH_ROWS
            )


async def _keep_up_first(pool: Pool) -> None:
    try:
        await keep_up(pool)
    except ServiceError as error:
        logger.warning("the upkeep failed and is tried again in a minute: %s", error)
    except Exception:
        # A fault here must not end the upkeep for the life of the process.
        logger.exception("the upkeep failed and is tried again in a minute")
