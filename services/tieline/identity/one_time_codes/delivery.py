"""Sends one-time codes from their queue, a row each, until they are sent or too old to be of use.

An accepted request survives whatever happens to the replica: the row says what is still to be done.
A replica takes a row for a time (the lease) and then asks the directory who the receiver is, and
sends. A replica that dies meanwhile leaves the row to the others, who take it when the lease is
over; the receiver may then get the same code twice.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from opentelemetry.metrics import get_meter

from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Pool, transaction
from tieline.identity.one_time_codes.rules import (
    OneTimeCodes,
    Purpose,
    Receiver,
    find_next_delivery,
)
from tieline.identity.repositories import one_time_codes
from tieline.identity.repositories.one_time_codes import Delivery

# A question to the directory (2 s) and one try of a sender (5 s), with room.
_LEASE = dt.timedelta(seconds=15)

# Codes sent at the same time by one replica; a webhook that takes a second gets 16 a second.
_SENDERS = 16

# What another replica accepted, or put off and did not live to try, waits for this at most.
_POLL_INTERVAL_S = 1.0

_deliveries = get_meter("tieline.identity").create_counter(
    "one_time_code_deliveries",
    unit="{attempt}",
    description="Attempts to send one-time codes, by what became of them",
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CodeMessage:
    """What a sender is given."""

    delivery_id: str
    """The same for each attempt at one code."""

    corp_id: str
    """Empty for customers."""

    purpose: Purpose
    receiver: Receiver
    code: str = field(repr=False)
    expire_time: dt.datetime


class DeliveryError(Exception):
    """The sender could not send; the text says why and holds no secret."""

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final
        """Whether another attempt would end the same way."""


class CodeSender(Protocol):
    """Brings codes to people: by SMS, e-mail, or for development into the log."""

    async def send(self, message: CodeMessage) -> None:
        """Send it, within five seconds, or raise DeliveryError."""


FindUser = Callable[[str, Receiver], Awaitable[str | None]]
"""Returns whose number or address it is in a corp; None for nobody's."""


class CodeQueue:
    """Works the queue off; made by ``delivering``."""

    def __init__(
        self, pool: Pool, sender: CodeSender, codes: OneTimeCodes, find_user: FindUser
    ) -> None:
        self._pool = pool
        self._sender = sender
        self._codes = codes
        self._find_user = find_user
        self._has_work = asyncio.Event()
        self._places = asyncio.Semaphore(_SENDERS)
        self._under_way: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look at the queue at once: a code was put into it."""
        self._has_work.set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        while True:
            try:
                async with asyncio.timeout(_POLL_INTERVAL_S):
                    await self._has_work.wait()
            except TimeoutError:
                pass
            self._has_work.clear()
            try:
                await self._work_off()
            except ServiceError as error:
                logger.info("one-time codes wait: %s", error.text)
            except Exception:
                logger.exception("sending one-time codes failed and goes on")

    async def finish(self) -> None:
        """Stop what is under way; somebody else does it."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _work_off(self) -> None:
        """Begin everything that is due, a bounded number at a time."""
        while True:
            # First a free place, then the row: its lease must not run while it waits.
            await self._places.acquire()
            try:
                async with transaction(self._pool) as connection:
                    delivery = await one_time_codes.claim_delivery(connection, _LEASE)
            except BaseException:
                self._places.release()
                raise
            if delivery is None:
                self._places.release()
                return
            task = asyncio.create_task(self._deliver(delivery), name="deliver-code")
            self._under_way.add(task)
            task.add_done_callback(self._leave)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._places.release()
        if not task.cancelled() and task.exception() is not None:
            logger.error("sending a one-time code failed", exc_info=task.exception())

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            user_id = await self._send(delivery)
        except DeliveryError as error:
            await self._put_off(delivery, str(error), is_final=error.is_final)
        except ServiceError as error:
            # The directory is away.
            await self._put_off(delivery, error.text, is_final=False)
        else:
            is_sent = user_id is not None or delivery.purpose is Purpose.CUSTOMER_SIGN_IN
            await self._settle(delivery, "sent" if is_sent else "unknown_receiver", user_id)

    async def _send(self, delivery: Delivery) -> str | None:
        """Send it unless nobody of the corp has the number or address; return who has."""
        user_id = None
        if delivery.purpose is not Purpose.CUSTOMER_SIGN_IN:
            user_id = await self._find_user(delivery.corp_id, delivery.receiver)
            if user_id is None:
                return None
            # Before the message is on its way: it may be read before the answer is here.
            await self._settle(delivery, "waiting", user_id)
        await self._sender.send(
            CodeMessage(
                delivery_id=delivery.code_id,
                corp_id=delivery.corp_id,
                purpose=delivery.purpose,
                receiver=delivery.receiver,
                code=self._codes.derive(delivery.corp_id, delivery.code_id),
                expire_time=delivery.expire_time,
            )
        )
        return user_id

    async def _put_off(self, delivery: Delivery, why: str, *, is_final: bool) -> None:
        now = dt.datetime.now(dt.UTC)
        next_time = find_next_delivery(delivery.attempts, now, delivery.expire_time)
        if is_final or next_time is None:
            logger.error("one-time code %s is given up: %s", delivery.code_id, why)
            await self._settle(delivery, "dead", None)
            return
        logger.warning("one-time code %s is tried again: %s", delivery.code_id, why)
        _deliveries.add(1, {"outcome": "failed"})
        async with transaction(self._pool) as connection:
            await one_time_codes.put_off_delivery(connection, delivery, next_time)

    async def _settle(self, delivery: Delivery, state: str, user_id: str | None) -> None:
        async with transaction(self._pool) as connection:
            await one_time_codes.settle_delivery(connection, delivery, state, user_id=user_id)
        if state != "waiting":
            _deliveries.add(1, {"outcome": state})


@asynccontextmanager
async def delivering(queue: CodeQueue) -> AsyncIterator[None]:
    """Work the queue off within the block; what is under way then is done by somebody else."""
    task = asyncio.create_task(queue.run(), name="deliver-codes")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await queue.finish()
