"""AppMessageService: what apps send to many; ``runner`` sends it."""

import datetime as dt
from dataclasses import dataclass, field

from tieline.api.messaging.v1 import (
    app_message_service_pb2,
    app_message_service_pb2_grpc,
    messaging_pb2,
)
from tieline.chassis.errors import ServiceError
from tieline.chassis.fields import is_uuid, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.app_messages import card_responses
from tieline.messaging.app_messages import rules as app_messages
from tieline.messaging.app_messages.card_tasks import claim_task
from tieline.messaging.app_messages.card_updates import CardUpdate
from tieline.messaging.app_messages.reach import AppReach
from tieline.messaging.app_messages.rules import Job, job_to_proto
from tieline.messaging.app_messages.runner import AppMessageRunner
from tieline.messaging.callers import require_user
from tieline.messaging.compliance.sensitive_words import check_allowed, read_text
from tieline.messaging.contents.choices import find_selections
from tieline.messaging.contents.rules import check_content
from tieline.messaging.media.uses import check_uses, list_media
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.app_message_recipients import RecipientRepository
from tieline.messaging.repositories.app_messages import AppMessageRepository
from tieline.messaging.repositories.card_tasks import CardTask
from tieline.messaging.repositories.media import MediaRepository
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.response_codes import ResponseCodeRepository
from tieline.messaging.sending.batches import Screen
from tieline.messaging.suspended_corps import SuspendedCorps


@dataclass(slots=True)
class _Prepared:
    """What was found out before the transaction."""

    invalid: app_message_service_pb2.InvalidAudience = field(
        default_factory=app_message_service_pb2.InvalidAudience
    )


