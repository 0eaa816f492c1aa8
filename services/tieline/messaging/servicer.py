"""MessagingService: between the wire and the rules."""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from contextvars import copy_context
from functools import partial
from typing import cast

from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
)
from tieline.chassis.admission.messages import hear_held_back, tell_level
from tieline.chassis.broker import Broker
from tieline.chassis.calls import check_part_admitted, current_principal
from tieline.chassis.commit_batch import CommitBatcher
from tieline.chassis.errors import InvalidArgumentError, ServiceError
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.page_tokens import PageTokens, Position, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.app_messages.sends import AppSends, Refusals, refuse
from tieline.messaging.callers import (
    check_members,
    get_conversation,
    require_conversation,
    require_user,
)
from tieline.messaging.compliance.sensitive_words import check_allowed
from tieline.messaging.conversations.opening import Opening
from tieline.messaging.conversations.overviews import overview_to_proto
from tieline.messaging.conversations.rules import (
    ROLES_TO_PROTO,
    Conversation,
    ConversationKind,
    NewConversation,
    Participant,
    check_conversation_request,
    conversation_not_found_error,
    conversation_to_proto,
    participant_to_proto,
)
from tieline.messaging.corp_labels import find_verified_label
from tieline.messaging.live.announcer import Announcer
from tieline.messaging.live.catching_up import read_held
from tieline.messaging.live.connected_devices import ConnectedDevices
from tieline.messaging.live.open_streams import OpenStreams
from tieline.messaging.live.subscribers import LiveHub
from tieline.messaging.messages.range_reads import read_batch
from tieline.messaging.messages.ranges import check_batch, check_bounds
from tieline.messaging.messages.rules import Send, build_send
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.conversations import ConversationRepository
from tieline.messaging.repositories.overviews import OverviewRow, list_overviews
from tieline.messaging.repositories.participants import (
    ListedParticipant,
    ParticipantRepository,
    UserKey,
)
from tieline.messaging.sending.batches import Screen
from tieline.messaging.sending.results import build_result
from tieline.messaging.sending.stream import (
    MAX_REQUEST_MESSAGES,
    MAX_SEND_STREAMS,
    SendStream,
    report_fault,
)
from tieline.messaging.suspended_corps import SuspendedCorps

# A batch of the committer has room for it.
MAX_BATCH_MESSAGES = 200

SendBatcher = CommitBatcher[Send, messaging_pb2.Message]

# Where people from outside of the corp may be.
_OUTSIDERS_IN = (ConversationKind.DIRECT, ConversationKind.CUSTOMER_GROUP)

