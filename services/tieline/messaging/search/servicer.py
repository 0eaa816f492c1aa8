"""SearchService: between the wire, the index and the messages themselves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from tieline.api.messaging.v1 import (
    messaging_pb2,
    search_service_pb2,
    search_service_pb2_grpc,
)
from tieline.chassis.fields import raise_violations, read_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import PageTokens, Position, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.messaging.callers import require_conversation, require_user
from tieline.messaging.contents.texts import list_texts
from tieline.messaging.conversations.rules import conversation_not_found_error, find_participant
from tieline.messaging.messages.ranges import Range
from tieline.messaging.messages.rules import message_to_proto
from tieline.messaging.repositories.ranges import list_ranges
from tieline.messaging.repositories.search import Filter, Searched, SearchRepository
from tieline.messaging.search.index import index
from tieline.messaging.search.terms import (
    MAX_QUERY_CHARACTERS,
    QueryTerm,
    list_query_terms,
    list_words,
    matches,
)
from tieline.messaging.search.walk import Found, Walk

_MAX_KINDS = 20

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
        wanted = _build_filter(request, terms)
        before = self._find_start(request)
        # A transaction: what it indexes first is committed with it.
        async with transaction(self._pool) as connection:
            searched = await self._list_searched(connection, request)
            incomplete = await _catch_up(connection, user[0], searched)
            search = _Search(connection, user[0], searched, wanted, list_words(request.query))
            messages, last = await search.list_page(before, size)
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

    def _find_start(self, request: search_service_pb2.SearchMessagesRequest) -> Found | None:
        """Return the place behind which the page begins; None for the newest message."""
        to_time = _to_time(request, "to_time")
        position = self._page_tokens.decode(request.page_token, request)
        if position is None:
            return None if to_time is None else Found(to_time, "", 0)
        microseconds, conversation_id, sequence = position
        time = _EPOCH + int(microseconds) * _MICROSECOND
        return Found(time, str(conversation_id), int(sequence))

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


class _Search:
    """Reads a page of one query."""

    def __init__(
        self,
        connection: Connection,
        corp_id: str,
        searched: Sequence[Searched],
        wanted: Filter,
        words: Sequence[str],
    ) -> None:
        self._connection = connection
        self._repository = SearchRepository(connection)
        self._corp_id = corp_id
        self._searched = searched
        self._wanted = wanted
        self._words = words

    async def list_page(
        self, before: Found | None, size: int
    ) -> tuple[list[messaging_pb2.Message], Found | None]:
        """Return a page, and where it ends; None where nothing follows it."""
        if not self._searched:
            return [], None
        extent = await self._repository.measure(self._searched)
        walk = Walk(extent, self._wanted.from_time, before)
        messages: list[messaging_pb2.Message] = []
        while len(messages) < size and not (walk.is_over or walk.is_tired):
            if walk.prefers_terms(size - len(messages)):
                return messages, await self._read_by_terms(walk.before, messages, size)
            found, looked = await self._repository.look_through(
                self._corp_id,
                self._searched,
                self._wanted,
                walk.window,
                before=walk.before,
                limit=size + 1,
            )
            walk.go_on(looked)
            full_at = await self._take(found, messages, size)
            if full_at is not None:
                return messages, full_at
        return messages, None if walk.is_over else walk.before

    async def _read_by_terms(
        self, before: Found | None, messages: list[messaging_pb2.Message], size: int
    ) -> Found | None:
        """Add to the page by the index of terms; return where it ends, None at the last one."""
        for _ in range(_MAX_ROUNDS):
            found = await self._repository.list_by_term(
                self._corp_id, self._searched, self._wanted, before=before, limit=size + 1
            )
            full_at = await self._take(found, messages, size)
            if full_at is not None or len(found) <= size:
                return full_at
            before = found[-1]
            if len(messages) == size:
                break
        return before

    async def _take(
        self, found: Sequence[Found], messages: list[messaging_pb2.Message], size: int
    ) -> Found | None:
        """Add those that hold the query; return where the page ends if more follow it."""
        last: Found | None = None
        for place, message in await _read(self._connection, self._corp_id, found):
            if message is not None and matches(list_texts(message.content), self._words):
                if len(messages) == size:
                    return last
                messages.append(message)
            last = place
        return None


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


def _build_filter(
    request: search_service_pb2.SearchMessagesRequest, terms: Sequence[QueryTerm]
) -> Filter:
    return Filter(
        tsquery=" & ".join(map(_to_tsquery, terms)),
        sender=find_participant(request.sender) if request.HasField("sender") else None,
        kinds=list(request.kinds),
        from_time=_to_time(request, "from_time"),
    )


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
    return read_timestamp(getattr(request, field), field)
