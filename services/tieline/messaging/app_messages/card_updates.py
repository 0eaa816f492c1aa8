"""Puts other cards in the place of those that apps sent, against response codes."""

from tieline.api.messaging.v1 import app_message_service_pb2, messaging_pb2
from tieline.chassis.fields import is_uuid
from tieline.chassis.postgres import Connection
from tieline.messaging.app_messages import card_responses
from tieline.messaging.app_messages import rules as app_messages
from tieline.messaging.app_messages.card_tasks import claim_other_task
from tieline.messaging.app_messages.rules import Job, job_to_proto
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.messages.change_rules import wrong_kind_error
from tieline.messaging.messages.changes import MessageChange
from tieline.messaging.repositories.app_message_recipients import RecipientRepository
from tieline.messaging.repositories.app_messages import AppMessageRepository
from tieline.messaging.repositories.message_changes import MessageChangeRepository
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.response_codes import ResponseCode, ResponseCodeRepository

Request = app_message_service_pb2.UpdateCardRequest
Response = app_message_service_pb2.UpdateCardResponse


class CardUpdate:
    """What a code stands for: one message, or all that a job sent."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    async def update(self, connection: Connection, app: UserKey, request: Request) -> Response:
        """Use the code up, in the caller's transaction; what is refused leaves it good."""
        code = await ResponseCodeRepository(connection).take(
            app, request.response_code, lifetime=card_responses.LIFETIME
        )
        if code is None:
            raise card_responses.code_not_found_error()
        if code.job_id or request.everybody:
            return await _update_job(connection, app, code, request)
        change = await MessageChange.begin(
            connection, self._announcer, (app[0], code.conversation_id), app[1], code.sequence
        )
        # Read before, and claimed behind: a card that can't be replaced is refused for that.
        current_task_id = change.task_id
        message = await change.replace_card(request.card)
        await claim_other_task(connection, app, request.card.task_id, current_task_id)
        return Response(message=message)


async def _update_job(
    connection: Connection, app: UserKey, code: ResponseCode, request: Request
) -> Response:
    """Have everybody whom the job reached get the card, in the background."""
    repository = AppMessageRepository(connection)
    job_id = code.job_id or await _find_job_id(connection, app, code)
    job = await repository.find((app[0], job_id), app_id=app[1].id, locks=True)
    if job is None:
        raise app_messages.job_not_found_error(job_id)
    current = messaging_pb2.MessageContent.FromString(job.content)
    updated = app_messages.replace_content(job, _build_content(job, request))
    await repository.save(updated)
    task_id = current.template_card.task_id
    await claim_other_task(connection, app, request.card.task_id, task_id)
    return Response(job=job_to_proto(updated))


def _build_content(job: Job, request: Request) -> bytes:
    content = messaging_pb2.MessageContent.FromString(job.content)
    content.template_card.CopyFrom(request.card)
    return content.SerializeToString(deterministic=True)


async def _find_job_id(connection: Connection, app: UserKey, code: ResponseCode) -> str:
    """Return which job sent the card that was answered."""
    key = (app[0], code.conversation_id)
    found = await MessageChangeRepository(connection).list_by_number(key, [code.sequence])
    message = found.get(code.sequence)
    job_id = None if message is None else app_messages.find_job_id(message.client_message_id)
    # The app may have sent something under such an id itself.
    if job_id is None or not is_uuid(job_id):
        raise wrong_kind_error()
    job_key = (app[0], job_id)
    if not await RecipientRepository(connection).is_recipient(job_key, code.user_id, key):
        raise wrong_kind_error()
    return job_id
