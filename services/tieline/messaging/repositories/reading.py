"""The SQL of how people stand to conversations.

Locks: the rows of ``user_revisions`` in key order; whoever holds one may write the person's states.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.reading.rules import ReadingState
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.sending.numbering import ConversationKey

_COLUMNS = """
    state.read_sequence, state.read_uncounted, state.delivered_sequence, state.muted,
    state.mute_until_time, state.pin_time, state.draft, state.draft_reply_sequence,
    state.draft_time, state.revision
"""


Wanted = tuple[UserKey, str, int]
"""A person, a conversation, and the number that the person wants read, 0 for none."""


class Standing(NamedTuple):
    """What the database knows of a person in a conversation, and of the number that is wanted."""

    state: ReadingState
    last_sequence: int
    wanted_uncounted: int
    """Uncounted entries up to the number that is wanted to be read."""

    now: dt.datetime


class ReaderRow(NamedTuple):
    """A participant, and up to where they have the conversation."""

    participant: Participant
    read_sequence: int
    delivered_sequence: int


class ReadingRepository:
    """Reading states and revisions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_revisions(self, users: Collection[UserKey]) -> dict[UserKey, int]:
        """Lock these people's revisions in key order until the transaction ends; return them."""
        ordered = sorted(users)
        parameters = (
            [corp_id for corp_id, _ in ordered],
            [participant.kind for _, participant in ordered],
            [participant.id for _, participant in ordered],
        )
        await self._connection.execute(
            """
            INSERT INTO messaging.user_revisions (corp_id, kind, id)
            SELECT corp_id, kind, id
              FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (corp_id, kind, id)
            ON CONFLICT ON CONSTRAINT user_revisions_pkey DO NOTHING
            """,
            *parameters,
        )
        rows = await self._connection.fetch(
            """
            SELECT locked.corp_id, locked.kind, locked.id, locked.revision
              -- One of unknown length: see ``overviews``.
              FROM unnest((SELECT $1::text[]), $2::text[], $3::text[]) AS wanted (corp_id, kind, id)
             CROSS JOIN LATERAL (
                   SELECT corp_id, kind, id, revision
                     FROM messaging.user_revisions
                    WHERE user_revisions.corp_id = wanted.corp_id
                      AND user_revisions.kind = wanted.kind
                      AND user_revisions.id = wanted.id
                    LIMIT 1
                      FOR NO KEY UPDATE
             ) AS locked
            """,
            *parameters,
        )
        return {_user_of(row): row["revision"] for row in rows}

    async def list_standings(self, wanted: Collection[Wanted]) -> dict[Wanted, Standing]:
        """Return how people stand to conversations that they are in."""
        rows = await self._connection.fetch(
            f"""
            SELECT own.corp_id, own.kind, own.id, own.conversation_id, {_COLUMNS},
                   wanted.sequence AS wanted_sequence,
                   conversation.last_sequence,
                   CASE WHEN wanted.sequence = conversation.last_sequence
                        THEN conversation.uncounted ELSE message.uncounted END AS wanted_uncounted,
                   statement_timestamp() AS now
              -- One of unknown length: see ``overviews``.
              FROM unnest((SELECT $1::text[]), $2::text[], $3::text[], $4::text[], $5::bigint[])
                   AS wanted (corp_id, kind, id, conversation_id, sequence)
             CROSS JOIN LATERAL (
                   SELECT corp_id, kind, id, conversation_id
                     FROM messaging.participants
                    WHERE participants.corp_id = wanted.corp_id
                      AND participants.conversation_id = wanted.conversation_id
                      AND participants.kind = wanted.kind
                      AND participants.id = wanted.id
                    LIMIT 1
             ) AS own
             CROSS JOIN LATERAL (
                   SELECT last_sequence, uncounted
                     FROM messaging.conversations
                    WHERE conversations.corp_id = wanted.corp_id
                      AND conversations.conversation_id BETWEEN wanted.conversation_id
                                                            AND wanted.conversation_id
                    ORDER BY conversations.conversation_id
                    LIMIT 1
             ) AS conversation
              LEFT JOIN LATERAL (
                   SELECT uncounted
                     FROM messaging.stored_messages
                    WHERE stored_messages.corp_id = wanted.corp_id
                      AND stored_messages.conversation_id = wanted.conversation_id
                      AND stored_messages.sequence = wanted.sequence
                      AND wanted.sequence <> conversation.last_sequence
                    LIMIT 1
             ) AS message ON true
              LEFT JOIN LATERAL (
                   SELECT *
                     FROM messaging.reading_states
                    WHERE reading_states.corp_id = wanted.corp_id
                      AND reading_states.kind = wanted.kind
                      AND reading_states.id = wanted.id
                      AND reading_states.conversation_id = wanted.conversation_id
                    LIMIT 1
             ) AS state ON true
            """,  # noqa: S608 -- the columns are named above
            [user[0] for user, _, _ in wanted],
            [user[1].kind for user, _, _ in wanted],
            [user[1].id for user, _, _ in wanted],
            [conversation_id for _, conversation_id, _ in wanted],
            [sequence for _, _, sequence in wanted],
        )
        return {
            (_user_of(row), row["conversation_id"], row["wanted_sequence"]): Standing(
                read_state(row), row["last_sequence"], row["wanted_uncounted"] or 0, row["now"]
            )
            for row in rows
        }

    async def store_states(
        self,
        states: Sequence[tuple[UserKey, ReadingState]],
        revisions: Mapping[UserKey, int],
    ) -> None:
        """Store the states, and the new revisions of those whose they are.

        The caller holds the locks of their revisions.
        """
        await self._connection.execute(
            """
            WITH revised AS (
                UPDATE messaging.user_revisions
                   SET revision = new.revision
                  FROM unnest($15::text[], $16::text[], $17::text[], $18::bigint[])
                       AS new (corp_id, kind, id, revision)
                 WHERE user_revisions.corp_id = new.corp_id
                   AND user_revisions.kind = new.kind
                   AND user_revisions.id = new.id
            )
            INSERT INTO messaging.reading_states
                   (corp_id, kind, id, conversation_id, read_sequence, read_uncounted,
                    delivered_sequence, muted, mute_until_time, pin_time, draft,
                    draft_reply_sequence, draft_time, revision)
            SELECT *
              FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[],
                          $6::bigint[], $7::bigint[], $8::boolean[], $9::timestamptz[],
                          $10::timestamptz[], $11::text[], $12::bigint[], $13::timestamptz[],
                          $14::bigint[])
            ON CONFLICT ON CONSTRAINT reading_states_pkey
            DO UPDATE SET read_sequence = excluded.read_sequence,
                          read_uncounted = excluded.read_uncounted,
                          delivered_sequence = excluded.delivered_sequence,
                          muted = excluded.muted,
                          mute_until_time = excluded.mute_until_time,
                          pin_time = excluded.pin_time,
                          draft = excluded.draft,
                          draft_reply_sequence = excluded.draft_reply_sequence,
                          draft_time = excluded.draft_time,
                          revision = excluded.revision
            """,
            [user[0] for user, _ in states],
            [user[1].kind for user, _ in states],
            [user[1].id for user, _ in states],
            [state.conversation_id for _, state in states],
            [state.read_sequence for _, state in states],
            [state.read_uncounted for _, state in states],
            [state.delivered_sequence for _, state in states],
            [state.muted for _, state in states],
            [state.mute_until_time for _, state in states],
            [state.pin_time for _, state in states],
            [state.draft for _, state in states],
            [state.draft_reply_sequence for _, state in states],
            [state.draft_time for _, state in states],
            [state.revision for _, state in states],
            [user[0] for user in revisions],
            [user[1].kind for user in revisions],
            [user[1].id for user in revisions],
            list(revisions.values()),
        )

    async def list_revisions(self, users: Collection[UserKey]) -> dict[UserKey, int]:
        """Return the newest revision of each that has one."""
        rows = await self._connection.fetch(
            """
            SELECT found.corp_id, found.kind, found.id, found.revision
              -- One of unknown length: see ``overviews``.
              FROM unnest((SELECT $1::text[]), $2::text[], $3::text[]) AS wanted (corp_id, kind, id)
             CROSS JOIN LATERAL (
                   SELECT corp_id, kind, id, revision
                     FROM messaging.user_revisions
                    WHERE user_revisions.corp_id = wanted.corp_id
                      AND user_revisions.kind = wanted.kind
                      AND user_revisions.id = wanted.id
                    LIMIT 1
             ) AS found
            """,
            [corp_id for corp_id, _ in users],
            [participant.kind for _, participant in users],
            [participant.id for _, participant in users],
        )
        return {_user_of(row): row["revision"] for row in rows}

    async def list_states(
        self, user: UserKey, *, after_revision: int, limit: int
    ) -> tuple[list[ReadingState], int, dt.datetime]:
        """Return the person's states of a higher revision, in its order; the newest revision; now.

        Only of conversations that the person is in.
        """
        corp_id, participant = user
        row = await self._connection.fetchrow(
            """
            SELECT statement_timestamp() AS now,
                   (SELECT revision
                      FROM messaging.user_revisions
                     WHERE corp_id = $1 AND kind = $2 AND id = $3) AS revision
            """,
            corp_id,
            *participant,
        )
        assert row is not None, "a query of one row"
        # Not beyond the revision that is told: what comes later is told by itself.
        last_revision = row["revision"] or 0
        if last_revision <= after_revision:
            return [], last_revision, row["now"]
        rows = await self._connection.fetch(
            f"""
            SELECT state.conversation_id, {_COLUMNS}
              FROM messaging.reading_states AS state
             WHERE state.corp_id = $1 AND state.kind = $2 AND state.id = $3
               AND state.revision > $4
               AND EXISTS (
                   SELECT
                     FROM messaging.participants
                    WHERE participants.corp_id = $1
                      AND participants.conversation_id = state.conversation_id
                      AND participants.kind = $2
                      AND participants.id = $3
               )
             ORDER BY state.revision
             LIMIT $5
            """,  # noqa: S608 -- the columns are named above
            corp_id,
            *participant,
            after_revision,
            limit,
        )
        return [read_state(row) for row in rows], last_revision, row["now"]

    async def find_sender(self, key: ConversationKey, sequence: int) -> Participant | None:
        """Return who sent the message of that number, None if there is none."""
        row = await self._connection.fetchrow(
            """
            SELECT sender_kind, sender_id
              FROM messaging.stored_messages
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
            """,
            *key,
            sequence,
        )
        return None if row is None else Participant(row["sender_kind"], row["sender_id"])

    async def list_readers(
        self, key: ConversationKey, sequence: int, sender: Participant
    ) -> list[ReaderRow]:
        """Return all who are in the conversation since that message, by kind and id.

        A conversation has 2,000 participants at most.
        """
        rows = await self._connection.fetch(
            """
            SELECT own.kind, own.id,
                   coalesce(state.read_sequence, 0) AS read_sequence,
                   coalesce(state.delivered_sequence, 0) AS delivered_sequence
              FROM (
                   SELECT kind, id
                     FROM messaging.participants
                    WHERE corp_id = $1
                      AND conversation_id = $2
                      AND joined_sequence < $3
                      AND (kind, id) <> ($4, $5)
                    ORDER BY kind, id
                   OFFSET 0  -- keeps this a subquery: states are looked up one by one
              ) AS own
              LEFT JOIN LATERAL (
                   SELECT read_sequence, delivered_sequence
                     FROM messaging.reading_states
                    WHERE reading_states.corp_id = $1
                      AND reading_states.kind = own.kind
                      AND reading_states.id = own.id
                      AND reading_states.conversation_id = $2
                    LIMIT 1
             ) AS state ON true
             ORDER BY own.kind, own.id
            """,
            *key,
            sequence,
            *sender,
        )
        return [
            ReaderRow(
                Participant(row["kind"], row["id"]),
                row["read_sequence"],
                row["delivered_sequence"],
            )
            for row in rows
        ]


def read_state(row: Record) -> ReadingState:
    """Return the state of a row; the first one where nothing was ever done."""
    if row["revision"] is None:
        return ReadingState(row["conversation_id"])
    return ReadingState(
        row["conversation_id"],
        row["read_sequence"],
        row["read_uncounted"],
        row["delivered_sequence"],
        row["muted"],
        row["mute_until_time"],
        row["pin_time"],
        row["draft"],
        row["draft_reply_sequence"],
        row["draft_time"],
        row["revision"],
    )


def _user_of(row: Record) -> UserKey:
    return row["corp_id"], Participant(row["kind"], row["id"])
