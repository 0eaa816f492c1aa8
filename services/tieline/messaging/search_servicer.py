"""SearchService: between the wire, the index and the messages themselves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from tieline.api.messaging.v1 import (
    messaging_pb2,
    search_service_pb2,
    search_service_pb2_grpc,
)
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.fields import raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, Position, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.callers import require_conversation, require_user
from tieline.messaging.content_texts import list_texts
from tieline.messaging.conversations import conversation_not_found_error, find_participant
from tieline.messaging.messages import message_to_proto
from tieline.messaging.ranges import Range
from tieline.messaging.repositories.ranges import list_ranges
from tieline.messaging.repositories.search import Filter, Found, Searched, SearchRepository
from tieline.messaging.search_index import index
from tieline.messaging.search_terms import (
    MAX_QUERY_CHARACTERS,
    QueryTerm,
    list_query_terms,
    list_words,
    matches,
)

_MAX_KINDS = 20

# Of each conversation, to tell a common query from a rare one: some milliseconds in all.
_SAMPLED = 10

# Terms lead to a few messages that do not hold the query; a page that is not full by then ends.
_MAX_ROUNDS = 3

_MICROSECOND = dt.timedelta(microseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class SearchServicer(search_service_pb2_grpc.SearchServiceServicer):
    """Finds messages in the caller's own conversations."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def SearchMessages(
        self, request: search_service_pb2.SearchMessagesRequest, context: Context
    ) -> search_service_pb2.SearchMessagesResponse:
        """List messages that hold every word of the query, the newest first."""
        user = require_user(request.corp_id)
        terms = _check(request)
        size = page_size(request.page_size, default=20, maximum=100)
        wanted = self._build_filter(request, terms)
        # A transaction: what it indexes first is committed with it.
        async with transaction(self._pool) as connection:
            searched = await self._list_searched(connection, request)
            incomplete = await _catch_up(connection, user[0], searched)
            messages, last = await _search(
                connection, user[0], searched, wanted, list_words(request.query), size
            )
        return search_service_pb2.SearchMessagesResponse(
            messages=messages,
            next_page_token="" if last is None else self._encode(last, request),
            incomplete=incomplete,
        )

    async def _list_searched(
        self, connection: Connection, request: search_service_pb2.SearchMessagesRequest
    ) -> list[Searched]:
        user = require_user(request.corp_id)
        searched = await SearchRepository(connection).list_searched(user)
        if not request.conversation_id:
            return searched
        key, _ = require_conversation(request.corp_id, request.conversation_id)
        searched = [each for each in searched if each.conversation_id == key[1]]
        if not searched:
            raise conversation_not_found_error(request.conversation_id)
        return searched

    def _build_filter(
        self, request: search_service_pb2.SearchMessagesRequest, terms: Sequence[QueryTerm]
    ) -> Filter:
        position = self._page_tokens.decode(request.page_token, request)
        before = None
        if position is not None:
            microseconds, conversation_id, sequence = position
            time = _EPOCH + int(microseconds) * _MICROSECOND
            before = Found(time, str(conversation_id), int(sequence))
        sender = find_participant(request.sender) if request.HasField("sender") else None
        return Filter(
            tsquery=" & ".join(map(_to_tsquery, terms)),
            sender=sender,
            kinds=list(request.kinds),
            from_time=_to_time(request, "from_time"),
            to_time=_to_time(request, "to_time"),
            before=before,
        )

    def _encode(self, last: Found, request: search_service_pb2.SearchMessagesRequest) -> str:
        microseconds = (last.create_time - _EPOCH) // _MICROSECOND
        position: Position = [microseconds, last.conversation_id, last.sequence]
        return self._page_tokens.encode(position, request)


async def _catch_up(connection: Connection, corp_id: str, searched: Sequence[Searched]) -> bool:
    """Index what was said of late; tell whether more is left than a search waits for."""
    behind = [
        each.conversation_id for each in searched if each.last_sequence > each.indexed_sequence
    ]
    return bool(behind) and not await index(connection, corp_id, behind)


async def _search(
    connection: Connection,
    corp_id: str,
    searched: Sequence[Searched],
    wanted: Filter,
    words: Sequence[str],
    size: int,
) -> tuple[list[messaging_pb2.Message], Found | None]:
    """Return a page, and where it ends; None where nothing follows it."""
    repository = SearchRepository(connection)
    is_common = await repository.is_common(corp_id, searched, wanted.tsquery, each=_SAMPLED)
    find = repository.list_newest if is_common else repository.list_by_term
    messages: list[messaging_pb2.Message] = []
    last: Found | None = None
    for _ in range(_MAX_ROUNDS):
        found = await find(corp_id, searched, wanted, size + 1)
        for place, message in await _read(connection, corp_id, found):
            if message is not None and matches(list_texts(message.content), words):
                if len(messages) == size:
                    return messages, last
                messages.append(message)
            last = place
        if len(found) <= size:
            return messages, None
        wanted = Filter(
            wanted.tsquery, wanted.sender, wanted.kinds, wanted.from_time, wanted.to_time, last
        )
    return messages, last


async def _read(
    connection: Connection, corp_id: str, found: Sequence[Found]
) -> list[tuple[Found, messaging_pb2.Message | None]]:
    """Return the messages as they are now; None for one that is recalled or gone."""
    ranges = [Range(each.conversation_id, each.sequence - 1, each.sequence) for each in found]
    stored = {
        (message.conversation_id, message.sequence): message
        for message in await list_ranges(connection, corp_id, ranges)
        if message.recall_time is None
    }
    results: list[tuple[Found, messaging_pb2.Message | None]] = []
    for each in found:
        message = stored.get((each.conversation_id, each.sequence))
        results.append((each, None if message is None else message_to_proto(message)))
    return results


def _check(request: search_service_pb2.SearchMessagesRequest) -> list[QueryTerm]:
    violations: dict[str, str] = {}
    terms: list[QueryTerm] = []
    if not 1 <= len(request.query) <= MAX_QUERY_CHARACTERS:
        violations["query"] = f"must have 1 to {MAX_QUERY_CHARACTERS} characters"
    else:
        terms = list_query_terms(request.query)
        if not terms or "\0" in request.query:
            violations["query"] = "must have a letter or a digit, and not U+0000"
    kinds = messaging_pb2.MessageContent.DESCRIPTOR.oneofs_by_name["kind"].fields
    known = {field.name for field in kinds}
    if len(request.kinds) > _MAX_KINDS or not known.issuperset(request.kinds):
        violations["kinds"] = f"must be at most {_MAX_KINDS} names of fields of MessageContent"
    if request.HasField("sender") and find_participant(request.sender) is None:
        violations["sender"] = "must be somebody who can be in a conversation"
    raise_violations(violations)
    return terms


def _to_tsquery(term: QueryTerm) -> str:
    # Terms have word characters alone, neither quotes nor backslashes.
    return f"'{term.text}'{':*' if term.is_beginning else ''}"


def _to_time(request: search_service_pb2.SearchMessagesRequest, field: str) -> dt.datetime | None:
    if not request.HasField(field):  # type: ignore[arg-type]  # one of two fields
        return None
    time: Timestamp = getattr(request, field)
    try:
        return time.ToDatetime(dt.UTC)
    except (ValueError, OverflowError):
        raise InvalidArgumentError({field: "must be a time of the years 1 to 9999"}) from None
