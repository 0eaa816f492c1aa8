"""The codes that members' answers to cards give to apps, and the event that tells of them."""

import datetime as dt
import secrets
from collections.abc import Iterable

from tieline.api.messaging.v1 import (
    app_message_service_pb2,
    message_content_pb2,
    message_service_pb2,
)
from tieline.chassis.errors import InvalidArgumentError, NotFoundError
from tieline.chassis.fields import to_timestamp
from tieline.chassis.outbox import build_event, insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.contents.choices import Question
from tieline.messaging.conversations.rules import Participant, participant_to_proto
from tieline.messaging.messages.change_rules import read_content
from tieline.messaging.messages.rules import StoredMessage
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.response_codes import ResponseCode, ResponseCodeRepository

LIFETIME = dt.timedelta(hours=72)
"""How long a code is good, as in the open API."""

CARD_ANSWERED = "tieline.messaging.v1.card_answered"

# 32 characters of base64: 192 bits, which nobody guesses.
_CODE_BYTES = 24
_CODE_CHARACTERS = 32


def new_response_code() -> str:
    """Return a code that nobody can guess."""
    return secrets.token_urlsafe(_CODE_BYTES)


def check_code(code: str) -> None:
    """Refuse what can't be a code as an unknown one is refused."""
    if len(code) != _CODE_CHARACTERS or "\0" in code:
        raise code_not_found_error()


def code_not_found_error() -> NotFoundError:
    """Return the error of a code that is not there, not good any more, or another app's."""
    return NotFoundError("RESPONSE_CODE_NOT_FOUND", "no such response code, or it was used")


def is_told(message: StoredMessage, question: Question) -> bool:
    """Return whether an app is told who answered this message of its own."""
    return is_card_of_app(message) and not question.is_anonymous


def is_card_of_app(message: StoredMessage) -> bool:
    """Return whether this is a card that an app sent."""
    is_of_app = message.sender.kind == PrincipalKind.APP.value
    return is_of_app and read_content(message).HasField("template_card")


def check_menu_key(card: message_content_pb2.TemplateCardContent, menu_key: str) -> None:
    """Refuse what is no entry of the card's menu."""
    if menu_key not in [entry.key for entry in card.menu]:
        raise InvalidArgumentError({"menu_key": "must be the key of an entry of the card's menu"})


async def tell_app(
    connection: Connection,
    message: StoredMessage,
    member: Participant,
    choices: Iterable[message_service_pb2.AnswerChoice] = (),
    *,
    menu_key: str = "",
) -> None:
    """Give the card's app a code for what the member chose, or pressed, and tell of it."""
    response = app_message_service_pb2.CardResponse(
        conversation_id=message.conversation_id,
        sequence=message.sequence,
        user_id=member.id,
        task_id=read_content(message).template_card.task_id,
        choices=choices,
        menu_key=menu_key,
    )
    code = new_response_code()
    create_time = await ResponseCodeRepository(connection).replace_answers(
        (message.corp_id, message.sender),
        code,
        (message.conversation_id, message.sequence),
        member.id,
        response.SerializeToString(),
        is_menu=bool(menu_key),
    )
    answered = app_message_service_pb2.CardAnswered(
        corp_id=message.corp_id,
        app=participant_to_proto(message.sender),
        response=_complete(response, code, create_time),
    )
    event = build_event(CARD_ANSWERED, message.corp_id, message.conversation_id, answered)
    await insert_events(connection, SCHEMA, [event])


def response_to_proto(code: ResponseCode) -> app_message_service_pb2.CardResponse:
    """Return what a member answered as the API shows it."""
    response = app_message_service_pb2.CardResponse.FromString(code.response)
    return _complete(response, code.response_code, code.create_time)


def _complete(
    response: app_message_service_pb2.CardResponse, code: str, create_time: dt.datetime
) -> app_message_service_pb2.CardResponse:
    response.response_code = code
    response.create_time.CopyFrom(to_timestamp(create_time))
    response.expire_time.CopyFrom(to_timestamp(create_time + LIFETIME))
    return response
