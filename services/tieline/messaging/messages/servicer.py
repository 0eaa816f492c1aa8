"""MessageService: between the wire and the rules of messages that are there."""

import asyncio
from contextvars import copy_context

from tieline.api.messaging.v1 import (
    message_service_pb2,
    message_service_pb2_grpc,
    messaging_pb2,
)
from tieline.chassis.commit_batch import CommitBatcher
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.app_messages.sends import AppSends, refuse
from tieline.messaging.callers import require_conversation
from tieline.messaging.compliance.sensitive_words import check_allowed, read_text
from tieline.messaging.contents import choices
from tieline.messaging.conversations.rules import (
    Participant,
    check_conversation_id,
    conversation_not_found_error,
    participant_to_proto,
)
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.media.uses import list_media
from tieline.messaging.messages import change_rules as message_rules
from tieline.messaging.messages.changes import MessageChange, find_visible, set_pin
from tieline.messaging.messages.rules import Send, StoredMessage, message_to_proto
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.choices import ChoiceRepository, PersonChoices
from tieline.messaging.repositories.message_changes import MessageChangeRepository
from tieline.messaging.repositories.participants import ParticipantRepository
from tieline.messaging.repositories.sensitive_words import SensitiveWordRepository
from tieline.messaging.repositories.stored_messages import MAX_PAGE_BYTES
from tieline.messaging.sending.batches import Screen
from tieline.messaging.sending.numbering import ConversationKey
from tieline.messaging.sending.results import build_result
from tieline.messaging.sending.stream import report_fault
from tieline.messaging.suspended_corps import SuspendedCorps

_MAX_SHOWN_PEOPLE = 50