class AppMessageServicer(app_message_service_pb2_grpc.AppMessageServiceServicer):
    """Begins, shows and recalls jobs; updates cards."""

    def __init__(
        self,
        pool: Pool,
        page_tokens: PageTokens,
        reach: AppReach,
        runner: AppMessageRunner,
        update: CardUpdate,
        screen: Screen,
        suspended: SuspendedCorps,
    ) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._reach = reach
        self._runner = runner
        self._update = update
        self._screen = screen
        self._suspended = suspended

    async def SendAppMessage(
        self, request: app_message_service_pb2.SendAppMessageRequest, context: Context
    ) -> app_message_service_pb2.SendAppMessageResponse:
        """Begin a job, at most once per ``request_id``."""
        app = require_user(request.corp_id)
        within = app_messages.check_request(request)
        self._check_allowed(app[0], request.content)
        prepared = _Prepared()

        async def prepare() -> None:
            if not await self._reach.is_enabled(app[0], app[1].id):
                raise app_messages.app_disabled_error()
            prepared.invalid = await self._reach.find_invalid(app[0], app[1].id, request.audience)
            app_messages.check_reachable(request.audience, prepared.invalid)

        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            app_message_service_pb2.SendAppMessageResponse,
            lambda connection: _begin(connection, app, request, prepared.invalid, within),
            corp_id=app[0],
            prepare=prepare,
        )
        self._runner.wake()
        return response

    async def GetAppMessageJob(
        self, request: app_message_service_pb2.GetAppMessageJobRequest, context: Context
    ) -> app_message_service_pb2.GetAppMessageJobResponse:
        """Return one of the app's."""
        app = require_user(request.corp_id)
        async with self._pool.acquire() as connection:
            job = await _get(AppMessageRepository(connection), app, request.job_id)
        return app_message_service_pb2.GetAppMessageJobResponse(job=job_to_proto(job))

    async def ListAppMessageJobs(
        self, request: app_message_service_pb2.ListAppMessageJobsRequest, context: Context
    ) -> app_message_service_pb2.ListAppMessageJobsResponse:
        """List the app's, the newest first."""
        corp_id, app = require_user(request.corp_id)
        size = page_size(request.page_size, default=20, maximum=50)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            jobs = await AppMessageRepository(connection).list_of(
                corp_id,
                app.id,
                before_id="" if position is None else str(position[0]),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(jobs, size, request, lambda job: [job.job_id])
        return app_message_service_pb2.ListAppMessageJobsResponse(
            jobs=[job_to_proto(job, is_whole=False) for job in page],
            next_page_token=next_page_token,
        )

    async def ListFailedRecipients(
        self, request: app_message_service_pb2.ListFailedRecipientsRequest, context: Context
    ) -> app_message_service_pb2.ListFailedRecipientsResponse:
        """List whom a job did not reach."""
        app = require_user(request.corp_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            job = await _get(AppMessageRepository(connection), app, request.job_id)
            failed = await RecipientRepository(connection).list_failed(
                job,
                after_user_id="" if position is None else str(position[0]),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(failed, size, request, lambda each: [each[0]])
        return app_message_service_pb2.ListFailedRecipientsResponse(
            recipients=[
                app_message_service_pb2.FailedRecipient(
                    user_id=user_id, error=messaging_pb2.SendError.FromString(error)
                )
                for user_id, error in page
            ],
            next_page_token=next_page_token,
        )

    async def RecallAppMessage(
        self, request: app_message_service_pb2.RecallAppMessageRequest, context: Context
    ) -> app_message_service_pb2.RecallAppMessageResponse:
        """Have a job's message taken back from everybody."""
        app = require_user(request.corp_id)
        async with transaction(self._pool) as connection:
            repository = AppMessageRepository(connection)
            job = await _get(repository, app, request.job_id, locks=True)
            recalled = app_messages.begin_recall(job)
            if recalled is not job:
                app_messages.check_recall(job, await repository.read_time())
                await repository.save(recalled)
        self._runner.wake()
        return app_message_service_pb2.RecallAppMessageResponse(job=job_to_proto(recalled))

    async def UpdateCard(
        self, request: app_message_service_pb2.UpdateCardRequest, context: Context
    ) -> app_message_service_pb2.UpdateCardResponse:
        """Put another card in a card's place, at most once per ``request_id``."""
        app = require_user(request.corp_id)
        content = messaging_pb2.MessageContent(template_card=request.card)
        violations: dict[str, str] = {}
        check_content(content, violations)
        raise_violations(
            {
                path.replace("content.template_card", "card"): text
                for path, text in violations.items()
            }
        )
        card_responses.check_code(request.response_code)
        self._check_allowed(app[0], content)
        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            app_message_service_pb2.UpdateCardResponse,
            lambda connection: self._update.update(connection, app, request),
            corp_id=app[0],
        )
        self._runner.wake()
        return response

    async def ListCardResponses(
        self, request: app_message_service_pb2.ListCardResponsesRequest, context: Context
    ) -> app_message_service_pb2.ListCardResponsesResponse:
        """List answers whose codes are good, the oldest first."""
        app = require_user(request.corp_id)
        size = page_size(request.page_size, default=100, maximum=500)
        position = self._page_tokens.decode(request.page_token, request)
        after = None
        if position is not None:
            after = (dt.datetime.fromisoformat(str(position[0])), str(position[1]))
        async with self._pool.acquire() as connection:
            codes = await ResponseCodeRepository(connection).list_answers(
                app, after=after, lifetime=card_responses.LIFETIME, limit=size + 1
            )
        page, next_page_token = self._page_tokens.cut(
            codes, size, request, lambda code: [code.create_time.isoformat(), code.response_code]
        )
        return app_message_service_pb2.ListCardResponsesResponse(
            responses=map(card_responses.response_to_proto, page),
            next_page_token=next_page_token,
        )

    def _check_allowed(self, corp_id: str, content: messaging_pb2.MessageContent) -> None:
        """Refuse at once what each send would be refused for."""
        self._suspended.check(corp_id)
        check_allowed(self._screen(corp_id, read_text(content)))


async def _begin(
    connection: Connection,
    app: UserKey,
    request: app_message_service_pb2.SendAppMessageRequest,
    invalid: app_message_service_pb2.InvalidAudience,
    within: dt.timedelta,
) -> app_message_service_pb2.SendAppMessageResponse:
    corp_id, sender = app
    repository = AppMessageRepository(connection)
    await repository.lock_app(corp_id, sender.id)
    digest = app_messages.build_digest(request)
    like = await repository.find_like(corp_id, sender.id, digest, within)
    if like is not None:
        return app_message_service_pb2.SendAppMessageResponse(
            job=job_to_proto(like), duplicate=True
        )
    app_messages.check_room(await repository.count_with_work(corp_id, sender.id))
    refusal = await _find_media_refusal(connection, app, request.content)
    if refusal is not None:
        raise refusal
    task_id = request.content.template_card.task_id
    await claim_task(connection, CardTask(corp_id, sender.id, task_id))
    job = await repository.insert(
        (corp_id, new_uuid7()),
        sender.id,
        audience=request.audience.SerializeToString(deterministic=True),
        invalid=invalid.SerializeToString(deterministic=True),
        content=request.content.SerializeToString(deterministic=True),
        digest=digest,
    )
    code = ""
    if find_selections(request.content):
        code = card_responses.new_response_code()
        await ResponseCodeRepository(connection).insert_of_job(app, code, job.job_id)
    return app_message_service_pb2.SendAppMessageResponse(job=job_to_proto(job), response_code=code)


async def _find_media_refusal(
    connection: Connection, app: UserKey, content: messaging_pb2.MessageContent
) -> ServiceError | None:
    uses = list_media(content)
    if not uses:
        return None
    wanted = [(*app, use.media_id) for use in uses]
    readable = await MediaRepository(connection).lock_readable(wanted)
    return check_uses(uses, readable.get(app, {}))


async def _get(
    repository: AppMessageRepository, app: UserKey, job_id: str, *, locks: bool = False
) -> Job:
    job = None
    if is_uuid(job_id):
        job = await repository.find((app[0], job_id), app_id=app[1].id, locks=locks)
    if job is None:
        raise app_messages.job_not_found_error(job_id)
    return job
