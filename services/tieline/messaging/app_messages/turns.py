"""One turn of an app's job: a bounded piece of work, in one transaction under the job's lock.

What a turn sends, and that it has sent it, is committed together; so a replica that ends at any
moment, or another one that works on the same job, leads to every recipient getting the message
once. The client message id is made of the job: whatever else goes wrong, nothing is sent twice.
"""

import datetime as dt
import logging
from collections.abc import Mapping, Sequence

from tieline.api.messaging.v1 import app_message_service_pb2, messaging_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.app_messages import rules as app_messages
from tieline.messaging.app_messages.reach import AppReach
from tieline.messaging.app_messages.rules import Job, State
from tieline.messaging.conversations.opening import Opening
from tieline.messaging.conversations.rules import app, member
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.messages.changes import MessageChange
from tieline.messaging.messages.rules import build_send
from tieline.messaging.repositories.app_message_recipients import (
    Recipient,
    RecipientRepository,
    SentCounts,
)
from tieline.messaging.repositories.app_messages import AppMessageRepository
from tieline.messaging.sending.batches import Sender
from tieline.messaging.sending.results import build_error, build_result
from tieline.messaging.sending.stream import report_fault

# Of an audience in one turn: with what is looked up of each, some 20 ms.
LISTED = 500

# Of messages in one transaction: what people send meanwhile waits for a processor, for so long.
SENT = 100

# A change of a message costs as much as several sends.
CHANGED = 25

_NOBODY_SENT = SentCounts(0, 0)

logger = logging.getLogger(__name__)


