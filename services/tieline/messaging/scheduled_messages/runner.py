"""Sends scheduled messages when their time has come.

Every replica looks once a second and takes what no other has taken. A message is stored and
written down as sent in one transaction, under its schedule's lock and if that is still as it was
taken: what was cancelled or changed meanwhile is not said, and whoever takes over sends nothing
twice.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from tieline.api.messaging.v1 import messaging_pb2, scheduled_message_service_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.commit_batch import Commit, CommitBatcher
from tieline.chassis.errors import (
    AbortedError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.chassis.requests import InternalError
from tieline.messaging.callers import find_missing_members
from tieline.messaging.messages.rules import Send, build_send
from tieline.messaging.repositories.scheduled_messages import ScheduledMessageRepository
from tieline.messaging.scheduled_messages.rules import (
    ScheduledMessage,
    State,
    build_client_message_id,
)
from tieline.messaging.scheduled_messages.schedules import find_next_time, read_schedule
from tieline.messaging.sending.results import build_error

# The exactness that is promised is a minute's, that of the schedule.
INTERVAL_S = 1.0

# At nine in the morning thousands are due: a turn takes so many at a time until none is left.
_BATCH = 200

# Of one transaction: who changes one of its schedules, or sends to its conversations, waits for it.
_MAX_SENT = 100

# Far above a batch's time; as long do messages wait whose replica ended.
LEASE = dt.timedelta(seconds=30)

# What is no fault of the message: it is sent when the lease has ended.
_PASSING_ERRORS = (UnavailableError, AbortedError, ResourceExhaustedError)

logger = logging.getLogger(__name__)


class _Occurrence(NamedTuple):
    message: ScheduledMessage
    """As it was taken."""

    send: Send


class ScheduleRunner:
    """Takes due messages, sends them, and writes down what became of them."""

    def __init__(
        self, pool: Pool, broker: Broker, commit_sends: Commit[Send, messaging_pb2.Message]
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._commit_sends = commit_sends
        # Not people's: this one locks schedules before it locks conversations.
        self._batcher: CommitBatcher[_Occurrence, None] = CommitBatcher(
            pool, self._commit, max_batch=_MAX_SENT
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send what is due within the block."""
        repeated = repeating("the sending of scheduled messages", self.turn, interval_s=INTERVAL_S)
        async with self._batcher, repeated:
            yield

    async def turn(self) -> None:
        """Send all that is due now."""
        taken = _BATCH
        while taken == _BATCH:
            async with transaction(self._pool) as connection:
                due = await ScheduledMessageRepository(connection).claim_due(
                    lease=LEASE, limit=_BATCH
                )
            of_corps = groupby(sorted(due, key=_corp_of), _corp_of)
            await asyncio.gather(*[self._send_all(corp_id, list(of)) for corp_id, of in of_corps])
            taken = len(due)

    async def _send_all(self, corp_id: str, due: Sequence[ScheduledMessage]) -> None:
        """Send what is due of one corp; who is no member of it any more says nothing.

        Events end what such people had scheduled; this finds what they scheduled meanwhile.
        """
        senders = {message.sender for message in due}
        try:
            missing = set(await find_missing_members(self._broker, corp_id, senders))
        except (ServiceError, InternalError) as error:
            logger.warning("%d scheduled messages of %s are put off: %s", len(due), corp_id, error)
            return
        if missing:
            async with transaction(self._pool) as connection:
                await ScheduledMessageRepository(connection).cancel_all_of(corp_id, missing)
        staying = [message for message in due if message.sender.id not in missing]
        await asyncio.gather(*map(self._send, staying))

    async def _send(self, message: ScheduledMessage) -> None:
        try:
            await self._batcher.submit(_Occurrence(message, _build_send(message)))
        except _PASSING_ERRORS as error:
            logger.warning(
                "scheduled message %s is put off: %s", message.scheduled_message_id, error
            )
        except ServiceError as error:
            # A replica from before there was one transaction sent it, with what it said before.
            was_sent = error.reason == "CLIENT_MESSAGE_ID_REUSED"
            await self._write_down(message, None if was_sent else error)

    async def _commit(
        self, connection: Connection, occurrences: Sequence[_Occurrence]
    ) -> list[ServiceError | None]:
        """Send those that are still as they were taken; what was sent is written down with it."""
        repository = ScheduledMessageRepository(connection)
        unchanged = await repository.lock_unchanged([each.message for each in occurrences])
        going = [each for each in occurrences if each.message in unchanged]
        if not going:
            return [None] * len(occurrences)
        outcomes = await self._commit_sends(connection, [each.send for each in going])
        now = await repository.read_time()
        refusals: dict[ScheduledMessage, ServiceError] = {}
        for (message, _), outcome in zip(going, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                refusals[message] = outcome
            else:
                await repository.update(plan_outcome(message, None, now))
        return [refusals.get(each.message) for each in occurrences]

    async def _write_down(self, sent: ScheduledMessage, error: ServiceError | None) -> None:
        async with transaction(self._pool) as connection:
            repository = ScheduledMessageRepository(connection)
            # Else it was changed, is gone with its corp, or was written down by whoever took over.
            if sent in await repository.lock_unchanged([sent]):
                await repository.update(plan_outcome(sent, error, await repository.read_time()))


def plan_outcome(
    message: ScheduledMessage, error: ServiceError | None, now: dt.datetime
) -> ScheduledMessage:
    """Return what an active message is once it was sent at ``now``, or refused. Pure."""
    if error is not None:
        return replace(
            message,
            state=State.FAILED,
            next_send_time=None,
            failure=build_error(error).SerializeToString(),
        )
    sent = replace(message, sent_count=message.sent_count + 1, last_send_time=now)
    given = scheduled_message_service_pb2.Schedule.FromString(message.schedule)
    next_send_time = find_next_time(read_schedule(given), now)
    state = State.FINISHED if next_send_time is None else State.ACTIVE
    return replace(sent, state=state, next_send_time=next_send_time)


def _corp_of(message: ScheduledMessage) -> str:
    return message.corp_id


def _build_send(message: ScheduledMessage) -> Send:
    """Return the send of the next occurrence, checked by the rules of now."""
    return build_send(
        (message.corp_id, message.sender),
        message.conversation_id,
        build_client_message_id(message),
        messaging_pb2.MessageContent.FromString(message.content),
    )
