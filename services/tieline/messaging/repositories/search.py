"""The SQL of searches, and of what makes messages searchable."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.messages.ranges import Range
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.search.walk import Extent, Found, Looked, Window
from tieline.messaging.sending.numbering import ConversationKey


class Searched(NamedTuple):
    """A conversation that somebody may search."""

    conversation_id: str
    visible_from: int
    last_sequence: int
    indexed_sequence: int
    last_activity_time: dt.datetime


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
    """What is looked for, beside the conversations and behind which place."""

    tsquery: str
    sender: Participant | None
    kinds: Sequence[str]
    from_time: dt.datetime | None


# Parameters 5 to 8 of both statements that find.
_SENDER_AND_KIND = """
    ($6::text IS NULL OR (entry.sender_kind, entry.sender_id) = ($6, $7::text))
    AND ($8::text[] IS NULL OR entry.kind = ANY ($8))
"""

# Behind every number that a conversation has: the bound of those that stand behind a place wholly.
_EVERY_NUMBER = 2**63 - 1


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
                   coalesce(progress.indexed_sequence, 0) AS indexed_sequence,
                   conversation.last_activity_time
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

    async def measure(self, searched: Sequence[Searched]) -> Extent:
        """Tell how much there is to search."""
        indexed: float = await self._connection.fetchval(
            "SELECT reltuples FROM pg_class WHERE oid = 'messaging.searchable_messages'::regclass"
        )
        own = sum(each.last_sequence - each.visible_from for each in searched)
        # The table's statistics may be old, or none.
        return Extent(
            max(each.last_activity_time for each in searched),
            len(searched),
            own,
            max(int(indexed), own),
        )

    async def look_through(
        self,
        corp_id: str,
        searched: Sequence[Searched],
        wanted: Filter,
        window: Window,
        *,
        before: Found | None,
        limit: int,
    ) -> tuple[list[Found], Looked]:
        """Return the newest that match of a window, and what the window had.

        Reads each conversation by the key, from the newest on, and tests what it reads.
        """
        row = await self._connection.fetchrow(
            f"""
            WITH looked AS MATERIALIZED (
                SELECT entry.*
                  FROM unnest($2::text[], $3::bigint[], $9::bigint[])
                       AS own (conversation_id, visible_from, below)
                 CROSS JOIN LATERAL (
                       SELECT entry.create_time, entry.conversation_id, entry.sequence,
                              entry.terms @@ $4::tsquery AS has_terms,
                              {_SENDER_AND_KIND} AS passes,
                              row_number() OVER (
                                  ORDER BY entry.create_time DESC, entry.sequence DESC
                              ) AS position
                         FROM messaging.searchable_messages AS entry
                        WHERE entry.corp_id = $1
                          AND entry.conversation_id = own.conversation_id
                          AND (entry.create_time, entry.sequence)
                              < (coalesce($10::timestamptz, 'infinity'), own.below)
                          AND entry.create_time >= coalesce($5::timestamptz, '-infinity')
                          AND entry.sequence > own.visible_from
                        ORDER BY entry.create_time DESC, entry.sequence DESC
                        LIMIT $11
                 ) AS entry
            ), cut AS (
                -- Of this conversation older ones may stand ahead of others' that were looked at.
                SELECT create_time, conversation_id, sequence
                  FROM looked
                 WHERE position = $11
                 ORDER BY create_time DESC, conversation_id DESC, sequence DESC
                 LIMIT 1
            ), found AS (
                SELECT looked.create_time, looked.conversation_id, looked.sequence
                  FROM looked
                 WHERE has_terms AND passes
                   AND ((looked.create_time, looked.conversation_id, looked.sequence)
                        >= (SELECT create_time, conversation_id, sequence FROM cut)) IS NOT FALSE
                 ORDER BY create_time DESC, conversation_id DESC, sequence DESC
                 LIMIT $12
            )
            SELECT count(*) AS entries,
                   count(*) FILTER (WHERE has_terms) AS with_terms,
                   count(*) FILTER (WHERE has_terms AND passes) AS matching,
                   ARRAY (SELECT found FROM found) AS found,
                   (SELECT cut FROM cut) AS cut_at
              FROM looked
            """,  # noqa: S608 -- the condition is named above
            *_parameters(corp_id, searched, wanted, window.from_time),
            [_below(each.conversation_id, before) for each in searched],
            before and before.create_time,
            window.each,
            limit,
        )
        assert row is not None, "a query of one row"
        found = [Found(*each) for each in row["found"]]
        cut_at = Found(*row["cut_at"]) if row["cut_at"] else None
        if len(found) == limit:
            cut_at = found[-1]
        return found, Looked(row["entries"], row["with_terms"], row["matching"], cut_at)

    async def list_by_term(
        self,
        corp_id: str,
        searched: Sequence[Searched],
        wanted: Filter,
        *,
        before: Found | None,
        limit: int,
    ) -> list[Found]:
        """Return the newest that match by their terms' index: where few have the terms."""
        rows = await self._connection.fetch(
            f"""
            WITH own AS MATERIALIZED (
                SELECT *
                  FROM unnest($2::text[], $3::bigint[]) AS own (conversation_id, visible_from)
            ), entry AS MATERIALIZED (
                SELECT entry.create_time, entry.conversation_id, entry.sequence
                  FROM messaging.searchable_messages AS entry
                 WHERE entry.corp_id = $1
                   AND entry.terms @@ $4::tsquery
                   AND ($5::timestamptz IS NULL OR entry.create_time >= $5)
                   AND {_SENDER_AND_KIND}
                   AND ($9::timestamptz IS NULL
                        OR (entry.create_time, entry.conversation_id, entry.sequence)
                           < ($9, $10::text, $11::bigint))
            )
            SELECT entry.create_time, entry.conversation_id, entry.sequence
              FROM entry
              JOIN own
                ON own.conversation_id = entry.conversation_id
               AND entry.sequence > own.visible_from
             ORDER BY entry.create_time DESC, entry.conversation_id DESC, entry.sequence DESC
             LIMIT $12
            """,  # noqa: S608 -- the condition is named above
            *_parameters(corp_id, searched, wanted, wanted.from_time),
            *(before or (None, None, None)),
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
        outdated: Collection[Found],
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

    async def _delete_entries(self, corp_id: str, outdated: Collection[Found]) -> None:
        await self._connection.execute(
            """
            DELETE FROM messaging.searchable_messages AS entry
             USING unnest($2::timestamptz[], $3::text[], $4::bigint[])
                   AS old (create_time, conversation_id, sequence)
             WHERE entry.corp_id = $1
               AND entry.conversation_id = old.conversation_id
               AND entry.create_time = old.create_time
               AND entry.sequence = old.sequence
            """,
            corp_id,
            [place.create_time for place in outdated],
            [place.conversation_id for place in outdated],
            [place.sequence for place in outdated],
        )


def _parameters(
    corp_id: str, searched: Sequence[Searched], wanted: Filter, from_time: dt.datetime | None
) -> tuple[object, ...]:
    return (
        corp_id,
        [each.conversation_id for each in searched],
        [each.visible_from for each in searched],
        wanted.tsquery,
        from_time,
        *(wanted.sender or (None, None)),
        list(wanted.kinds) or None,
    )


def _below(conversation_id: str, before: Found | None) -> int:
    """Return the number below which messages of the place's own time stand behind the place."""
    if before is None or conversation_id < before.conversation_id:
        return _EVERY_NUMBER
    return before.sequence if conversation_id == before.conversation_id else 0
