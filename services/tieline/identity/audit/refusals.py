"""Entries of the audit log for refused sign-ins, written after the answer has gone.

Written before, they would make the answer for an account that exists a little later than for one
that does not. A refusal is nobody's act: one that a crash loses is no gap in the log. Attempts that
are held back make no entry, which bounds their number by the rules of ``lockout``.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from tieline.chassis.audit import PLATFORM_LOG, build_audit_event
from tieline.chassis.calls import Call, current_call, entered
from tieline.chassis.errors import ServiceError
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Pool, transaction
from tieline.identity.repositories import SCHEMA, accounts, platform_administrators

# Beyond what the database takes in a second; then the log tells how many are missing.
_MAX_WAITING = 200

logger = logging.getLogger(__name__)


class Refusals:
    """Writes the entries; made by ``recording_refusals``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, corp_id: str, user_id: str, method: str) -> None:
        """Have the refusal written, if there is such an account.

        Of a platform administrator the corp is PLATFORM_LOG and the user id the name.
        """
        if len(self._tasks) >= _MAX_WAITING:
            logger.warning("a refused sign-in is missing in the audit log: too many at once")
            return
        call = _keep_address(current_call())
        task = asyncio.create_task(self._write(call, corp_id, user_id, method), name="note-refusal")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for those under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self, call: Call, corp_id: str, user_id: str, method: str) -> None:
        try:
            with entered(call):
                await self._insert(corp_id, user_id, method)
        except ServiceError as error:
            logger.warning("a refused sign-in is missing in the audit log: %s", error.text)
        except Exception:
            logger.exception("a refused sign-in is missing in the audit log")

    async def _insert(self, corp_id: str, user_id: str, method: str) -> None:
        async with transaction(self._pool) as connection:
            found: object
            if corp_id == PLATFORM_LOG:
                party, resource = "platform_administrator", f"platformAdministrators/{user_id}"
                found = await platform_administrators.find_password_hash(connection, user_id)
            else:
                party, resource = "member", f"members/{user_id}"
                found = await accounts.find_account(connection, corp_id, user_id)
            if found is None:
                return
            event = await build_audit_event(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action=f"identity.{party}.sign_in_refused",
                resource=resource,
                details={"method": method},
            )
            await insert_events(connection, SCHEMA, [event])


def _keep_address(call: Call) -> Call:
    """Return the call with its address at hand: gRPC, asked for it after the answer, crashes."""
    address = call.find_address()
    return replace(call, find_address=lambda: address)


@asynccontextmanager
async def recording_refusals(pool: Pool) -> AsyncIterator[Refusals]:
    """Write refusals within the block; leaving it waits for those under way."""
    refusals = Refusals(pool)
    try:
        yield refusals
    finally:
        await refusals.finish()
