"""The SQL of what messaging knows of corps: labels, whether they are gone, who left them."""

import datetime as dt
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tieline.chassis import corps_purge
from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection
from tieline.messaging.repositories import SCHEMA
from tieline.messaging.sending.numbering import ConversationKey

# Every table with a corp's rows, each after what others need of it: with the participants nobody
# can send any more, and with the conversations, whose deletion waits for those who are sending,
# nobody is. What is left out, and why: `corps` keeps the id; events and dead letters are on their
# way to others; media have more than rows and go by their expiry. A test compares it with the
# catalog.
PURGED_TABLES = (
    "pushes",
    "push_targets",
    "push_settings",
    "corp_push_settings",
    "departures",
    "join_codes",
    "join_requests",
    "scheduled_messages",
    "scheduled_media",
    "media_references",
    "reactions",
    "pins",
    "answer_choices",
    "card_response_codes",
    "card_tasks",
    "customer_group_changes",
    "app_message_recipients",
    "app_message_jobs",
    "mentions",
    "reading_states",
    "user_revisions",
    "participants",
    "conversations",
    "recent_sends",
    "stored_messages",
    "held_messages",
    "message_versions",
    "held_departures",
    "legal_holds",
    "retention_policies",
    "retention_cuts",
    "archive_consumers",
    "searchable_messages",
    "search_progress",
    "flagged_messages",
    "sensitive_words",
    "sensitive_word_sets",
    "first_answers",
)

# More than there are replicas that each may hold some.
_CANDIDATES = 50

# What is partitioned has no place of its own for a row: found by its key.
_KEYS = {"stored_messages": ("corp_id", "conversation_id", "sequence", "create_time")}


class Departure(NamedTuple):
    """Somebody who left a corp and is still to be taken out of its groups."""

    corp_id: str
    user_id: str
    depart_time: dt.datetime