class Turns:
    """Does what comes next for a job."""

    def __init__(self, pool: Pool, announcer: Announcer, sender: Sender, reach: AppReach) -> None:
        self._pool = pool
        self._announcer = announcer
        self._sender = sender
        self._reach = reach

    async def take(self, job: Job) -> None:
        """Do one piece of the job's work; ServiceErrors of passing kinds leave it for later."""
        if job.state is State.RECALLING:
            await self._recall(job)
        elif job.state is not State.SENDING:
            await self._update(job)
        else:
            await self._go_on_sending(job)

    async def _go_on_sending(self, job: Job) -> None:
        expiry = app_messages.find_expiry(job, await self._read_time())
        if expiry is not None:
            await self._fail(job, expiry)
        elif not await self._reach.is_enabled(job.corp_id, job.app_id):
            await self._fail(job, app_messages.app_disabled_error())
        elif job.waiting_count:
            await self._send(job)
        elif job.is_listed:
            await self._update(job)
        else:
            await self._list(job)

    async def _list(self, job: Job) -> None:
        """Find the next recipients."""
        audience = app_message_service_pb2.AppMessageAudience.FromString(job.audience)
        user_ids = await self._reach.list_members(
            job.corp_id, job.app_id, audience, after=job.last_user_id, limit=LISTED
        )
        async with transaction(self._pool) as connection:
            jobs, recipients = AppMessageRepository(connection), RecipientRepository(connection)
            # Two jobs of the app count one after the other.
            await jobs.lock_app(job.corp_id, job.app_id)
            current = await _lock(jobs, job)
            # Somebody else was quicker, or it is taken back.
            if current.state is not State.SENDING or current.last_user_id != job.last_user_id:
                return
            counts = await recipients.count_recent(job, user_ids)
            errors = _find_rate_errors(user_ids, counts)
            await recipients.insert(current, user_ids, errors)
            current = app_messages.add_recipients(
                current, user_ids, len(errors), is_last=len(user_ids) < LISTED
            )
            await jobs.save(app_messages.end_sending(current, await jobs.read_time()))

    async def _send(self, job: Job) -> None:
        """Send to the next recipients; where all of them together fail, to each alone."""
        async with self._pool.acquire() as connection:
            user_ids = await RecipientRepository(connection).list_waiting(job, SENT)
        try:
            await self._send_to(job, user_ids)
        except ServiceError:
            raise
        except Exception:
            logger.info("%d messages of job %s are sent one by one", len(user_ids), job.job_id)
            for user_id in user_ids:
                await self._send_alone(job, user_id)

    async def _send_alone(self, job: Job, user_id: str) -> None:
        try:
            await self._send_to(job, [user_id])
        except ServiceError:
            raise
        except Exception as error:
            failure = build_result(error, report_fault).error.SerializeToString()
            async with transaction(self._pool) as connection:
                current = await _lock(AppMessageRepository(connection), job)
                waiting = await RecipientRepository(connection).list_waiting(current, SENT)
                if user_id in waiting:
                    await _write_down(connection, current, {}, {user_id: failure})

    async def _send_to(self, job: Job, user_ids: Sequence[str]) -> None:
        """Send to those of them who still wait, and write down what became of it."""
        async with transaction(self._pool) as connection:
            current = await _lock(AppMessageRepository(connection), job)
            if current.state is not State.SENDING:
                return
            waiting = set(await RecipientRepository(connection).list_waiting(current, SENT))
            outcomes = await self._commit(
                connection, current, [each for each in user_ids if each in waiting]
            )
            sent = {
                user_id: (outcome.conversation_id, outcome.sequence)
                for user_id, outcome in outcomes.items()
                if isinstance(outcome, messaging_pb2.Message)
            }
            errors = {
                user_id: build_error(outcome).SerializeToString()
                for user_id, outcome in outcomes.items()
                if isinstance(outcome, ServiceError)
            }
            await _write_down(connection, current, sent, errors)

    async def _commit(
        self, connection: Connection, job: Job, user_ids: Sequence[str]
    ) -> Mapping[str, messaging_pb2.Message | ServiceError]:
        readers = list(map(member, user_ids))
        if not readers:
            return {}
        sender = app(job.app_id)
        conversations = await Opening(connection, self._announcer).open_app_many(
            job.corp_id, sender, readers
        )
        content = messaging_pb2.MessageContent.FromString(job.content)
        sends = [
            build_send(
                (job.corp_id, sender),
                conversations[reader],
                app_messages.build_client_message_id(job),
                content,
            )._replace(was_counted=True)
            for reader in readers
        ]
        outcomes = await self._sender.commit(connection, sends)
        return dict(zip(user_ids, outcomes, strict=True))

    async def _recall(self, job: Job) -> None:
        """Take the message back from the next recipients; who waits gets nothing."""
        async with transaction(self._pool) as connection:
            jobs, recipients = AppMessageRepository(connection), RecipientRepository(connection)
            current = await _lock(jobs, job)
            if current.state is not State.RECALLING:
                return
            refusal = build_error(app_messages.recalled_before_sent_error())
            failed = await recipients.fail_waiting(current, refusal.SerializeToString())
            page = await recipients.list_sent(current, CHANGED)
            for recipient in page:
                await self._change(connection, current, recipient, None)
            await recipients.mark_recalled(current, [each.user_id for each in page])
            current = app_messages.count_recalled(current, len(page), failed)
            if len(page) < CHANGED:
                current = app_messages.end_recall(current, await jobs.read_time())
            await jobs.save(current)

    async def _update(self, job: Job) -> None:
        """Give the next recipients the card that the job has now; end what is done."""
        async with transaction(self._pool) as connection:
            jobs, recipients = AppMessageRepository(connection), RecipientRepository(connection)
            current = await _lock(jobs, job)
            if current.state in (State.RECALLING, State.RECALLED):
                return
            page = await recipients.list_outdated(current, CHANGED)
            content = messaging_pb2.MessageContent.FromString(current.content)
            for recipient in page:
                await self._change(connection, current, recipient, content)
            await recipients.mark_updated(current, [each.user_id for each in page])
            current = app_messages.count_updated(current, len(page))
            await jobs.save(app_messages.end_sending(current, await jobs.read_time()))

    async def _change(
        self,
        connection: Connection,
        job: Job,
        recipient: Recipient,
        content: messaging_pb2.MessageContent | None,
    ) -> None:
        """Give a recipient's message another card, or take it back, where that can be done.

        What was recalled alone, edited too often or removed by retention stays as it is.
        """
        key = (job.corp_id, recipient.conversation_id)
        try:
            change = await MessageChange.begin(
                connection, self._announcer, key, app(job.app_id), recipient.sequence
            )
            if content is None:
                await change.recall(was_in_time=True)
            else:
                await change.replace_card(content.template_card)
        except ServiceError as error:
            if not app_messages.is_lasting(error):
                raise

    async def _fail(self, job: Job, error: ServiceError) -> None:
        """End the job early; nobody waits for it any more."""
        async with transaction(self._pool) as connection:
            jobs = AppMessageRepository(connection)
            current = await _lock(jobs, job)
            if current.state is not State.SENDING:
                return
            current = app_messages.fail(current, error, await jobs.read_time())
            refusal = build_error(error).SerializeToString()
            failed = await RecipientRepository(connection).fail_waiting(current, refusal)
            await jobs.save(app_messages.count_outcomes(current, 0, failed))

    async def _read_time(self) -> dt.datetime:
        async with self._pool.acquire() as connection:
            return await AppMessageRepository(connection).read_time()


async def _lock(jobs: AppMessageRepository, job: Job) -> Job:
    """Lock the job; return it as it is now."""
    current = await jobs.find(job.key, app_id=job.app_id, locks=True)
    # Gone with its corp: there is nothing to be done for it.
    return current or app_messages.end_recall(job, job.create_time)


async def _write_down(
    connection: Connection,
    job: Job,
    sent: Mapping[str, tuple[str, int]],
    errors: Mapping[str, bytes],
) -> None:
    jobs, recipients = AppMessageRepository(connection), RecipientRepository(connection)
    await recipients.mark_sent(job, sent)
    await recipients.mark_failed(job, errors)
    job = app_messages.count_outcomes(job, len(sent), len(errors))
    await jobs.save(app_messages.end_sending(job, await jobs.read_time()))


def _find_rate_errors(
    user_ids: Sequence[str], counts: Mapping[str, SentCounts]
) -> dict[str, bytes]:
    """Return why some of them get nothing for now."""
    refusals = (
        (user_id, app_messages.find_rate_refusal(*counts.get(user_id, _NOBODY_SENT)))
        for user_id in user_ids
    )
    return {
        user_id: build_error(refusal).SerializeToString()
        for user_id, refusal in refusals
        if refusal is not None
    }
