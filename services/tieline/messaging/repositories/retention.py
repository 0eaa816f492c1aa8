"""The SQL of retention and legal holds."""

import datetime as dt
from collections.abc import Sequence

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.messaging.compliance.retention import HoldScope, LegalHold, NewHold, RetentionPolicy
from tieline.messaging.conversations.rules import ConversationKind

# A month of messages is copied while whoever sets a hold waits.
_COPY_TIMEOUT_S = 3600

# What was said about messages, by their numbers.
_DETAIL_TABLES = ("reactions", "pins", "answer_choices", "flagged_messages")


class RetentionRepository:
    """How long messages are kept, and what is held."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_policies(self, corp_id: str) -> Sequence[RetentionPolicy]:
        """Return what a corp has set."""
        rows = await self._connection.fetch(
            """
            SELECT conversation_kind, keep_days, update_time,
                   nullif(applied_until, '-infinity') AS applied_until
              FROM messaging.retention_policies
             WHERE corp_id = $1
            """,
            corp_id,
        )
        return [
            RetentionPolicy(
                ConversationKind(row["conversation_kind"]),
                row["keep_days"],
                row["update_time"],
                row["applied_until"],
            )
            for row in rows
        ]

    async def set_policy(self, corp_id: str, kind: ConversationKind, keep_days: int) -> bool:
        """Keep messages of a kind for so many days; False if they already were."""
        changed = await self._connection.fetchval(
            """
            INSERT INTO messaging.retention_policies (corp_id, conversation_kind, keep_days)
            VALUES ($1, $2, $3)
            ON CONFLICT ON CONSTRAINT retention_policies_pkey
            DO UPDATE SET keep_days = excluded.keep_days, update_time = now()
             WHERE retention_policies.keep_days <> excluded.keep_days
            RETURNING true
            """,
            corp_id,
            kind.value,
            keep_days,
        )
        return changed is True

    async def delete_policy(self, corp_id: str, kind: ConversationKind) -> bool:
        """Keep messages of a kind for ever; False if they already were."""
        deleted = await self._connection.fetchval(
            """
            DELETE FROM messaging.retention_policies
             WHERE corp_id = $1 AND conversation_kind = $2
            RETURNING true
            """,
            corp_id,
            kind.value,
        )
        return deleted is True

    async def has_conversation(self, corp_id: str, conversation_id: str) -> bool:
        """Tell whether there is such a conversation."""
        found: bool = await self._connection.fetchval(
            """
            SELECT EXISTS (
                SELECT
                  FROM messaging.conversations
                 WHERE corp_id = $1 AND conversation_id = $2
            )
            """,
            corp_id,
            conversation_id,
        )
        return found

    async def count_active_holds(self, corp_id: str) -> int:
        """Return how many holds of a corp are in force."""
        count: int = await self._connection.fetchval(
            """
            SELECT count(*)
              FROM messaging.legal_holds
             WHERE corp_id = $1 AND release_time IS NULL
            """,
            corp_id,
        )
        return count

    async def insert_hold(self, corp_id: str, hold_id: str, hold: NewHold) -> LegalHold:
        """Hold messages; waits while messages are being removed.

        A hold on a member waits for those places from which the member is just being taken. Whoever
        takes the member out of one after that sees the hold.
        """
        create_time = await self._connection.fetchval(
            """
            INSERT INTO messaging.legal_holds (corp_id, hold_id, scope, target_id, reason)
            VALUES ($1, $2, $3, $4, $5)
            RETURNING create_time
            """,
            corp_id,
            hold_id,
            hold.scope.value,
            hold.target_id,
            hold.reason,
        )
        if hold.scope is HoldScope.MEMBER:
            await self._connection.execute(
                """
                SELECT
                  FROM messaging.participants
                 WHERE corp_id = $1 AND kind = 'member' AND id = $2
                 ORDER BY conversation_id
                   FOR KEY SHARE
                """,
                corp_id,
                hold.target_id,
            )
        return LegalHold(hold_id, hold, create_time, None)

    async def release_hold(self, corp_id: str, hold_id: str) -> bool:
        """End a hold; False if it had ended or is not there."""
        released = await self._connection.fetchval(
            """
            UPDATE messaging.legal_holds
               SET release_time = now()
             WHERE corp_id = $1 AND hold_id = $2 AND release_time IS NULL
            RETURNING true
            """,
            corp_id,
            hold_id,
        )
        return released is True

    async def find_hold(self, corp_id: str, hold_id: str) -> LegalHold | None:
        """Return a hold."""
        row = await self._connection.fetchrow(
            """
            SELECT hold_id, scope, target_id, reason, create_time, release_time
              FROM messaging.legal_holds
             WHERE corp_id = $1 AND hold_id = $2
            """,
            corp_id,
            hold_id,
        )
        return None if row is None else _build_hold(row)

    async def list_holds(
        self, corp_id: str, *, before: str | None, limit: int
    ) -> Sequence[LegalHold]:
        """Return holds, the newest first: their ids are in order of time."""
        rows = await self._connection.fetch(
            """
            SELECT hold_id, scope, target_id, reason, create_time, release_time
              FROM messaging.legal_holds
             WHERE corp_id = $1 AND ($2::uuid IS NULL OR hold_id < $2)
             ORDER BY hold_id DESC
             LIMIT $3
            """,
            corp_id,
            before,
            limit,
        )
        return [_build_hold(row) for row in rows]

    async def apply_retention(self, at: dt.datetime | None) -> Record | None:
        """Remove what is no longer kept from one part; None when no part is due.

        ``at`` is for tests; None is now. The row has ``part_end``, ``removed`` and ``held``.
        """
        return await self._connection.fetchrow(
            "SELECT part_end, removed, held"
            "  FROM messaging.apply_retention(coalesce($1::timestamptz, now()))",
            at,
            timeout=_COPY_TIMEOUT_S,
        )

    async def delete_search_rows(self, *, maximum_rows: int) -> int:
        """Forget by what messages that are gone were found; return how many rows that were."""
        tag = await self._connection.execute(
            """
            WITH old AS (
                SELECT found.corp_id, found.conversation_id, found.create_time, found.sequence
                  FROM messaging.retention_policies AS policy
                  JOIN messaging.conversations AS c
                    ON c.corp_id = policy.corp_id AND c.kind = policy.conversation_kind
                  JOIN messaging.searchable_messages AS found
                    ON found.corp_id = c.corp_id AND found.conversation_id = c.conversation_id
                 WHERE found.create_time < policy.applied_until
                 LIMIT $1
                   FOR UPDATE OF found SKIP LOCKED
            )
            DELETE FROM messaging.searchable_messages AS found
             USING old
             WHERE found.corp_id = old.corp_id
               AND found.conversation_id = old.conversation_id
               AND found.create_time = old.create_time
               AND found.sequence = old.sequence
            """,
            maximum_rows,
        )
        return count_rows(tag)

    async def delete_details(self, *, maximum_conversations: int) -> int:
        """Forget what was said about messages that are gone; return of how many conversations.

        What belongs to held messages stays with them. Looks first and locks by corp: Citus locks no
        rows across nodes.
        """
        corps = await self._connection.fetch(
            """
            SELECT corp_id, array_agg(conversation_id) AS conversation_ids
              FROM (SELECT corp_id, conversation_id
                      FROM messaging.retention_cuts
                     ORDER BY corp_id, conversation_id
                     LIMIT $1) AS waiting
             GROUP BY corp_id
            """,
            maximum_conversations,
        )
        done = 0
        for row in corps:
            done += await self._delete_details_of(row["corp_id"], row["conversation_ids"])
        return done

    async def _delete_details_of(self, corp_id: str, conversation_ids: Sequence[str]) -> int:
        cuts = await self._connection.fetch(
            """
            SELECT conversation_id, last_sequence
              FROM messaging.retention_cuts
             WHERE corp_id = $1 AND conversation_id = ANY ($2::text[])
               FOR UPDATE SKIP LOCKED
            """,
            corp_id,
            conversation_ids,
        )
        locked_ids = [cut["conversation_id"] for cut in cuts]
        for table in _DETAIL_TABLES:
            await self._connection.execute(
                f"""
                DELETE FROM messaging.{table} AS detail
                 USING unnest($2::text[], $3::bigint[]) AS cut (conversation_id, last_sequence)
                 WHERE detail.corp_id = $1
                   AND detail.conversation_id = cut.conversation_id
                   AND detail.sequence <= cut.last_sequence
                   AND NOT EXISTS (
                       SELECT
                         FROM messaging.held_messages AS kept
                        WHERE kept.corp_id = $1
                          AND kept.conversation_id = detail.conversation_id
                          AND kept.sequence = detail.sequence
                   )
                """,  # noqa: S608 -- tables are named by this module
                corp_id,
                locked_ids,
                [cut["last_sequence"] for cut in cuts],
            )
        await self._connection.execute(
            """
            DELETE FROM messaging.retention_cuts
             WHERE corp_id = $1 AND conversation_id = ANY ($2::text[])
            """,
            corp_id,
            locked_ids,
        )
        return len(cuts)

    async def delete_released(self, *, maximum_rows: int) -> int:
        """Remove messages that were held and are no longer, with what was said about them.

        Returns how many messages. Waits for holds that are being set, and holds up others.
        """
        await self._lock_holds()
        details = ", ".join(
            f"""{table}_gone AS (
                DELETE FROM messaging.{table} AS detail
                 USING released
                 WHERE detail.corp_id = released.corp_id
                   AND detail.conversation_id = released.conversation_id
                   AND detail.sequence = released.sequence
            )"""  # noqa: S608 -- tables are named by this module
            for table in ("media_references", "message_versions", *_DETAIL_TABLES)
        )
        count: int = await self._connection.fetchval(
            f"""
            WITH released AS (
                SELECT corp_id, conversation_id, sequence
                  FROM messaging.held_messages
                 WHERE NOT messaging.is_held(corp_id, conversation_id, sender_kind, sender_id)
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            ), {details}, deleted AS (
                DELETE FROM messaging.held_messages AS held
                 USING released
                 WHERE held.corp_id = released.corp_id
                   AND held.conversation_id = released.conversation_id
                   AND held.sequence = released.sequence
                RETURNING 1
            )
            SELECT count(*) FROM deleted
            """,  # noqa: S608 -- tables are named by this module
            maximum_rows,
        )
        return count

    async def delete_unread_references(self, *, maximum_rows: int) -> int:
        """Have recalled messages that no hold is on keep no media; return how many references.

        Waits for holds that are being set, and holds up others.
        """
        await self._lock_holds()
        tag = await self._connection.execute(
            """
            WITH unread AS (
                SELECT reference.corp_id, reference.media_id, reference.conversation_id,
                       reference.sequence
                  FROM messaging.media_references AS reference
                  JOIN messaging.stored_messages AS message
                    ON message.corp_id = reference.corp_id
                   AND message.conversation_id = reference.conversation_id
                   AND message.sequence = reference.sequence
                   AND message.create_time = reference.message_time
                 WHERE NOT reference.is_readable
                   AND NOT messaging.is_held(message.corp_id, message.conversation_id,
                                             message.sender_kind, message.sender_id)
                 LIMIT $1
                   FOR UPDATE OF reference SKIP LOCKED
            )
            DELETE FROM messaging.media_references AS reference
             USING unread
             WHERE reference.corp_id = unread.corp_id
               AND reference.media_id = unread.media_id
               AND reference.conversation_id = unread.conversation_id
               AND reference.sequence = unread.sequence
            """,
            maximum_rows,
        )
        return count_rows(tag)

    async def _lock_holds(self) -> None:
        """Let nobody set a hold until what goes is gone; what is acknowledged is seen after this.

        Releases wait too. A statement of its own: the next one looks when it has the lock.
        """
        await self._connection.execute("LOCK TABLE messaging.legal_holds IN SHARE MODE")


def _build_hold(row: Record) -> LegalHold:
    hold = NewHold(HoldScope(row["scope"]), row["target_id"], row["reason"])
    return LegalHold(str(row["hold_id"]), hold, row["create_time"], row["release_time"])