class CorpRepository:
    """Corps, and those who left them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def note_corp(self, corp_id: str, verified_label: str, *, is_suspended: bool) -> None:
        """Keep what identity says of the corp now."""
        await self._connection.execute(
            """
            INSERT INTO messaging.corps (corp_id, verified_label, is_suspended)
            VALUES ($1, $2, $3)
            ON CONFLICT ON CONSTRAINT corps_pkey
            DO UPDATE SET verified_label = excluded.verified_label,
                          is_suspended = excluded.is_suspended
            """,
            corp_id,
            verified_label,
            is_suspended,
        )

    async def find_label(self, corp_id: str) -> str | None:
        """Return the corp's verified label, None where nothing is known of the corp."""
        label: str | None = await self._connection.fetchval(
            "SELECT verified_label FROM messaging.corps WHERE corp_id = $1", corp_id
        )
        return label

    async def note_label(self, corp_id: str, verified_label: str) -> None:
        """Keep what identity answered, unless an event has told since."""
        await self._connection.execute(
            """
            INSERT INTO messaging.corps (corp_id, verified_label)
            VALUES ($1, $2)
            ON CONFLICT ON CONSTRAINT corps_pkey DO NOTHING
            """,
            corp_id,
            verified_label,
        )

    async def mark_deleted(self, corp_id: str) -> None:
        """Note that the corp is gone; a repeat changes nothing."""
        await self._connection.execute(
            """
            INSERT INTO messaging.corps (corp_id, delete_time)
            VALUES ($1, now())
            ON CONFLICT ON CONSTRAINT corps_pkey
            DO UPDATE SET delete_time = excluded.delete_time, verified_label = ''
             WHERE corps.delete_time IS NULL
            """,
            corp_id,
        )

    async def is_deleted(self, corp_id: str) -> bool:
        """Return whether the corp is gone."""
        found: bool = await self._connection.fetchval(
            """
            SELECT EXISTS (SELECT FROM messaging.corps
                            WHERE corp_id = $1 AND delete_time IS NOT NULL)
            """,
            corp_id,
        )
        return found

    async def list_suspended(self) -> set[str]:
        """Return the corps whose people can't sign in for now."""
        rows = await self._connection.fetch(
            """
            SELECT corp_id FROM messaging.corps
             WHERE is_suspended OR (delete_time IS NOT NULL AND purge_time IS NULL)
            """
        )
        return {row["corp_id"] for row in rows}

    async def lock_deleted_corp(self) -> str | None:
        """Lock a corp that is gone and has rows left; one that another replica purges is its."""
        return await corps_purge.lock_deleted_corp(self._connection, SCHEMA, "corps")

    async def delete_rows(self, corp_id: str, *, maximum_rows: int) -> int:
        """Delete at most so many rows of the locked corp; return how many."""
        deleted = 0
        for table in PURGED_TABLES:
            if deleted < maximum_rows:
                columns = _KEYS.get(table, ("ctid",))
                # Tables and columns are named by this module.
                statement = f"""
                    DELETE FROM messaging.{table}
                     USING (SELECT {", ".join(columns)} FROM messaging.{table}
                             WHERE corp_id = $1 LIMIT $2) AS old
                     WHERE {" AND ".join(f"{table}.{name} = old.{name}" for name in columns)}
                """  # noqa: S608 -- see above
                status = await self._connection.execute(statement, corp_id, maximum_rows - deleted)
                deleted += count_rows(status)
        return deleted

    async def expire_media(self, corp_id: str) -> None:
        """Have the corp's media and uploads go with the next purge of media."""
        for table in ("media", "media_uploads"):
            await self._connection.execute(
                f"""
                UPDATE messaging.{table} SET expire_time = now()
                 WHERE corp_id = $1 AND expire_time > now()
                """,  # noqa: S608 -- tables are named by this module
                corp_id,
            )

    async def mark_purged(self, corp_id: str) -> None:
        """Note that nothing is left of the corp."""
        await self._connection.execute(
            "UPDATE messaging.corps SET purge_time = now() WHERE corp_id = $1", corp_id
        )

    async def insert_departures(self, corp_id: str, user_ids: Collection[str]) -> None:
        """Note who left the corp; a repeat moves the time."""
        await self._connection.execute(
            """
            INSERT INTO messaging.departures (corp_id, user_id, depart_time)
            SELECT DISTINCT $1, user_id, now()
              FROM unnest($2::text[]) AS gone (user_id)
            ON CONFLICT ON CONSTRAINT departures_pkey
            DO UPDATE SET depart_time = excluded.depart_time
            """,
            corp_id,
            sorted(user_ids),
        )

    async def lock_departures(self, *, maximum: int) -> list[Departure]:
        """Lock some of those who left one corp; those whom another replica takes out are its.

        Looks first and locks by corp: Citus locks no rows across nodes.
        """
        candidates = await self._connection.fetch(
            "SELECT DISTINCT corp_id FROM messaging.departures ORDER BY corp_id LIMIT $1",
            _CANDIDATES,
        )
        for candidate in candidates:
            rows = await self._connection.fetch(
                """
                SELECT corp_id, user_id, depart_time
                  FROM messaging.departures
                 WHERE corp_id = $1
                 ORDER BY user_id
                 LIMIT $2
                   FOR NO KEY UPDATE SKIP LOCKED
                """,
                candidate["corp_id"],
                maximum,
            )
            if rows:
                return [Departure(*row) for row in rows]
        return []

    async def list_groups_of(
        self, departures: Sequence[Departure], *, maximum: int
    ) -> list[tuple[ConversationKey, str]]:
        """Return in which groups they are since before they left, and who, in order of the keys.

        All of them left the same corp.
        """
        rows = await self._connection.fetch(
            """
            SELECT own.corp_id, own.conversation_id, own.id
              FROM unnest($2::text[], $3::timestamptz[]) AS departure (user_id, depart_time)
             CROSS JOIN LATERAL (
                   SELECT corp_id, conversation_id, id, join_time
                     FROM messaging.participants
                    WHERE participants.corp_id = $1
                      AND participants.kind = 'member'
                      AND participants.id = departure.user_id
                   OFFSET 0
             ) AS own
              JOIN messaging.conversations
                ON conversations.corp_id = own.corp_id
               AND conversations.conversation_id = own.conversation_id
             WHERE conversations.corp_id = $1
               AND own.join_time <= departure.depart_time
               AND conversations.kind IN ('group', 'customer_group')
             ORDER BY own.corp_id, own.conversation_id, own.id
             LIMIT $4
            """,
            departures[0].corp_id,
            [each.user_id for each in departures],
            [each.depart_time for each in departures],
            maximum,
        )
        return [((row["corp_id"], row["conversation_id"]), row["id"]) for row in rows]

    async def delete_departures(self, departures: Sequence[Departure]) -> None:
        """Forget those who are in no group any more; all of them left the same corp."""
        await self._connection.execute(
            """
            DELETE FROM messaging.departures
             WHERE corp_id = $1 AND user_id = ANY ($2::text[])
            """,
            departures[0].corp_id,
            [each.user_id for each in departures],
        )
