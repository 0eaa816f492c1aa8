"""The SQL of sensitive words and of the messages in which they were said."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection
from tieline.messaging.compliance.sensitive_words import WordAction
from tieline.messaging.conversations.rules import Participant


class Flagged(NamedTuple):
    """One row of ``flagged_messages``."""

    message_time: dt.datetime
    conversation_id: str
    sequence: int
    sender: Participant
    words: Sequence[str]


class SensitiveWordRepository:
    """Sensitive words."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock_version(self, corp_id: str) -> int:
        """Lock the corp's words until the transaction ends; return their version."""
        version: int = await self._connection.fetchval(
            """
            INSERT INTO messaging.sensitive_word_sets (corp_id, version, update_time)
            VALUES ($1, 0, clock_timestamp())
            ON CONFLICT ON CONSTRAINT sensitive_word_sets_pkey
            DO UPDATE SET version = sensitive_word_sets.version
            RETURNING version
            """,
            corp_id,
        )
        return version

    async def set_words(self, corp_id: str, words: Mapping[str, WordAction]) -> int:
        """Add words or change what is done about them; return how many are new or other now."""
        tag = await self._connection.execute(
            """
            INSERT INTO messaging.sensitive_words (corp_id, word, action)
            SELECT $1, word, action
              FROM unnest($2::text[], $3::text[]) AS new (word, action)
            ON CONFLICT ON CONSTRAINT sensitive_words_pkey
            DO UPDATE SET action = excluded.action
             WHERE sensitive_words.action <> excluded.action
            """,
            corp_id,
            list(words),
            [action.value for action in words.values()],
        )
        return count_rows(tag)

    async def delete_words(self, corp_id: str, words: Sequence[str]) -> int:
        """Remove words; return how many there were."""
        tag = await self._connection.execute(
            "DELETE FROM messaging.sensitive_words WHERE corp_id = $1 AND word = ANY($2::text[])",
            corp_id,
            words,
        )
        return count_rows(tag)

    async def raise_version(self, corp_id: str) -> int:
        """Have every replica look at the corp's words again; return their version."""
        version: int = await self._connection.fetchval(
            """
            UPDATE messaging.sensitive_word_sets
               SET version = version + 1, update_time = clock_timestamp()
             WHERE corp_id = $1
            RETURNING version
            """,
            corp_id,
        )
        return version

    async def count_words(self, corp_id: str) -> int:
        """Return how many words a corp has."""
        count: int = await self._connection.fetchval(
            "SELECT count(*) FROM messaging.sensitive_words WHERE corp_id = $1", corp_id
        )
        return count

    async def list_words(
        self, corp_id: str, *, after: str, limit: int
    ) -> Sequence[tuple[str, WordAction]]:
        """Return words in their order."""
        rows = await self._connection.fetch(
            """
            SELECT word, action
              FROM messaging.sensitive_words
             WHERE corp_id = $1 AND word > $2
             ORDER BY word
             LIMIT $3
            """,
            corp_id,
            after,
            limit,
        )
        return [(row["word"], WordAction(row["action"])) for row in rows]

    async def list_versions(self, *, changed_within: dt.timedelta | None) -> dict[str, int]:
        """Return the versions of all corps, or of those that changed of late."""
        rows = await self._connection.fetch(
            """
            SELECT corp_id, version
              FROM messaging.sensitive_word_sets
             WHERE $1::interval IS NULL OR update_time > clock_timestamp() - $1
            """,
            changed_within,
        )
        return {row["corp_id"]: row["version"] for row in rows}

    async def flag_edit(self, key: tuple[str, str], sequence: int, words: Sequence[str]) -> None:
        """Note the words that an edit brought into a message; a repeat changes nothing."""
        await self._connection.execute(
            """
            INSERT INTO messaging.flagged_messages
                   (corp_id, conversation_id, sequence, sender_kind, sender_id, words,
                    message_time)
            SELECT corp_id, conversation_id, sequence, sender_kind, sender_id, $4::text[],
                   create_time
              FROM messaging.stored_messages
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
            ON CONFLICT ON CONSTRAINT flagged_messages_pkey
            DO UPDATE SET words = ARRAY(
                SELECT DISTINCT unnest(flagged_messages.words || excluded.words)
            )
            """,
            *key,
            sequence,
            words,
        )

    async def list_flagged(
        self, corp_id: str, *, before: tuple[dt.datetime, str, int] | None, limit: int
    ) -> Sequence[Flagged]:
        """Return flagged messages, the newest first."""
        time, conversation_id, sequence = before or (None, None, None)
        rows = await self._connection.fetch(
            """
            SELECT message_time, conversation_id, sequence, sender_kind, sender_id, words
              FROM messaging.flagged_messages
             WHERE corp_id = $1
               AND ($2::timestamptz IS NULL
                    OR (message_time, conversation_id, sequence) < ($2, $3, $4))
             ORDER BY message_time DESC, conversation_id DESC, sequence DESC
             LIMIT $5
            """,
            corp_id,
            time,
            conversation_id,
            sequence,
            limit,
        )
        return [
            Flagged(
                row["message_time"],
                row["conversation_id"],
                row["sequence"],
                Participant(row["sender_kind"], row["sender_id"]),
                row["words"],
            )
            for row in rows
        ]
