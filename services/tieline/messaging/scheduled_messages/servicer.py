"""ScheduledMessageService: what people want to be said later."""

from dataclasses import replace

from tieline.api.messaging.v1 import (
    messaging_pb2,
    scheduled_message_service_pb2,
    scheduled_message_service_pb2_grpc,
)
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import is_uuid, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.callers import require_user
from tieline.messaging.contents.rules import check_content
from tieline.messaging.conversations.rules import (
    check_conversation_id,
    conversation_not_found_error,
)
from tieline.messaging.media.uses import check_uses, list_media
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.media import MediaRepository
from tieline.messaging.repositories.participants import ParticipantRepository, UserKey
from tieline.messaging.repositories.scheduled_messages import (
    NewScheduledMessage,
    ScheduledMessageRepository,
)
from tieline.messaging.scheduled_messages.rules import (
    ScheduledMessage,
    State,
    check_is_active,
    check_room,
    scheduled_message_not_found_error,
    scheduled_message_to_proto,
)
from tieline.messaging.scheduled_messages.schedules import check_schedule, find_next_time

_CHANGEABLE = ("content", "schedule")


class ScheduledMessageServicer(scheduled_message_service_pb2_grpc.ScheduledMessageServiceServicer):
    """Schedules, lists, changes and cancels; ``runner`` sends."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def CreateScheduledMessage(
        self,
        request: scheduled_message_service_pb2.CreateScheduledMessageRequest,
        context: Context,
    ) -> scheduled_message_service_pb2.CreateScheduledMessageResponse:
        """Schedule a message, at most once per ``request_id``."""
        sender = require_user(request.corp_id)
        given = request.scheduled_message
        check_conversation_id(given.conversation_id)
        _check_content(given)

        async def create(
            connection: Connection,
        ) -> scheduled_message_service_pb2.CreateScheduledMessageResponse:
            message = await _create(connection, sender, given)
            return scheduled_message_service_pb2.CreateScheduledMessageResponse(
                scheduled_message=scheduled_message_to_proto(message)
            )

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            scheduled_message_service_pb2.CreateScheduledMessageResponse,
            create,
            corp_id=sender[0],
        )

    async def GetScheduledMessage(
        self, request: scheduled_message_service_pb2.GetScheduledMessageRequest, context: Context
    ) -> scheduled_message_service_pb2.GetScheduledMessageResponse:
        """Return one of the caller's."""
        sender = require_user(request.corp_id)
        async with self._pool.acquire() as connection:
            message = await _get(
                ScheduledMessageRepository(connection), sender, request.scheduled_message_id
            )
        return scheduled_message_service_pb2.GetScheduledMessageResponse(
            scheduled_message=scheduled_message_to_proto(message)
        )

    async def ListScheduledMessages(
        self, request: scheduled_message_service_pb2.ListScheduledMessagesRequest, context: Context
    ) -> scheduled_message_service_pb2.ListScheduledMessagesResponse:
        """List the caller's, the newest first."""
        sender = require_user(request.corp_id)
        size = page_size(request.page_size, default=50, maximum=200)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            messages = await ScheduledMessageRepository(connection).list_of(
                sender,
                conversation_id=request.conversation_id,
                shows_ended=request.show_ended,
                before_id="" if position is None else str(position[0]),
                limit=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(
            messages, size, request, lambda message: [message.scheduled_message_id]
        )
        return scheduled_message_service_pb2.ListScheduledMessagesResponse(
            scheduled_messages=map(scheduled_message_to_proto, page),
            next_page_token=next_page_token,
        )

    async def UpdateScheduledMessage(
        self,
        request: scheduled_message_service_pb2.UpdateScheduledMessageRequest,
        context: Context,
    ) -> scheduled_message_service_pb2.UpdateScheduledMessageResponse:
        """Change what is said or when, of an active one."""
        sender = require_user(request.corp_id)
        given = request.scheduled_message
        paths = set(request.update_mask.paths)
        if not paths or not paths <= set(_CHANGEABLE):
            raise_violations({"update_mask": "must name content, schedule or both"})
        if "content" in paths:
            _check_content(given)
        async with transaction(self._pool) as connection:
            repository = ScheduledMessageRepository(connection)
            message = await _get(repository, sender, given.scheduled_message_id, locks=True)
            check_is_active(message)
            check_etag(given.etag, message.version)
            if "content" in paths:
                media_ids = await _lock_media(connection, sender, given.content)
                await repository.keep_media(sender[0], message.scheduled_message_id, media_ids)
                content = given.content.SerializeToString(deterministic=True)
                message = replace(message, content=content)
            if "schedule" in paths:
                now = await repository.read_time()
                schedule = check_schedule(given.schedule, now, "scheduled_message.schedule")
                message = replace(
                    message,
                    schedule=given.schedule.SerializeToString(deterministic=True),
                    next_send_time=find_next_time(schedule, now),
                )
            message = await repository.update(message)
        return scheduled_message_service_pb2.UpdateScheduledMessageResponse(
            scheduled_message=scheduled_message_to_proto(message)
        )

    async def CancelScheduledMessage(
        self,
        request: scheduled_message_service_pb2.CancelScheduledMessageRequest,
        context: Context,
    ) -> scheduled_message_service_pb2.CancelScheduledMessageResponse:
        """End a schedule; cancelling a cancelled one changes nothing."""
        sender = require_user(request.corp_id)
        async with transaction(self._pool) as connection:
            repository = ScheduledMessageRepository(connection)
            message = await _get(repository, sender, request.scheduled_message_id, locks=True)
            if message.state is not State.CANCELLED:
                check_is_active(message)
                message = await repository.update(
                    replace(message, state=State.CANCELLED, next_send_time=None)
                )
        return scheduled_message_service_pb2.CancelScheduledMessageResponse(
            scheduled_message=scheduled_message_to_proto(message)
        )


def _check_content(given: scheduled_message_service_pb2.ScheduledMessage) -> None:
    violations: dict[str, str] = {}
    check_content(given.content, violations)
    raise_violations({f"scheduled_message.{path}": text for path, text in violations.items()})


async def _create(
    connection: Connection,
    sender: UserKey,
    given: scheduled_message_service_pb2.ScheduledMessage,
) -> ScheduledMessage:
    corp_id, participant = sender
    repository = ScheduledMessageRepository(connection)
    now = await repository.read_time()
    schedule = check_schedule(given.schedule, now, "scheduled_message.schedule")
    key = (corp_id, given.conversation_id)
    if await ParticipantRepository(connection).find_span_of(key, participant) is None:
        raise conversation_not_found_error(given.conversation_id)
    check_room(await repository.count_active(sender))
    next_send_time = find_next_time(schedule, now)
    assert next_send_time is not None, "a checked schedule has a time to come"
    media_ids = await _lock_media(connection, sender, given.content)
    message = await repository.insert(
        NewScheduledMessage(
            corp_id,
            new_uuid7(),
            given.conversation_id,
            participant,
            given.content.SerializeToString(deterministic=True),
            given.schedule.SerializeToString(deterministic=True),
            next_send_time,
        )
    )
    if media_ids:
        await repository.keep_media(corp_id, message.scheduled_message_id, media_ids)
    return message


async def _lock_media(
    connection: Connection, sender: UserKey, content: messaging_pb2.MessageContent
) -> list[str]:
    """Return which media the message will refer to, or refuse those that its sender may not read.

    They stay until the transaction ends. Whether the sender still may is asked again at each send.
    """
    uses = list_media(content)
    if not uses:
        return []
    wanted = [(*sender, use.media_id) for use in uses]
    readable = await MediaRepository(connection).lock_readable(wanted)
    refusal = check_uses(uses, readable.get(sender, {}))
    if refusal is not None:
        raise refusal
    return [use.media_id for use in uses]


async def _get(
    repository: ScheduledMessageRepository,
    sender: UserKey,
    scheduled_message_id: str,
    *,
    locks: bool = False,
) -> ScheduledMessage:
    message = None
    if is_uuid(scheduled_message_id):
        message = await repository.find(sender, scheduled_message_id, locks=locks)
    if message is None:
        raise scheduled_message_not_found_error(scheduled_message_id)
    return message