_MICROSECOND = dt.timedelta(microseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class MessagingServicer(messaging_service_pb2_grpc.MessagingServiceServicer):
    """Conversations, sending, receiving, catching up."""

    def __init__(
        self,
        *,
        pool: Pool,
        broker: Broker,
        page_tokens: PageTokens,
        batcher: SendBatcher,
        announcer: Announcer,
        hub: LiveHub,
        screen: Screen,
        suspended: SuspendedCorps,
        app_sends: AppSends,
        devices: ConnectedDevices,
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._page_tokens = page_tokens
        self._batcher = batcher
        self._announcer = announcer
        self._hub = hub
        self._screen = screen
        self._suspended = suspended
        self._app_sends = app_sends
        self._devices = devices
        self._send_streams = OpenStreams(MAX_SEND_STREAMS, "TOO_MANY_SEND_STREAMS", "send streams")

    async def CreateConversation(
        self, request: messaging_service_pb2.CreateConversationRequest, context: Context
    ) -> messaging_service_pb2.CreateConversationResponse:
        """Open a conversation of members, at most once per ``request_id``."""
        corp_id, caller = require_user(request.corp_id)
        new = check_conversation_request(request.kind, request.name, request.user_ids, caller)

        async def prepare() -> None:
            check_allowed(self._screen(corp_id, new.name))
            await check_members(self._broker, corp_id, new.others)

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            messaging_service_pb2.CreateConversationResponse,
            lambda connection: self._create(connection, corp_id, new),
            corp_id=corp_id,
            prepare=prepare,
        )

    async def GetConversation(
        self, request: messaging_service_pb2.GetConversationRequest, context: Context
    ) -> messaging_service_pb2.GetConversationResponse:
        """Return a conversation that the caller is in."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        async with self._pool.acquire(spares_reset=True) as connection:
            conversation = await get_conversation(connection, key, caller)
            overviews = await list_overviews(connection, (key[0], caller), [key[1]])
        _add_overviews([conversation], overviews)
        return messaging_service_pb2.GetConversationResponse(conversation=conversation)

    async def ListConversations(
        self, request: messaging_service_pb2.ListConversationsRequest, context: Context
    ) -> messaging_service_pb2.ListConversationsResponse:
        """List the caller's conversations, the latest activity first."""
        user = require_user(request.corp_id)
        size = page_size(request.page_size, default=50, maximum=200)
        position = self._page_tokens.decode(request.page_token, request)
        before = None
        if position is not None:
            microseconds, conversation_id = position
            before = (_EPOCH + int(microseconds) * _MICROSECOND, str(conversation_id))

        async with self._pool.acquire(spares_reset=True) as connection:
            conversations = await ConversationRepository(connection).list_conversations_of(
                user, before=before, limit=size + 1
            )
            page, next_page_token = self._page_tokens.cut(
                conversations, size, request, _position_by_activity
            )
            overviews = await list_overviews(
                connection, user, [conversation.conversation_id for conversation in page]
            )

        listed = [conversation_to_proto(conversation) for conversation in page]
        _add_overviews(listed, overviews)
        return messaging_service_pb2.ListConversationsResponse(
            conversations=listed, next_page_token=next_page_token
        )

    async def ListParticipants(
        self, request: messaging_service_pb2.ListParticipantsRequest, context: Context
    ) -> messaging_service_pb2.ListParticipantsResponse:
        """List who is in a conversation of the caller's, by kind and id."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        position = self._page_tokens.decode(request.page_token, request)
        after = None if position is None else Participant(str(position[0]), str(position[1]))

        async with self._pool.acquire() as connection:
            repository = ConversationRepository(connection)
            conversation = await repository.find_conversation_of(key, caller)
            if conversation is None:
                raise conversation_not_found_error(request.conversation_id)
            participants = ParticipantRepository(connection)
            listed = await participants.list_participants(key, after=after, limit=size + 1)
        label = ""
        if conversation.kind in _OUTSIDERS_IN:
            label = await find_verified_label(self._pool, self._broker, key[0])

        page, next_page_token = self._page_tokens.cut(
            listed, size, request, lambda each: each.participant
        )
        return messaging_service_pb2.ListParticipantsResponse(
            participants=[participant_to_proto(each.participant) for each in page],
            next_page_token=next_page_token,
            details=[_describe(each, conversation.kind, label) for each in page],
        )

    async def SendMessage(
        self, request: messaging_service_pb2.SendMessageRequest, context: Context
    ) -> messaging_service_pb2.SendMessageResponse:
        """Store a message under the next number, at most once per ``client_message_id``."""
        user = require_user(request.corp_id)
        self._suspended.check(user[0])
        send = build_send(
            user,
            request.conversation_id,
            request.client_message_id,
            request.content,
            copy_context(),
        )
        await self._app_sends.check(user, request.conversation_id)
        message = await self._batcher.submit(send)
        return messaging_service_pb2.SendMessageResponse(message=message)

    async def BatchSendMessages(
        self, request: messaging_service_pb2.BatchSendMessagesRequest, context: Context
    ) -> messaging_service_pb2.BatchSendMessagesResponse:
        """Store each of the messages as SendMessage would; each has a result of its own."""
        user = require_user(request.corp_id)
        if not 1 <= len(request.messages) <= MAX_BATCH_MESSAGES:
            raise InvalidArgumentError({"messages": f"must be 1 to {MAX_BATCH_MESSAGES} messages"})
        refusals = await self._app_sends.find_refusals(user, _list_conversations(request.messages))
        begin = partial(self._begin, user, refusals, copy_context())
        outcomes = await asyncio.gather(*map(begin, request.messages), return_exceptions=True)
        response = messaging_service_pb2.BatchSendMessagesResponse(
            results=[build_result(outcome, report_fault) for outcome in outcomes]
        )
        tell_level(response.admission)
        return response

    async def SendMessages(
        self,
        request_iterator: AsyncIterator[messaging_service_pb2.SendMessagesRequest],
        context: Context,
    ) -> AsyncIterator[messaging_service_pb2.SendMessagesResponse]:
        """Store messages as they come; results follow in their order."""
        stream = SendStream(request_iterator, self._begin_each)
        with self._send_streams.entered(current_principal()):
            async with aclosing(stream.run()) as responses:
                async for response in responses:
                    tell_level(response.admission)
                    yield response

    async def _begin_each(
        self, request: messaging_service_pb2.SendMessagesRequest
    ) -> Iterator[asyncio.Future[messaging_pb2.Message]]:
        user = require_user(request.corp_id)
        if not 1 <= len(request.messages) <= MAX_REQUEST_MESSAGES:
            raise InvalidArgumentError(
                {"messages": f"must be 1 to {MAX_REQUEST_MESSAGES} messages"}
            )
        if request.HasField("held_back"):
            hear_held_back(request.held_back)
        refusals = await self._app_sends.find_refusals(user, _list_conversations(request.messages))
        return map(partial(self._begin, user, refusals, copy_context()), request.messages)

    def _begin(
        self,
        user: UserKey,
        refusals: Refusals,
        cause: contextvars.Context,
        message: messaging_pb2.OutgoingMessage,
    ) -> asyncio.Future[messaging_pb2.Message]:
        """Hand a message in; what is wrong with it is the future's error."""
        try:
            check_part_admitted()
            self._suspended.check(user[0])
            send = build_send(
                user,
                message.conversation_id,
                message.client_message_id,
                message.content,
                cause,
            )
            if refusals and send.conversation_id in refusals:
                return refuse(refusals[send.conversation_id])
            return self._batcher.begin(send)
        except ServiceError as error:
            return refuse(error)

    async def ListMessages(
        self, request: messaging_service_pb2.ListMessagesRequest, context: Context
    ) -> messaging_service_pb2.ListMessagesResponse:
        """Return a range of a conversation's messages in order of their numbers."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        violations: dict[str, str] = {}
        check_bounds(
            request.after_sequence, request.before_sequence, request.page_size, "", violations
        )
        raise_violations(violations)
        asked = messaging_service_pb2.MessageRangeRequest(
            conversation_id=request.conversation_id,
            after_sequence=request.after_sequence,
            before_sequence=request.before_sequence,
            page_size=request.page_size,
        )
        async with self._pool.acquire(spares_reset=True) as connection:
            ranges = await read_batch(connection, key[0], caller, [asked])
        if not ranges:
            raise conversation_not_found_error(request.conversation_id)
        [found] = ranges
        return messaging_service_pb2.ListMessagesResponse(
            messages=found.messages,
            last_sequence=found.last_sequence,
            kept_from_sequence=found.kept_from_sequence,
        )

    async def BatchListMessages(
        self, request: messaging_service_pb2.BatchListMessagesRequest, context: Context
    ) -> messaging_service_pb2.BatchListMessagesResponse:
        """Return ranges of many conversations, as far as they fit into one answer."""
        corp_id, caller = require_user(request.corp_id)
        check_batch(request.ranges)
        async with self._pool.acquire(spares_reset=True) as connection:
            ranges = await read_batch(connection, corp_id, caller, request.ranges)
        return messaging_service_pb2.BatchListMessagesResponse(ranges=ranges)

    async def Subscribe(
        self, request: messaging_service_pb2.SubscribeRequest, context: Context
    ) -> AsyncIterator[messaging_service_pb2.SubscribeResponse]:
        """Deliver every message stored from ``started`` on, in order, none twice, none missing."""
        user = require_user(request.corp_id)
        held = read_held(request)
        device = (user[0], current_principal().session_id)
        leave = self._devices.enter(device)
        try:
            subscribed = self._hub.subscribe(
                user,
                held,
                request.state_revision,
                in_batches=request.batches,
                on_leave=leave,
            )
            async with aclosing(subscribed) as updates:
                async for update in updates:
                    # The generated types do not know of responses that come encoded.
                    yield cast("messaging_service_pb2.SubscribeResponse", update)
        finally:
            leave()

    async def _create(
        self, connection: Connection, corp_id: str, new: NewConversation
    ) -> messaging_service_pb2.CreateConversationResponse:
        opening = Opening(connection, self._announcer)
        if new.kind is ConversationKind.DIRECT:
            conversation_id = await opening.open_direct(corp_id, (new.caller, new.others[0]))
        else:
            conversation_id = new_uuid7()
            await opening.open_group(
                (corp_id, conversation_id), new.kind, new.name, new.caller, new.others
            )
        conversation = await get_conversation(connection, (corp_id, conversation_id), new.caller)
        return messaging_service_pb2.CreateConversationResponse(conversation=conversation)


def _list_conversations(messages: Iterable[messaging_pb2.OutgoingMessage]) -> Iterator[str]:
    return (message.conversation_id for message in messages)


def _add_overviews(
    conversations: Iterable[messaging_pb2.Conversation], overviews: Mapping[str, OverviewRow]
) -> None:
    for conversation in conversations:
        row = overviews.get(conversation.conversation_id)
        if row is not None:  # None for one that the caller has left just now
            conversation.overview.CopyFrom(overview_to_proto(row))


def _describe(
    listed: ListedParticipant, kind: ConversationKind, verified_label: str
) -> messaging_service_pb2.ParticipantDetails:
    details = messaging_service_pb2.ParticipantDetails(join_time=to_timestamp(listed.join_time))
    if kind is not ConversationKind.DIRECT:
        details.role = ROLES_TO_PROTO[listed.role]
    if listed.participant.kind == PrincipalKind.MEMBER:
        details.verified_label = verified_label
    return details


def _position_by_activity(conversation: Conversation) -> Position:
    microseconds = (conversation.last_activity_time - _EPOCH) // _MICROSECOND
    return [microseconds, conversation.conversation_id]