class MessageServicer(message_service_pb2_grpc.MessageServiceServicer):
    """Edits, recalls, reactions, pins, forwards, answers."""

    def __init__(
        self,
        pool: Pool,
        announcer: Announcer,
        batcher: CommitBatcher[Send, messaging_pb2.Message],
        screen: Screen,
        page_tokens: PageTokens,
        suspended: SuspendedCorps,
        app_sends: AppSends,
    ) -> None:
        self._pool = pool
        self._app_sends = app_sends
        self._suspended = suspended
        self._screen = screen
        self._page_tokens = page_tokens
        self._announcer = announcer
        self._batcher = batcher

    async def EditMessage(
        self, request: message_service_pb2.EditMessageRequest, context: Context
    ) -> message_service_pb2.EditMessageResponse:
        """Give a message other words."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        self._suspended.check(key[0])
        message_rules.check_edit_size(request.content)
        screening = self._screen(key[0], read_text(request.content))
        check_allowed(screening)
        await self._app_sends.check((key[0], caller), key[1])
        async with transaction(self._pool) as connection:
            change = await self._begin(connection, key, caller, request.sequence)
            message = await change.edit(request.content)
            if screening.flagged:
                await SensitiveWordRepository(connection).flag_edit(
                    key, request.sequence, screening.flagged
                )
        return message_service_pb2.EditMessageResponse(message=message)

    async def ListEdits(
        self, request: message_service_pb2.ListEditsRequest, context: Context
    ) -> message_service_pb2.ListEditsResponse:
        """Return what a message said before."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with self._pool.acquire() as connection:
            message = await _find_standing(connection, key, caller, request.sequence)
            repository = MessageChangeRepository(connection)
            numbers = await repository.list_edit_sequences(message)
            notes = await repository.list_by_number(key, numbers)
        return message_service_pb2.ListEditsResponse(
            contents=_list_past(message, [notes[number] for number in numbers if number in notes])
        )

    async def RecallMessage(
        self, request: message_service_pb2.RecallMessageRequest, context: Context
    ) -> message_service_pb2.RecallMessageResponse:
        """Take a message back."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with transaction(self._pool) as connection:
            change = await self._begin(connection, key, caller, request.sequence)
            message = await change.recall()
        return message_service_pb2.RecallMessageResponse(message=message)

    async def SetReaction(
        self, request: message_service_pb2.SetReactionRequest, context: Context
    ) -> message_service_pb2.SetReactionResponse:
        """Put a reaction on a message, or take it back."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        self._suspended.check(key[0])
        message_rules.check_reaction(request.reaction)
        if not request.removed:
            check_allowed(self._screen(key[0], request.reaction))
        async with transaction(self._pool) as connection:
            change = await self._begin(connection, key, caller, request.sequence)
            await change.set_reaction(request.reaction, is_removed=request.removed)
        return message_service_pb2.SetReactionResponse()

    async def ListReactions(
        self, request: message_service_pb2.ListReactionsRequest, context: Context
    ) -> message_service_pb2.ListReactionsResponse:
        """Return the reactions on a message."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with self._pool.acquire() as connection:
            await _find_standing(connection, key, caller, request.sequence)
            counts = await MessageChangeRepository(connection).count_reactions(
                key, request.sequence, caller, maximum_people=_MAX_SHOWN_PEOPLE
            )
        return message_service_pb2.ListReactionsResponse(
            reactions=[
                message_service_pb2.Reaction(
                    reaction=each.reaction,
                    count=each.people,
                    own=each.is_own,
                    participants=map(participant_to_proto, each.participants),
                )
                for each in counts
            ]
        )

    async def SetPin(
        self, request: message_service_pb2.SetPinRequest, context: Context
    ) -> message_service_pb2.SetPinResponse:
        """Pin a message, or no longer."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        self._suspended.check(key[0])
        async with transaction(self._pool) as connection:
            await set_pin(
                connection,
                self._announcer,
                key,
                caller,
                request.sequence,
                is_removed=request.removed,
            )
        return message_service_pb2.SetPinResponse()

    async def ListPins(
        self, request: message_service_pb2.ListPinsRequest, context: Context
    ) -> message_service_pb2.ListPinsResponse:
        """Return the pinned messages, the last pinned first."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with self._pool.acquire() as connection:
            span = await ParticipantRepository(connection).find_span_of(key, caller)
            if span is None:
                raise conversation_not_found_error(key[1])
            repository = MessageChangeRepository(connection)
            numbers = [
                number
                for number in await repository.list_pins(key)
                if number > span.visible_from_sequence
            ]
            found = await repository.list_by_number(key, numbers)
        messages = [message_to_proto(found[number]) for number in numbers if number in found]
        return message_service_pb2.ListPinsResponse(messages=messages)

    async def ForwardMessages(
        self, request: message_service_pb2.ForwardMessagesRequest, context: Context
    ) -> message_service_pb2.ForwardMessagesResponse:
        """Say elsewhere what was said here."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        self._suspended.check(key[0])
        message_rules.check_forward(
            request.sequences,
            request.to_conversation_ids,
            request.client_message_id,
            request.title,
            is_merged=request.merged,
        )
        for conversation_id in request.to_conversation_ids:
            check_conversation_id(conversation_id)
        messages = await self._read_to_forward(key, caller, sorted(request.sequences))
        contents = message_rules.build_forwards(messages, request.title, is_merged=request.merged)
        refusals = await self._app_sends.find_refusals(
            (key[0], caller), request.to_conversation_ids
        )
        outcomes = await asyncio.gather(
            *(
                refuse(refusals[target])
                if target in refusals
                else self._batcher.begin(
                    _build_forward(
                        (key[0], target),
                        caller,
                        f"{request.client_message_id}:{place}",
                        content,
                    )
                )
                for target in request.to_conversation_ids
                for place, content in enumerate(contents)
            ),
            return_exceptions=True,
        )
        return message_service_pb2.ForwardMessagesResponse(
            results=[build_result(outcome, report_fault) for outcome in outcomes]
        )

    async def AnswerMessage(
        self, request: message_service_pb2.AnswerMessageRequest, context: Context
    ) -> message_service_pb2.AnswerMessageResponse:
        """Answer a quiz or a template card, or press an entry of a card's menu."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        self._suspended.check(key[0])
        if request.menu_key:
            return await self._press_menu(key, caller, request)
        async with transaction(self._pool) as connection:
            change = await self._begin(connection, key, caller, request.sequence)
            await change.answer(request.choices)
        return message_service_pb2.AnswerMessageResponse()

    async def GetAnswers(
        self, request: message_service_pb2.GetAnswersRequest, context: Context
    ) -> message_service_pb2.GetAnswersResponse:
        """Return how often each option was chosen, and by whom to those who are told."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        size = page_size(request.page_size, default=50, maximum=200)
        position = self._page_tokens.decode(request.page_token, request)
        after = None if position is None else Participant(str(position[0]), str(position[1]))
        people: list[PersonChoices] = []
        async with self._pool.acquire() as connection:
            message = await _find_standing(connection, key, caller, request.sequence)
            question = choices.find_question(message_rules.read_content(message))
            repository = ChoiceRepository(connection, key, request.sequence)
            counts = await repository.count_choices()
            count = await repository.count_people()
            own = await repository.find_answer(caller)
            if question.shows_people(is_sender=message.sender == caller):
                people = await repository.list_answers(after=after, limit=size + 1)
        page, next_page_token = self._page_tokens.cut(
            people, size, request, lambda each: list(each.participant)
        )
        return message_service_pb2.GetAnswersResponse(
            options=choices.counts_to_proto(question, counts),
            people=count,
            own_choices=choices.choices_to_proto(question, own),
            answers=[_person_to_proto(question, each) for each in page],
            next_page_token=next_page_token,
        )

    async def _press_menu(
        self,
        key: ConversationKey,
        caller: Participant,
        request: message_service_pb2.AnswerMessageRequest,
    ) -> message_service_pb2.AnswerMessageResponse:
        """Press it at most once per ``request_id``: the same entry may be pressed again."""
        if request.choices:
            raise InvalidArgumentError({"choices": "must be empty beside menu_key"})

        async def act(connection: Connection) -> message_service_pb2.AnswerMessageResponse:
            change = await self._begin(connection, key, caller, request.sequence)
            await change.press_menu(request.menu_key)
            return message_service_pb2.AnswerMessageResponse()

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            message_service_pb2.AnswerMessageResponse,
            act,
            corp_id=key[0],
        )

    async def _begin(
        self, connection: Connection, key: ConversationKey, caller: Participant, sequence: int
    ) -> MessageChange:
        return await MessageChange.begin(connection, self._announcer, key, caller, sequence)

    async def _read_to_forward(
        self, key: ConversationKey, caller: Participant, sequences: list[int]
    ) -> list[StoredMessage]:
        """Return the messages, all of which the caller sees; refuse more than a page of them."""
        async with self._pool.acquire() as connection:
            span = await ParticipantRepository(connection).find_span_of(key, caller)
            if span is None:
                raise conversation_not_found_error(key[1])
            wanted = [n for n in sequences if span.visible_from_sequence < n <= span.last_sequence]
            found = await MessageChangeRepository(connection).list_by_number(key, wanted)
        for sequence in sequences:
            if not message_rules.is_message(found.get(sequence)):
                raise message_rules.message_not_found_error(sequence)
        assert sum(len(each.content) for each in found.values()) <= 2 * MAX_PAGE_BYTES
        return [found[sequence] for sequence in sequences]


