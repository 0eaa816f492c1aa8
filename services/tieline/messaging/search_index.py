"""Makes messages searchable, behind the sends and in the order of their numbers.

Who sends writes nothing for searches. A few messages are indexed by the next search itself, which
so finds what was acknowledged before it; the others in the background.
"""

import datetime as dt
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from itertools import groupby

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.messaging.content_texts import find_kind, list_texts
from tieline.messaging.messages import StoredMessage
from tieline.messaging.ranges import Range, list_steps
from tieline.messaging.repositories.ranges import list_ranges
from tieline.messaging.repositories.search import Entry, SearchRepository
from tieline.messaging.search_terms import list_terms
from tieline.messaging.search_walk import Found

# Some 50 ms: a search that comes at the same time waits no longer than that.
BATCH_MESSAGES = 500

# Between two looks for what is behind. Searches don't wait for it.
_INTERVAL_S = 2.0
_MAX_CONVERSATIONS = 200
_ROUNDS = 8

# What a replica left behind longer ago than this is indexed by the searches of who reads it.
_RECENT = dt.timedelta(minutes=2)


@asynccontextmanager
async def indexing(pool: Pool) -> AsyncIterator[None]:
    """Index what is sent in any conversation until the block is left."""

    async def index_those_behind() -> None:
        for _ in range(_ROUNDS):
            async with pool.acquire() as connection:
                behind = await SearchRepository(connection).list_behind(
                    age=_RECENT, limit=_MAX_CONVERSATIONS
                )
            if not behind:
                return
            for corp_id, keys in groupby(sorted(behind), lambda key: key[0]):
                async with transaction(pool) as connection:
                    await index(connection, corp_id, [key[1] for key in keys])

    async with repeating("the index of messages", index_those_behind, interval_s=_INTERVAL_S):
        yield


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
    messages += await list_ranges(connection, corp_id, changed) if changed else []
    entries, unreadable = _build_entries(messages)
    indexed = {part.conversation_id: part.up_to for part in batch}
    await repository.store_entries(corp_id, entries, unreadable, indexed)
    is_all = sum(part.size for part in batch) == sum(each.size for each in rest)
    return is_all and len(rest) == len(conversation_ids)


def _find_changed(message: StoredMessage) -> int:
    """Return the number of the message that a note says is changed; 0 for none."""
    content = _read(message)
    if content.HasField("edit_note"):
        return content.edit_note.sequence
    return content.recall_note.sequence


def _build_entries(
    messages: Sequence[StoredMessage],
) -> tuple[list[Entry], set[Found]]:
    entries: dict[Found, Entry] = {}
    unreadable: set[Found] = set()
    for message in messages:
        place = Found(message.create_time, message.conversation_id, message.sequence)
        content = _read(message)
        terms = [] if message.recall_time else list_terms(list_texts(content))
        if not terms:
            unreadable.add(place)
            continue
        entries[place] = Entry(
            (message.corp_id, message.conversation_id),
            message.sequence,
            message.create_time,
            message.sender,
            find_kind(content),
            terms,
        )
    return list(entries.values()), unreadable


def _read(message: StoredMessage) -> messaging_pb2.MessageContent:
    return messaging_pb2.MessageContent.FromString(message.content)
