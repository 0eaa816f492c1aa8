"""SensitiveWordService: between the wire and the words."""

from __future__ import annotations

import datetime as dt
from types import MappingProxyType

from tieline.api.messaging.v1 import sensitive_word_service_pb2, sensitive_word_service_pb2_grpc
from tieline.chassis.audit import record_act
from tieline.chassis.authorization import Right
from tieline.chassis.errors import InvalidArgumentError, ResourceExhaustedError
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.compliance.sensitive_words import (
    MAX_WORD_CHARACTERS,
    MAX_WORDS,
    WordAction,
    normalise,
)
from tieline.messaging.compliance.servicer import require_corp
from tieline.messaging.conversations.rules import participant_to_proto
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.repositories.sensitive_words import Flagged, SensitiveWordRepository

_ACTIONS = MappingProxyType(
    {
        sensitive_word_service_pb2.SENSITIVE_WORD_ACTION_BLOCK: WordAction.BLOCK,
        sensitive_word_service_pb2.SENSITIVE_WORD_ACTION_FLAG: WordAction.FLAG,
    }
)
_ACTIONS_TO_PROTO = MappingProxyType({action: proto for proto, action in _ACTIONS.items()})

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class SensitiveWordServicer(sensitive_word_service_pb2_grpc.SensitiveWordServiceServicer):
    """Words, and the messages in which they were said."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def UpdateSensitiveWords(
        self, request: sensitive_word_service_pb2.UpdateSensitiveWordsRequest, context: Context
    ) -> sensitive_word_service_pb2.UpdateSensitiveWordsResponse:
        """Add, change and remove words; a repeat changes nothing."""
        corp_id = require_corp(request.corp_id, Right.MANAGE_COMPLIANCE)
        words, removed = _check(request)
        async with transaction(self._pool) as connection:
            repository = SensitiveWordRepository(connection)
            version = await repository.lock_version(corp_id)
            gone = await repository.delete_words(corp_id, removed)
            changed = await repository.set_words(corp_id, words)
            count = await repository.count_words(corp_id)
            if count > MAX_WORDS:
                raise ResourceExhaustedError(
                    "TOO_MANY_SENSITIVE_WORDS", f"a corp has at most {MAX_WORDS} sensitive words"
                )
            if gone or changed:
                version = await repository.raise_version(corp_id)
                details = {"changed": str(changed), "removed": str(gone)}
                await record_act(
                    connection,
                    SCHEMA,
                    corp_id=corp_id,
                    action="messaging.sensitive_words.update",
                    resource="sensitiveWords",
                    details=details,
                )
        return sensitive_word_service_pb2.UpdateSensitiveWordsResponse(
            word_count=count, version=version
        )

    async def ListSensitiveWords(
        self, request: sensitive_word_service_pb2.ListSensitiveWordsRequest, context: Context
    ) -> sensitive_word_service_pb2.ListSensitiveWordsResponse:
        """List words in their order."""
        corp_id = require_corp(request.corp_id, Right.READ_COMPLIANCE)
        size = page_size(request.page_size, default=500, maximum=1000)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            words = await SensitiveWordRepository(connection).list_words(
                corp_id, after="" if position is None else str(position[0]), limit=size + 1
            )
        page, next_page_token = self._page_tokens.cut(words, size, request, lambda word: [word[0]])
        return sensitive_word_service_pb2.ListSensitiveWordsResponse(
            words=[
                sensitive_word_service_pb2.SensitiveWord(
                    word=word, action=_ACTIONS_TO_PROTO[action]
                )
                for word, action in page
            ],
            next_page_token=next_page_token,
        )

    async def ListFlaggedMessages(
        self, request: sensitive_word_service_pb2.ListFlaggedMessagesRequest, context: Context
    ) -> sensitive_word_service_pb2.ListFlaggedMessagesResponse:
        """List messages in which words were said, the newest first."""
        corp_id = require_corp(request.corp_id, Right.READ_COMPLIANCE)
        size = page_size(request.page_size, default=100, maximum=500)
        position = self._page_tokens.decode(request.page_token, request)
        before = None
        if position is not None:
            time = _EPOCH + int(position[0]) * _MICROSECOND
            before = (time, str(position[1]), int(position[2]))
        async with self._pool.acquire() as connection:
            found = await SensitiveWordRepository(connection).list_flagged(
                corp_id, before=before, limit=size + 1
            )
        page, next_page_token = self._page_tokens.cut(
            found,
            size,
            request,
            lambda each: [
                (each.message_time - _EPOCH) // _MICROSECOND,
                each.conversation_id,
                each.sequence,
            ],
        )
        return sensitive_word_service_pb2.ListFlaggedMessagesResponse(
            messages=map(_to_proto, page), next_page_token=next_page_token
        )


def _check(
    request: sensitive_word_service_pb2.UpdateSensitiveWordsRequest,
) -> tuple[dict[str, WordAction], list[str]]:
    """Return words as they are compared, to set and to remove, or refuse what is none."""
    if len(request.words) + len(request.removed_words) > MAX_WORDS:
        raise InvalidArgumentError({"words": f"must be at most {MAX_WORDS} with those removed"})
    violations: dict[str, str] = {}
    words: dict[str, WordAction] = {}
    for index, each in enumerate(request.words):
        action = _ACTIONS.get(each.action)
        word = normalise(each.word)
        if not word or len(each.word) > MAX_WORD_CHARACTERS or "\0" in word:
            violations[f"words[{index}].word"] = (
                f"must have 1 to {MAX_WORD_CHARACTERS} characters that are not spaces"
            )
        if action is None:
            violations[f"words[{index}].action"] = "must be BLOCK or FLAG"
        else:
            words[word] = action
    raise_violations(violations)
    return words, [normalise(word) for word in request.removed_words]


def _to_proto(flagged: Flagged) -> sensitive_word_service_pb2.FlaggedMessage:
    return sensitive_word_service_pb2.FlaggedMessage(
        conversation_id=flagged.conversation_id,
        sequence=flagged.sequence,
        sender=participant_to_proto(flagged.sender),
        words=flagged.words,
        create_time=to_timestamp(flagged.message_time),
    )
