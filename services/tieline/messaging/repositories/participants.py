"""The SQL of who is in conversations.

Why lists are looked up in LATERAL subqueries: see ``conversations``.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tieline.chassis.postgres import Connection
from tieline.messaging.conversations.rules import Participant, Role
from tieline.messaging.sending.numbering import ConversationKey

UserKey = tuple[str, Participant]
"""``(corp_id, participant)``"""


class Place(NamedTuple):
    """Somebody's place in a conversation."""

    visible_from_sequence: int
    """Only what has a higher number is to be read."""

    role: Role


class ListedParticipant(NamedTuple):
    """Somebody in a conversation, as others see it."""

    participant: Participant
    role: Role
    join_time: dt.datetime


class Span(NamedTuple):
    """What a participant may read of a conversation."""

    visible_from_sequence: int
    """Only what has a higher number."""

    last_sequence: int


class Position(NamedTuple):
    """Up to where a conversation of a user's goes."""

    user: UserKey
    key: ConversationKey
    last_sequence: int
    visible_from_sequence: int


class ParticipantRepository:
    """Participants."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert_participants(
        self,
        key: ConversationKey,
        participants: Collection[Participant],
        joined_sequence: int,
        *,
        owner: Participant | None = None,
    ) -> list[Participant]:
        """Insert those who are not in the conversation yet; return them in their order.

        What they see of what was said before is up to the conversation. ``owner`` is the one of
        them whose conversation it becomes.
        """
        rows = await self._connection.fetch(
            """
            INSERT INTO messaging.participants
                   (corp_id, conversation_id, kind, id, joined_sequence, visible_from_sequence,
                    role)
            SELECT $1, $2, new.kind, new.id, $5::bigint,
                   CASE WHEN (SELECT history_visible
                                FROM messaging.conversations
                               WHERE corp_id = $1 AND conversation_id = $2)
                        THEN 0 ELSE $5::bigint END,
                   CASE WHEN (new.kind, new.id) = ($6::text, $7::text)
                        THEN 'owner' ELSE 'member' END
              FROM unnest($3::text[], $4::text[]) AS new (kind, id)
            ON CONFLICT ON CONSTRAINT participants_pkey DO NOTHING
            RETURNING kind, id
            """,
            *key,
            [participant.kind for participant in participants],
            [participant.id for participant in participants],
            joined_sequence,
            *(owner or ("", "")),
        )
        return sorted(Participant(row["kind"], row["id"]) for row in rows)

    async def is_known(self, corp_id: str, person: Participant) -> bool:
        """Tell whether somebody is in any conversation of the corp."""
        known: bool = await self._connection.fetchval(
            """
            SELECT EXISTS (
                SELECT
                  FROM messaging.participants
                 WHERE corp_id = $1 AND kind = $2 AND id = $3
            )
            """,
            corp_id,
            person.kind,
            person.id,
        )
        return known

    async def find_span_of(self, key: ConversationKey, participant: Participant) -> Span | None:
        """Return what the participant may read of it, None if the participant is not in it."""
        row = await self._connection.fetchrow(
            """
            SELECT own.visible_from_sequence, conversation.last_sequence
              FROM messaging.participants AS own
              JOIN messaging.conversations AS conversation
                ON conversation.corp_id = own.corp_id
               AND conversation.conversation_id = own.conversation_id
             WHERE own.corp_id = $1 AND own.conversation_id = $2 AND own.kind = $3 AND own.id = $4
            """,
            *key,
            *participant,
        )
        return None if row is None else Span(*row)

    async def list_participants(
        self, key: ConversationKey, *, after: Participant | None, limit: int
    ) -> Sequence[ListedParticipant]:
        """Return who is in the conversation, by kind and id, from ``after`` on."""
        rows = await self._connection.fetch(
            """
            SELECT kind, id, role, join_time
              FROM messaging.participants
             WHERE corp_id = $1
               AND conversation_id = $2
               AND ($3::text IS NULL OR (kind, id) > ($3, $4::text))
             ORDER BY kind, id
             LIMIT $5
            """,
            *key,
            *(after or (None, None)),
            limit,
        )
        return [
            ListedParticipant(
                Participant(row["kind"], row["id"]), Role(row["role"]), row["join_time"]
            )
            for row in rows
        ]

    async def find_app_readers(
        self, places: Collection[tuple[str, str, str]]
    ) -> dict[tuple[str, str, str], str]:
        """Return whom apps write to, by corp, app and conversation, where they have one there."""
        rows = await self._connection.fetch(
            """
            SELECT place.corp_id, place.app_id, place.conversation_id, reader.id
              FROM unnest($1::text[], $2::text[], $3::text[])
                   AS place (corp_id, app_id, conversation_id)
             CROSS JOIN LATERAL (
                   SELECT 1
                     FROM messaging.participants
                    WHERE participants.corp_id = place.corp_id
                      AND participants.conversation_id = place.conversation_id
                      AND participants.kind = 'app'
                      AND participants.id = place.app_id
                    LIMIT 1
             ) AS own
             CROSS JOIN LATERAL (
                   SELECT id
                     FROM messaging.participants
                    WHERE participants.corp_id = place.corp_id
                      AND participants.conversation_id = place.conversation_id
                      AND participants.kind = 'member'
                    LIMIT 1
             ) AS reader
            """,
            [corp_id for corp_id, _, _ in places],
            [app_id for _, app_id, _ in places],
            [conversation_id for _, _, conversation_id in places],
        )
        return {(row["corp_id"], row["app_id"], row["conversation_id"]): row["id"] for row in rows}

    async def filter_participants(
        self, pairs: Collection[tuple[ConversationKey, Participant]]
    ) -> dict[tuple[ConversationKey, Participant], Place]:
        """Return those of the pairs whose participant is in the conversation, and as what."""
        rows = await self._connection.fetch(
            """
            SELECT own.corp_id, own.conversation_id, own.kind, own.id,
                   own.visible_from_sequence, own.role
              -- Arrays of unknown length, or it would be planned anew for each: see ``overviews``.
              FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::text[]),
                          (SELECT $4::text[]))
                   AS pair (corp_id, conversation_id, kind, id)
             CROSS JOIN LATERAL (
                   SELECT corp_id, conversation_id, kind, id, visible_from_sequence, role
                     FROM messaging.participants
                    WHERE participants.corp_id = pair.corp_id
                      AND participants.conversation_id = pair.conversation_id
                      AND participants.kind = pair.kind
                      AND participants.id = pair.id
                    LIMIT 1
             ) AS own
            """,
            [key[0] for key, _ in pairs],
            [key[1] for key, _ in pairs],
            [participant.kind for _, participant in pairs],
            [participant.id for _, participant in pairs],
        )
        return {
            ((row["corp_id"], row["conversation_id"]), Participant(row["kind"], row["id"])): Place(
                row["visible_from_sequence"], Role(row["role"])
            )
            for row in rows
        }

    async def list_positions(
        self, users: Collection[UserKey], *, moved_since: dt.datetime | None = None
    ) -> tuple[list[Position], dt.datetime]:
        """Return each user's conversations with their last numbers, and the database's time before.

        With ``moved_since`` only those that had a message, or that the user joined, after that
        time. The times are those of statements: what is committed later may be of before.
        """
        now: dt.datetime = await self._connection.fetchval("SELECT statement_timestamp()")
        rows = await self._connection.fetch(
            """
            SELECT own.corp_id, own.conversation_id, own.kind, own.id, own.visible_from_sequence,
                   conversation.last_sequence
              FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (corp_id, kind, id)
             CROSS JOIN LATERAL (
                   SELECT corp_id, conversation_id, kind, id, visible_from_sequence, join_time
                     FROM messaging.participants
                    WHERE participants.corp_id = wanted.corp_id
                      AND participants.kind = wanted.kind
                      AND participants.id = wanted.id
                   OFFSET 0  -- as LIMIT does elsewhere, keeps this a subquery
             ) AS own
             CROSS JOIN LATERAL (
                   SELECT last_sequence, last_activity_time
                     FROM messaging.conversations
                    WHERE conversations.corp_id = own.corp_id
                      AND conversations.conversation_id BETWEEN own.conversation_id
                                                            AND own.conversation_id
                    ORDER BY conversations.conversation_id
                    LIMIT 1
             ) AS conversation
             WHERE $4::timestamptz IS NULL
                OR conversation.last_activity_time > $4
                OR own.join_time > $4
            """,
            [corp_id for corp_id, _ in users],
            [participant.kind for _, participant in users],
            [participant.id for _, participant in users],
            moved_since,
        )
        positions = [
            Position(
                (row["corp_id"], Participant(row["kind"], row["id"])),
                (row["corp_id"], row["conversation_id"]),
                row["last_sequence"],
                row["visible_from_sequence"],
            )
            for row in rows
        ]
        return positions, now