async def _find_standing(
    connection: Connection, key: ConversationKey, caller: Participant, sequence: int
) -> StoredMessage:
    """Return a message that the caller sees and nobody took back."""
    span = await ParticipantRepository(connection).find_span_of(key, caller)
    if span is None:
        raise conversation_not_found_error(key[1])
    message = await find_visible(connection, key, sequence, span.visible_from_sequence)
    if not message_rules.is_message(message):
        raise message_rules.message_not_found_error(sequence)
    return message


def _list_past(
    message: StoredMessage, notes: list[StoredMessage]
) -> list[message_service_pb2.PastContent]:
    """Return what the message said from its beginning on, without what it says now."""
    if message.original_content is None:
        return []
    edits = [(message_rules.read_content(note).edit_note.content, note) for note in notes]
    said = [(message.original_content, message), *edits][:-1]
    return [
        message_service_pb2.PastContent(
            content=messaging_pb2.MessageContent.FromString(content),
            create_time=to_timestamp(since.create_time),
        )
        for content, since in said
    ]


def _person_to_proto(
    question: choices.Question, answer: PersonChoices
) -> message_service_pb2.PersonAnswer:
    return message_service_pb2.PersonAnswer(
        participant=participant_to_proto(answer.participant),
        choices=choices.choices_to_proto(question, answer.chosen),
    )


def _build_forward(
    key: ConversationKey,
    sender: Participant,
    client_message_id: str,
    content: messaging_pb2.MessageContent,
) -> Send:
    return Send(
        *key,
        sender,
        client_message_id,
        content.SerializeToString(deterministic=True),
        list_media(content),
        text=read_text(content),
        is_notice=content.HasField("notice"),
        task_id=content.template_card.task_id,
        cause=copy_context(),
    )
