"""The SQL of what is still to be pushed: a constant number of statements, however many rows."""

import datetime as dt
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.push.rules import Claim, Newest, PushKey
from tieline.messaging.repositories.participants import UserKey


class Settlement(NamedTuple):
    """What becomes of a claim."""

    claim: Claim
    told_sequence: int | None
    """Up to where nothing is left to tell; None to try again."""

    due_time: dt.datetime | None
    """When it is tried again."""

    failures: int


class PushRepository:
    """Rows of ``pushes``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert_wanted(self, newest: Sequence[Newest], collapse: dt.timedelta) -> None:
        """Note whom messages are to be pushed to once ``collapse`` is over; a repeat does nothing.

        All devices of those who are in the conversation since before, have not read it, and either
        have not muted it or are mentioned.
        """
        await self._connection.execute(
            """
            INSERT INTO messaging.pushes AS push
                   (corp_id, session_id, conversation_id, wanted_sequence, due_time)
            SELECT sent.corp_id, target.session_id, sent.conversation_id, wanted.sequence,
                   now() + $7::interval
              -- One of unknown length: see ``overviews``.
              FROM unnest((SELECT $1::text[]), $2::text[], $3::bigint[], $4::text[], $5::text[],
                          $6::bigint[])
                   AS sent (corp_id, conversation_id, sequence, sender_kind, sender_id,
                            other_sequence)
             CROSS JOIN LATERAL (
                   SELECT kind, id, joined_sequence
                     FROM messaging.participants
                    WHERE participants.corp_id = sent.corp_id
                      AND participants.conversation_id = sent.conversation_id
                   OFFSET 0
             ) AS own
             CROSS JOIN LATERAL (
                   SELECT CASE WHEN (own.kind, own.id) = (sent.sender_kind, sent.sender_id)
                               THEN sent.other_sequence ELSE sent.sequence END AS sequence
             ) AS wanted
             CROSS JOIN LATERAL (
                   -- In the order that one index alone gives: see `conversations`.
                   SELECT session_id
                     FROM messaging.push_targets
                    WHERE push_targets.corp_id = sent.corp_id
                      AND push_targets.kind = own.kind
                      AND push_targets.id BETWEEN own.id AND own.id
                    ORDER BY push_targets.id, push_targets.session_id
                   OFFSET 0
             ) AS target
              LEFT JOIN LATERAL (
                   SELECT read_sequence,
                          muted AND (mute_until_time IS NULL OR mute_until_time > now()) AS is_muted
                     FROM messaging.reading_states
                    WHERE reading_states.corp_id = sent.corp_id
                      AND reading_states.kind = own.kind
                      AND reading_states.id = own.id
                      AND reading_states.conversation_id = sent.conversation_id
                    LIMIT 1
             ) AS state ON true
             WHERE wanted.sequence > greatest(own.joined_sequence, state.read_sequence)
               AND (state.is_muted IS NOT TRUE
                    OR EXISTS (
                       SELECT
                         FROM messaging.mentions
                        WHERE mentions.corp_id = sent.corp_id
                          AND mentions.conversation_id = sent.conversation_id
                          AND mentions.kind = own.kind
                          AND mentions.id = own.id
                          AND mentions.sequence
                              > greatest(own.joined_sequence, state.read_sequence))
                    OR EXISTS (
                       SELECT
                         FROM messaging.mentions
                        WHERE mentions.corp_id = sent.corp_id
                          AND mentions.conversation_id = sent.conversation_id
                          AND mentions.kind = 'everyone'
                          AND mentions.id = ''
                          AND mentions.sequence
                              > greatest(own.joined_sequence, state.read_sequence)))
             ORDER BY sent.corp_id, target.session_id, sent.conversation_id
            ON CONFLICT ON CONSTRAINT pushes_pkey
            DO UPDATE SET wanted_sequence = greatest(push.wanted_sequence,
                                                     excluded.wanted_sequence),
                          due_time = CASE WHEN push.claimed_until > now() THEN push.due_time
                                          ELSE least(push.due_time, excluded.due_time) END
             WHERE excluded.wanted_sequence > push.pushed_sequence
               -- What waits is decided when it is due, by all that is there then. What was put off
               -- for an older message, and not for the webhook, is looked at for a newer one.
               AND (push.due_time IS NULL
                    OR push.claimed_until > now()
                    OR (push.failures = 0
                        AND excluded.wanted_sequence > push.wanted_sequence
                        AND push.due_time > excluded.due_time))
            """,
            [each.key[0] for each in newest],
            [each.key[1] for each in newest],
            [each.sequence for each in newest],
            [each.sender.kind for each in newest],
            [each.sender.id for each in newest],
            [each.other_sequence for each in newest],
            collapse,
        )

    async def claim_due(
        self, *, after_corp_id: str, of_corp: int, limit: int, lease: dt.timedelta
    ) -> list[Claim]:
        """Take what is due of the corps behind that one, so much of each at most, the oldest first.

        In the order of the corps; nobody else takes it until the lease is over.
        """
        rows = await self._connection.fetch(
            """
            WITH RECURSIVE waiting AS (
                (SELECT corp_id
                   FROM messaging.pushes
                  WHERE corp_id > $1 AND due_time IS NOT NULL
                  ORDER BY corp_id
                  LIMIT 1)
                UNION ALL
                SELECT (SELECT next.corp_id
                          FROM messaging.pushes AS next
                         WHERE next.corp_id > waiting.corp_id AND next.due_time IS NOT NULL
                         ORDER BY next.corp_id
                         LIMIT 1)
                  FROM waiting
                 WHERE waiting.corp_id IS NOT NULL
            ), due AS (
                SELECT of_corp.*
                  FROM waiting
                 CROSS JOIN LATERAL (
                       SELECT pushes.corp_id, pushes.session_id, pushes.conversation_id,
                              pushes.due_time
                         FROM messaging.pushes
                        WHERE pushes.corp_id = waiting.corp_id AND pushes.due_time <= now()
                        ORDER BY pushes.due_time
                        LIMIT $2
                          FOR UPDATE SKIP LOCKED
                 ) AS of_corp
                 LIMIT $3
            )
            -- The upsert always finds its row, which is locked: an UPDATE with a join would leave
            -- the planner a choice (see `messages`).
            INSERT INTO messaging.pushes AS push
                   (corp_id, session_id, conversation_id, wanted_sequence)
            SELECT corp_id, session_id, conversation_id, 0
              FROM due
            ON CONFLICT ON CONSTRAINT pushes_pkey
            DO UPDATE SET claim_number = push.claim_number + 1,
                          claimed_until = now() + $4::interval,
                          -- Due for others when the lease is over.
                          due_time = now() + $4::interval
            RETURNING push.corp_id, push.session_id, push.conversation_id, push.claim_number,
                      push.wanted_sequence, push.failures,
                      (SELECT now() - due.due_time
                         FROM due
                        WHERE due.corp_id = push.corp_id
                          AND due.session_id = push.session_id
                          AND due.conversation_id = push.conversation_id) AS delay
            """,
            after_corp_id,
            of_corp,
            limit,
            lease,
        )
        claims = [
            Claim(
                _key_of(row),
                row["claim_number"],
                row["wanted_sequence"],
                row["failures"],
                row["delay"],
            )
            for row in rows
        ]
        return sorted(claims, key=lambda claim: claim.key)

    async def settle(self, settlements: Collection[Settlement], collapse: dt.timedelta) -> None:
        """Write down what became of claims; of those that were lost, nothing.

        What came for a claimed push meanwhile is due once ``collapse`` is over, unless the webhook
        failed.
        """
        ordered = sorted(settlements, key=lambda each: each.claim.key)
        # Locks in key order; of those that are gone nothing is written.
        await self._connection.execute(
            """
            INSERT INTO messaging.pushes AS push
                   (corp_id, session_id, conversation_id, wanted_sequence, claim_number,
                    pushed_sequence, due_time, failures)
            SELECT claimed.corp_id, claimed.session_id, claimed.conversation_id,
                   claimed.wanted_sequence, result.claim_number,
                   greatest(claimed.pushed_sequence, result.told_sequence),
                   CASE WHEN result.told_sequence IS NULL
                             AND result.failures = 0
                             AND claimed.wanted_sequence > result.claimed_sequence
                        THEN least(result.due_time, now() + $8::interval)
                        WHEN result.told_sequence IS NULL THEN result.due_time
                        WHEN claimed.wanted_sequence > result.told_sequence
                        THEN now() + $8::interval END,
                   result.failures
              FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
                          $6::timestamptz[], $7::bigint[], $9::bigint[])
                   AS result (corp_id, session_id, conversation_id, claim_number, told_sequence,
                              due_time, failures, claimed_sequence)
             CROSS JOIN LATERAL (
                   SELECT corp_id, session_id, conversation_id, wanted_sequence, pushed_sequence,
                          claim_number, claimed_until
                     FROM messaging.pushes
                    WHERE pushes.corp_id = result.corp_id
                      AND pushes.session_id = result.session_id
                      AND pushes.conversation_id = result.conversation_id
                    LIMIT 1
                      FOR UPDATE
             ) AS claimed
             WHERE claimed.claim_number = result.claim_number
               AND claimed.claimed_until > now()
            ON CONFLICT ON CONSTRAINT pushes_pkey
            DO UPDATE SET pushed_sequence = excluded.pushed_sequence,
                          due_time = excluded.due_time,
                          claimed_until = '-infinity',
                          failures = excluded.failures,
                          settle_time = now()
            """,
            [each.claim.key.corp_id for each in ordered],
            [each.claim.key.session_id for each in ordered],
            [each.claim.key.conversation_id for each in ordered],
            [each.claim.claim_number for each in ordered],
            [each.told_sequence for each in ordered],
            [each.due_time for each in ordered],
            [each.failures for each in ordered],
            collapse,
            [each.claim.wanted_sequence for each in ordered],
        )

    async def read_clock(self) -> dt.datetime:
        """Return the database's time."""
        now: dt.datetime = await self._connection.fetchval("SELECT clock_timestamp()")
        return now

    async def count_badges(self, people: Sequence[UserKey]) -> dict[UserKey, int]:
        """Return how much each has not read, of all conversations that they have not muted."""
        rows = await self._connection.fetch(
            """
            SELECT person.corp_id, person.kind, person.id,
                   (
                   SELECT coalesce(sum(greatest(
                              (conversation.last_sequence - conversation.uncounted)
                              - (greatest(coalesce(state.read_sequence, 0), own.joined_sequence)
                                 - coalesce(joined.uncounted, state.read_uncounted, 0)), 0)), 0)
                     FROM (
                          SELECT conversation_id, joined_sequence
                            FROM messaging.participants
                           WHERE participants.corp_id = person.corp_id
                             AND participants.kind = person.kind
                             AND participants.id = person.id
                          OFFSET 0
                     ) AS own
                    CROSS JOIN LATERAL (
                          SELECT last_sequence, uncounted
                            FROM messaging.conversations
                           WHERE conversations.corp_id = person.corp_id
                             AND conversations.conversation_id BETWEEN own.conversation_id
                                                                   AND own.conversation_id
                           ORDER BY conversations.conversation_id
                           LIMIT 1
                    ) AS conversation
                     LEFT JOIN LATERAL (
                          SELECT read_sequence, read_uncounted, muted, mute_until_time
                            FROM messaging.reading_states
                           WHERE reading_states.corp_id = person.corp_id
                             AND reading_states.kind = person.kind
                             AND reading_states.id = person.id
                             AND reading_states.conversation_id = own.conversation_id
                           LIMIT 1
                    ) AS state ON true
                     LEFT JOIN LATERAL (
                          SELECT uncounted
                            FROM messaging.stored_messages
                           WHERE stored_messages.corp_id = person.corp_id
                             AND stored_messages.conversation_id = own.conversation_id
                             AND stored_messages.sequence = own.joined_sequence
                             AND own.joined_sequence > coalesce(state.read_sequence, 0)
                           LIMIT 1
                    ) AS joined ON true
                    WHERE conversation.last_sequence
                          > greatest(coalesce(state.read_sequence, 0), own.joined_sequence)
                      AND (state.muted AND (state.mute_until_time IS NULL
                                            OR state.mute_until_time > now())) IS NOT TRUE
                   )::bigint AS unread_count
              FROM unnest($1::text[], $2::text[], $3::text[]) AS person (corp_id, kind, id)
            """,
            [corp_id for corp_id, _ in people],
            [participant.kind for _, participant in people],
            [participant.id for _, participant in people],
        )
        return {
            (row["corp_id"], Participant(row["kind"], row["id"])): row["unread_count"]
            for row in rows
        }

    async def delete_settled(self, *, age: dt.timedelta, maximum_rows: int) -> int:
        """Forget what was settled that long ago; return how many.

        Until then an event that comes late finds what was told already.
        """
        tag = await self._connection.execute(
            """
            DELETE FROM messaging.pushes
             WHERE (corp_id, session_id, conversation_id) IN (
                   SELECT corp_id, session_id, conversation_id
                     FROM messaging.pushes
                    WHERE due_time IS NULL AND settle_time < now() - $1::interval
                    ORDER BY settle_time
                    LIMIT $2
                      FOR UPDATE SKIP LOCKED)
            """,
            age,
            maximum_rows,
        )
        return count_rows(tag)


def _key_of(row: Record) -> PushKey:
    return PushKey(row["corp_id"], row["session_id"], row["conversation_id"])
