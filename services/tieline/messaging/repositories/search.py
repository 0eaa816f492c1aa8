"""The SQL of searches, and of what makes messages searchable."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tieline.chassis.postgres import Connection
from tieline.messaging.conversations import Participant
from tieline.messaging.numbering import ConversationKey
from tieline.messaging.ranges import Range
from tieline.messaging.repositories.participants import UserKey


class Searched(NamedTuple):
    """A conversation that somebody may search."""

    conversation_id: str
    visible_from: int
    last_sequence: int
    indexed_sequence: int


class Found(NamedTuple):
    """Where a message stands among the results: the newest first."""

    create_time: dt.datetime
    conversation_id: str
    sequence: int


class Behind(NamedTuple):
    """A conversation that is not searchable to its end."""

    corp_id: str
    conversation_id: str
    messages: int
    """How many of it are not searchable yet."""


class Entry(NamedTuple):
    """A row of ``searchable_messages``."""

    key: ConversationKey
    sequence: int
    create_time: dt.datetime
    sender: Participant
    kind: str
    terms: Sequence[str]


@dataclass(frozen=True, slots=True)
class Filter:
    """What is looked for, beside the conversations."""

    tsquery: str
    sender: Participant | None
    kinds: Sequence[str]
    from_time: dt.datetime | None
    to_time: dt.datetime | None
    before: Found | None


# $1 is the corp, $2 and $3 the conversations with the numbers above which they are read.
_CONDITION = """
    entry.terms @@ $4::tsquery
    AND ($5::text IS NULL OR (entry.sender_kind, entry.sender_id) = ($5, $6::text))
    AND ($7::text[] IS NULL OR entry.kind = ANY ($7))
    AND ($8::timestamptz IS NULL OR entry.create_time >= $8)
    AND ($9::timestamptz IS NULL OR entry.create_time < $9)
    AND ($10::timestamptz IS NULL
         OR (entry.create_time, entry.conversation_id, entry.sequence)
            < ($10, $11::text, $12::bigint))
