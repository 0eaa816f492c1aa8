"""ReadingService: between the wire and the rules."""

from __future__ import annotations

import nats.errors

from tieline.api.messaging.v1 import (
    live_signal_pb2,
    reading_pb2,
    reading_service_pb2,
    reading_service_pb2_grpc,
)
from tieline.chassis.broker import Broker, broker_unavailable_error
from tieline.chassis.commit_batch import CommitBatcher
from tieline.chassis.errors import (
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Pool
from tieline.messaging.callers import require_conversation, require_user
from tieline.messaging.conversations.rules import (
    Participant,
    conversation_not_found_error,
    participant_to_proto,
)
from tieline.messaging.live.subjects import build_look_subject, build_person_subject
from tieline.messaging.live.subscriber import Update
from tieline.messaging.reading.rules import (
    MAX_LOOKED_AT,
    Pin,
    StateChange,
    Wish,
    check_draft,
    check_mark,
    check_mute,
    state_to_proto,
)
from tieline.messaging.repositories.conversations import ConversationRepository
from tieline.messaging.repositories.participants import ParticipantRepository
from tieline.messaging.repositories.reading import ReaderRow, ReadingRepository
from tieline.messaging.sending.numbering import ConversationKey

_MAX_SUBSCRIPTION_ID_BYTES = 64

StateBatcher = CommitBatcher[StateChange, reading_pb2.ReadingState]


class ReadingServicer(reading_service_pb2_grpc.ReadingServiceServicer):
    """What somebody has read, keeps and does not want to be told of."""

    def __init__(
        self, pool: Pool, broker: Broker, page_tokens: PageTokens, batcher: StateBatcher
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._page_tokens = page_tokens
        self._batcher = batcher

    async def MarkRead(
        self, request: reading_service_pb2.MarkReadRequest, context: Context
    ) -> reading_service_pb2.MarkReadResponse:
        """Note up to where the caller, or a device of the caller's, has a conversation."""
        mark = check_mark(request.read_sequence, request.delivered_sequence)
        state = await self._change(request.corp_id, request.conversation_id, mark)
        return reading_service_pb2.MarkReadResponse(state=state)

    async def MuteConversation(
        self, request: reading_service_pb2.MuteConversationRequest, context: Context
    ) -> reading_service_pb2.MuteConversationResponse:
        """Set whether the caller wants to be told of new messages."""
        until = request.mute_until_time if request.HasField("mute_until_time") else None
        mute = check_mute(request.muted, until)
        state = await self._change(request.corp_id, request.conversation_id, mute)
        return reading_service_pb2.MuteConversationResponse(state=state)

    async def PinConversation(
        self, request: reading_service_pb2.PinConversationRequest, context: Context
    ) -> reading_service_pb2.PinConversationResponse:
        """Set whether a conversation stands at the top of the caller's list."""
        pin = Pin(request.pinned)
        state = await self._change(request.corp_id, request.conversation_id, pin)
        return reading_service_pb2.PinConversationResponse(state=state)

    async def SaveDraft(
        self, request: reading_service_pb2.SaveDraftRequest, context: Context
    ) -> reading_service_pb2.SaveDraftResponse:
        """Keep what the caller has begun to write."""
        draft = check_draft(request.draft)
        state = await self._change(request.corp_id, request.conversation_id, draft)
        return reading_service_pb2.SaveDraftResponse(state=state)

    async def ListReadingStates(
        self, request: reading_service_pb2.ListReadingStatesRequest, context: Context
    ) -> reading_service_pb2.ListReadingStatesResponse:
        """List the caller's states that changed after a revision."""
        user = require_user(request.corp_id)
        if request.after_revision < 0:
            raise InvalidArgumentError({"after_revision": "must not be negative"})
        size = page_size(request.page_size, default=200, maximum=1000)
        async with self._pool.acquire() as connection:
            states, last_revision, now = await ReadingRepository(connection).list_states(
                user, after_revision=request.after_revision, limit=size + 1
            )
        page = states[:size]
        return reading_service_pb2.ListReadingStatesResponse(
            states=[state_to_proto(state, now) for state in page],
            last_revision=max([last_revision, *(state.revision for state in page)]),
            more=len(states) > size,
        )

    async def ListReaders(
        self, request: reading_service_pb2.ListReadersRequest, context: Context
    ) -> reading_service_pb2.ListReadersResponse:
        """List who has read a message of the caller's, and who has not."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        if request.filter not in reading_service_pb2.ReaderFilter.values():
            raise InvalidArgumentError({"filter": "must be a filter of this version"})
        position = self._page_tokens.decode(request.page_token, request)
        after = None if position is None else Participant(str(position[0]), str(position[1]))
        async with self._pool.acquire() as connection:
            repository = ReadingRepository(connection)
            if await ParticipantRepository(connection).find_span_of(key, caller) is None:
                raise conversation_not_found_error(request.conversation_id)
            await _check_sender(repository, key, request.sequence, caller)
            rows = await repository.list_readers(key, request.sequence, caller)
        readers = [_build_reader(row, request.sequence) for row in rows]
        wanted = [
            (row.participant, reader)
            for row, reader in zip(rows, readers, strict=True)
            if _passes(reader, request.filter) and (after is None or row.participant > after)
        ]
        page, next_page_token = self._page_tokens.cut(
            wanted[: size + 1], size, request, lambda item: item[0]
        )
        read_count = sum(reader.read for reader in readers)
        return reading_service_pb2.ListReadersResponse(
            readers=[reader for _, reader in page],
            next_page_token=next_page_token,
            read_count=read_count,
            unread_count=len(readers) - read_count,
        )

    async def LookAt(
        self, request: reading_service_pb2.LookAtRequest, context: Context
    ) -> reading_service_pb2.LookAtResponse:
        """Let a subscription of the caller's hear what passes in a conversation."""
        user = require_user(request.corp_id)
        if not 1 <= len(request.subscription_id.encode()) <= _MAX_SUBSCRIPTION_ID_BYTES:
            raise InvalidArgumentError({"subscription_id": "must be what `started` told"})
        is_shown = True
        if request.conversation_id:
            key, caller = require_conversation(request.corp_id, request.conversation_id)
            is_shown = await self._is_shown(key, caller)
        look = live_signal_pb2.Look(
            subscription_id=request.subscription_id,
            conversation_id=request.conversation_id if is_shown else "",
        )
        signal = live_signal_pb2.PersonSignal(look=look)
        await self._publish(build_person_subject(user), signal.SerializeToString())
        return reading_service_pb2.LookAtResponse(shown=is_shown and bool(request.conversation_id))

    async def ShowTyping(
        self, request: reading_service_pb2.ShowTypingRequest, context: Context
    ) -> reading_service_pb2.ShowTypingResponse:
        """Tell those who look at a conversation that the caller is typing."""
        key, caller = require_conversation(request.corp_id, request.conversation_id)
        is_shown = await self._is_shown(key, caller)
        if is_shown:
            typing = reading_pb2.Typing(
                conversation_id=key[1], participant=participant_to_proto(caller)
            )
            signal = live_signal_pb2.LookSignal(update=Update(typing=typing))
            await self._publish(build_look_subject(*key), signal.SerializeToString())
        return reading_service_pb2.ShowTypingResponse(shown=is_shown)

    async def _change(
        self, corp_id: str, conversation_id: str, wish: Wish
    ) -> reading_pb2.ReadingState:
        key, caller = require_conversation(corp_id, conversation_id)
        return await self._batcher.submit(StateChange(key[0], caller, conversation_id, wish))

    async def _is_shown(self, key: ConversationKey, caller: Participant) -> bool:
        """Tell whether a conversation of the caller's is small enough for signs of life."""
        async with self._pool.acquire() as connection:
            conversation = await ConversationRepository(connection).find_conversation_of(
                key, caller
            )
        if conversation is None:
            raise conversation_not_found_error(key[1])
        return conversation.participant_count <= MAX_LOOKED_AT

    async def _publish(self, subject: str, payload: bytes) -> None:
        try:
            if self._broker.is_connected:
                await self._broker.publish(subject, payload)
                return
        except (OSError, nats.errors.Error):
            pass  # told below
        raise broker_unavailable_error()


async def _check_sender(
    repository: ReadingRepository, key: ConversationKey, sequence: int, caller: Participant
) -> None:
    sender = await repository.find_sender(key, sequence)
    if sender is None:
        raise NotFoundError(
            "MESSAGE_NOT_FOUND", "no such message in the conversation", {"sequence": str(sequence)}
        )
    if sender != caller:
        raise PermissionDeniedError(
            "NOT_THE_SENDER", "who has read a message is told to its sender alone"
        )


def _build_reader(row: ReaderRow, sequence: int) -> reading_pb2.Reader:
    return reading_pb2.Reader(
        participant=participant_to_proto(row.participant),
        read=row.read_sequence >= sequence,
        delivered=row.delivered_sequence >= sequence,
    )


def _passes(reader: reading_pb2.Reader, wanted: reading_service_pb2.ReaderFilter.ValueType) -> bool:
    if wanted == reading_service_pb2.READER_FILTER_UNSPECIFIED:
        return True
    return reader.read == (wanted == reading_service_pb2.READER_FILTER_READ)
