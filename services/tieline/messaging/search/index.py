"""Makes messages searchable, behind the sends and in the order of their numbers.

Who sends writes nothing for searches. A few messages are indexed by the next search itself, which
so finds what was acknowledged before it; the others in the background.
"""

import asyncio
import datetime as dt
import math
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from time import monotonic

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.messaging.contents.texts import find_kind, list_texts
from tieline.messaging.messages.ranges import Range, list_steps
from tieline.messaging.messages.rules import StoredMessage
from tieline.messaging.repositories.ranges import list_ranges
from tieline.messaging.repositories.search import Behind, Entry, SearchRepository
from tieline.messaging.search.terms import list_terms
from tieline.messaging.search.walk import Found

# Some 50 ms: a search that comes at the same time waits no longer than that.
BATCH_MESSAGES = 500

# Between two looks for what is behind. Searches don't wait for it, and index what came since; the
# fewer the looks, the more messages of a conversation are indexed at a time.
_INTERVAL_S = 5.0
_MAX_CONVERSATIONS = 2000
_ROUNDS = 8

# What a replica left behind longer ago than this is indexed by the searches of who reads it.
_RECENT_S = 120.0

# Sends are committed within it, or else are found by the conversation's next one.
_LATE_S = 5.0

# Of a batch, before the calls that wait for the loop have their turn.
_ENTRIES_AT_A_TIME = 25


@asynccontextmanager
async def indexing(pool: Pool) -> AsyncIterator[None]:
    """Index what is sent in any conversation until the block is left."""
    indexer = _Indexer(pool)
    async with repeating("the index of messages", indexer.turn, interval_s=_INTERVAL_S):
        yield


class _Indexer:
    """Indexes what is behind, turn by turn."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._complete_at = -math.inf
        """``time.monotonic()`` before which nothing is left."""

    async def turn(self) -> None:
        """Index what was sent since nothing was left the last time."""
        for _ in range(_ROUNDS):
            begun_at = monotonic()
            age_s = min(begun_at - self._complete_at + _LATE_S, _RECENT_S)
            async with self._pool.acquire() as connection:
                behind = await SearchRepository(connection).list_behind(
                    age=dt.timedelta(seconds=age_s), limit=_MAX_CONVERSATIONS
                )
            is_complete = await self._index(behind)
            if is_complete and len(behind) < _MAX_CONVERSATIONS:
                self._complete_at = begun_at
                return

    async def _index(self, behind: Sequence[Behind]) -> bool:
        """Index these, a batch in each transaction; tell whether that was all of them."""
        is_complete = True
        for corp_id, of_corp in groupby(sorted(behind), lambda each: each.corp_id):
            for ids in cut_batches(of_corp):
                async with transaction(self._pool) as connection:
                    is_complete &= await index(connection, corp_id, ids)
        return is_complete


def cut_batches(behind: Iterable[Behind]) -> Iterator[list[str]]:
    """Yield conversations that together have what a batch has room for, or one that has more."""
    part: list[str] = []
    messages = 0
    for each in behind:
        if part and messages + each.messages > BATCH_MESSAGES:
            yield part
            part, messages = [], 0
        part.append(each.conversation_id)
        messages += each.messages
    if part:
        yield part


async def index(connection: Connection, corp_id: str, conversation_ids: Collection[str]) -> bool:
    """Index the rest of these conversations, a batch at most; tell whether that was all.

    In the caller's transaction. What another one indexes at this moment is left to it.
    """
    repository = SearchRepository(connection)
    rest = await repository.lock_rest(corp_id, conversation_ids)
    batch: Sequence[Range] = next(list_steps(rest, BATCH_MESSAGES), [])
    if not batch:
        return len(rest) == len(conversation_ids)
    messages = await list_ranges(connection, corp_id, batch)
    changed = [
        Range(message.conversation_id, number - 1, number)
        for message in messages
        if (number := _find_changed(message))
    ]
    # Behind the others: of a message that is in both, what it says now is the same.
    now = await list_ranges(connection, corp_id, changed) if changed else []
    entries = await _build_entries(messages + now)
    indexed = {part.conversation_id: part.up_to for part in batch}
    outdated = {Found(each.create_time, each.conversation_id, each.sequence) for each in now}
    await repository.store_entries(corp_id, entries, outdated, indexed)
    is_all = sum(part.size for part in batch) == sum(each.size for each in rest)
    return is_all and len(rest) == len(conversation_ids)


def _find_changed(message: StoredMessage) -> int:
    """Return the number of the message that a note says is changed; 0 for none."""
    content = _read(message)
    if content.HasField("edit_note"):
        return content.edit_note.sequence
    return content.recall_note.sequence


async def _build_entries(messages: Sequence[StoredMessage]) -> list[Entry]:
    """Return an entry for each message with something to read in it."""
    entries: dict[tuple[str, int], Entry] = {}
    for number, message in enumerate(messages, start=1):
        if number % _ENTRIES_AT_A_TIME == 0:
            await asyncio.sleep(0)
        content = _read(message)
        terms = [] if message.recall_time else list_terms(list_texts(content))
        if terms:
            entries[message.conversation_id, message.sequence] = Entry(
                (message.corp_id, message.conversation_id),
                message.sequence,
                message.create_time,
                message.sender,
                find_kind(content),
                terms,
            )
    return list(entries.values())


def _read(message: StoredMessage) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent.FromString(message.content)