"""


class SearchRepository:
    """What finds messages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_searched(self, user: UserKey) -> list[Searched]:
        """Return the conversations that the user is in."""
        corp_id, participant = user
        rows = await self._connection.fetch(
            """
            SELECT own.conversation_id, own.visible_from_sequence, conversation.last_sequence,
                   coalesce(progress.indexed_sequence, 0) AS indexed_sequence
              FROM messaging.participants AS own
              JOIN messaging.conversations AS conversation
                ON conversation.corp_id = own.corp_id
               AND conversation.conversation_id = own.conversation_id
              LEFT JOIN messaging.search_progress AS progress
                ON progress.corp_id = own.corp_id
               AND progress.conversation_id = own.conversation_id
             WHERE own.corp_id = $1 AND own.kind = $2 AND own.id = $3
            """,
            corp_id,
            *participant,
        )
        return [Searched(*row) for row in rows]

    async def is_common(
        self, corp_id: str, searched: Sequence[Searched], tsquery: str, *, each: int
    ) -> bool:
        """Tell whether of the newest messages one in 50 has the terms."""
        row = await self._connection.fetchrow(
            """
            SELECT count(*) AS looked_at,
                   count(*) FILTER (WHERE entry.terms @@ $3::tsquery) AS matching
              FROM unnest($2::text[]) AS own (conversation_id)
             CROSS JOIN LATERAL (
                   SELECT terms
                     FROM messaging.searchable_messages AS newest
                    WHERE newest.corp_id = $1 AND newest.conversation_id = own.conversation_id
                    ORDER BY newest.sequence DESC
                    LIMIT $4
             ) AS entry
            """,
            corp_id,
            [each.conversation_id for each in searched],
            tsquery,
            each,
        )
        assert row is not None, "a query of one row"
        return bool(row["matching"] * 50 > row["looked_at"])

    async def list_newest(
        self, corp_id: str, searched: Sequence[Searched], wanted: Filter, limit: int
    ) -> list[Found]:
        """Return the newest that match by looking on in each conversation: where many match."""
        rows = await self._connection.fetch(
            f"""
            SELECT found.create_time, found.conversation_id, found.sequence
              FROM unnest($2::text[], $3::bigint[]) AS own (conversation_id, visible_from)
             CROSS JOIN LATERAL (
                   SELECT entry.create_time, entry.conversation_id, entry.sequence
                     FROM messaging.searchable_messages AS entry
                    WHERE entry.corp_id = $1
                      AND entry.conversation_id = own.conversation_id
                      AND entry.sequence > own.visible_from
                      AND {_CONDITION}
                    ORDER BY entry.sequence DESC
                    LIMIT $13
             ) AS found
             ORDER BY found.create_time DESC, found.conversation_id DESC, found.sequence DESC
             LIMIT $13
            """,  # noqa: S608 -- the condition is named above
            *_parameters(corp_id, searched, wanted),
            limit,
        )
        return [Found(*row) for row in rows]

    async def list_by_term(
        self, corp_id: str, searched: Sequence[Searched], wanted: Filter, limit: int
    ) -> list[Found]:
        """Return the newest that match by their terms' index: where few match."""
        rows = await self._connection.fetch(
            f"""
            WITH own AS MATERIALIZED (
                SELECT *
                  FROM unnest($2::text[], $3::bigint[]) AS own (conversation_id, visible_from)
            ), entry AS MATERIALIZED (
                SELECT entry.create_time, entry.conversation_id, entry.sequence
                  FROM messaging.searchable_messages AS entry
                 WHERE entry.corp_id = $1 AND {_CONDITION}
            )
            SELECT entry.create_time, entry.conversation_id, entry.sequence
              FROM entry
              JOIN own
                ON own.conversation_id = entry.conversation_id
               AND entry.sequence > own.visible_from
             ORDER BY entry.create_time DESC, entry.conversation_id DESC, entry.sequence DESC
             LIMIT $13
            """,  # noqa: S608 -- the condition is named above
            *_parameters(corp_id, searched, wanted),
            limit,
        )
        return [Found(*row) for row in rows]

    async def list_behind(self, *, age: dt.timedelta, limit: int) -> list[Behind]:
        """Return conversations of that age's sends that are not searchable to their end."""
        rows = await self._connection.fetch(
            """
            SELECT recent.corp_id, recent.conversation_id,
                   conversations.last_sequence - coalesce(search_progress.indexed_sequence, 0)
                   AS messages
              FROM (
                   SELECT DISTINCT corp_id, conversation_id
                     FROM messaging.recent_sends
                    WHERE create_time > now() - $1::interval
              ) AS recent
              JOIN messaging.conversations
                ON conversations.corp_id = recent.corp_id
               AND conversations.conversation_id = recent.conversation_id
              LEFT JOIN messaging.search_progress
                ON search_progress.corp_id = recent.corp_id
               AND search_progress.conversation_id = recent.conversation_id
             WHERE conversations.last_sequence > coalesce(search_progress.indexed_sequence, 0)
             LIMIT $2
            """,
            age,
            limit,
        )
        return [Behind(*row) for row in rows]

    async def lock_rest(self, corp_id: str, ids: Collection[str]) -> list[Range]:
        """Lock the progress of those that nobody else indexes; return what is left of each."""
        rest = await self._lock_progress(corp_id, ids)
        missing = set(ids).difference(each.conversation_id for each in rest)
        if not missing:
            return rest
        await self._connection.execute(
            """
            INSERT INTO messaging.search_progress (corp_id, conversation_id)
            SELECT $1, conversation_id FROM unnest($2::text[]) AS wanted (conversation_id)
             ORDER BY conversation_id
            ON CONFLICT ON CONSTRAINT search_progress_pkey DO NOTHING
            """,
            corp_id,
            list(missing),
        )
        return rest + await self._lock_progress(corp_id, missing)

    async def _lock_progress(self, corp_id: str, ids: Collection[str]) -> list[Range]:
        rows = await self._connection.fetch(
            """
            SELECT progress.conversation_id, progress.indexed_sequence, conversations.last_sequence
              FROM (
                   SELECT conversation_id, indexed_sequence
                     FROM messaging.search_progress
                    WHERE corp_id = $1 AND conversation_id = ANY ($2::text[])
                    ORDER BY conversation_id
                      FOR NO KEY UPDATE SKIP LOCKED
              ) AS progress
              JOIN messaging.conversations
                ON conversations.corp_id = $1
               AND conversations.conversation_id = progress.conversation_id
            """,
            corp_id,
            list(ids),
        )
        return [Range(*row) for row in rows]

    async def store_entries(
        self,
        corp_id: str,
        entries: Sequence[Entry],
        outdated: Collection[tuple[str, int]],
        indexed: Mapping[str, int],
    ) -> None:
        """Store entries in place of the outdated ones, and note the progress."""
        if outdated:
            await self._delete_entries(corp_id, outdated)
        await self._connection.execute(
            """
            WITH progressed AS (
                UPDATE messaging.search_progress
                   SET indexed_sequence = new.sequence
                  FROM unnest($9::text[], $10::bigint[]) AS new (conversation_id, sequence)
                 WHERE search_progress.corp_id = $1
                   AND search_progress.conversation_id = new.conversation_id
            )
            INSERT INTO messaging.searchable_messages
                   (corp_id, conversation_id, sequence, create_time, sender_kind, sender_id, kind,
                    terms)
            SELECT $1, conversation_id, sequence, create_time, sender_kind, sender_id, kind,
                   array_to_tsvector(string_to_array(terms, E'\\n'))
              FROM unnest($2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[],
                          $7::text[], $8::text[])
                   AS new (conversation_id, sequence, create_time, sender_kind, sender_id, kind,
                           terms)
            ON CONFLICT ON CONSTRAINT searchable_messages_pkey
            DO UPDATE SET kind = excluded.kind, terms = excluded.terms
            """,
            corp_id,
            [entry.key[1] for entry in entries],
            [entry.sequence for entry in entries],
            [entry.create_time for entry in entries],
            [entry.sender.kind for entry in entries],
            [entry.sender.id for entry in entries],
            [entry.kind for entry in entries],
            ["\n".join(entry.terms) for entry in entries],
            list(indexed),
            list(indexed.values()),
        )

    async def _delete_entries(self, corp_id: str, outdated: Collection[tuple[str, int]]) -> None:
        await self._connection.execute(
            """
            DELETE FROM messaging.searchable_messages AS entry
             USING unnest($2::text[], $3::bigint[]) AS old (conversation_id, sequence)
             WHERE entry.corp_id = $1
               AND entry.conversation_id = old.conversation_id
               AND entry.sequence = old.sequence
            """,
            corp_id,
            [conversation_id for conversation_id, _ in outdated],
            [sequence for _, sequence in outdated],
        )


def _parameters(corp_id: str, searched: Sequence[Searched], wanted: Filter) -> tuple[object, ...]:
    return (
        corp_id,
        [each.conversation_id for each in searched],
        [each.visible_from for each in searched],
        wanted.tsquery,
        *(wanted.sender or (None, None)),
        list(wanted.kinds) or None,
        wanted.from_time,
        wanted.to_time,
        *(wanted.before or (None, None, None)),
    )
