"""The SQL of what people choose in quizzes and template cards.

An answer is written under the lock of the conversation's row.
"""

from collections.abc import Collection
from typing import NamedTuple

from tieline.chassis.postgres import Connection
from tieline.messaging.contents.choices import Choice
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.sending.numbering import ConversationKey


class PersonChoices(NamedTuple):
    """What somebody chose."""

    participant: Participant
    chosen: frozenset[Choice]


class ChoiceRepository:
    """The answers to one message."""

    def __init__(self, connection: Connection, key: ConversationKey, sequence: int) -> None:
        self._connection = connection
        self._message = (*key, sequence)

    async def find_answer(self, participant: Participant) -> frozenset[Choice]:
        """Return what the participant chose, nothing where there is no answer yet."""
        rows = await self._connection.fetch(
            """
            SELECT selection_key, option_key
              FROM messaging.answer_choices
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND kind = $4 AND id = $5
            """,
            *self._message,
            *participant,
        )
        return frozenset(Choice(*row) for row in rows)

    async def replace_answer(self, participant: Participant, chosen: Collection[Choice]) -> None:
        """Keep this instead of what the participant chose before."""
        await self._connection.execute(
            """
            DELETE FROM messaging.answer_choices
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND kind = $4 AND id = $5
            """,
            *self._message,
            *participant,
        )
        await self._connection.execute(
            """
            INSERT INTO messaging.answer_choices
                   (corp_id, conversation_id, sequence, kind, id, selection_key, option_key)
            SELECT $1, $2, $3, $4, $5, selection_key, option_key
              FROM unnest($6::text[], $7::text[]) AS chosen (selection_key, option_key)
            """,
            *self._message,
            *participant,
            [choice.selection_key for choice in chosen],
            [choice.option_key for choice in chosen],
        )

    async def delete_answers(self) -> None:
        """Forget what everybody chose."""
        await self._connection.execute(
            """
            DELETE FROM messaging.answer_choices
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
            """,
            *self._message,
        )

    async def count_choices(self) -> dict[Choice, int]:
        """Return by how many each option was chosen, without those that nobody chose."""
        rows = await self._connection.fetch(
            """
            SELECT selection_key, option_key, count(*) AS count
              FROM messaging.answer_choices
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
             GROUP BY selection_key, option_key
            """,
            *self._message,
        )
        return {Choice(row["selection_key"], row["option_key"]): row["count"] for row in rows}

    async def count_people(self) -> int:
        """Return how many answered."""
        count: int = await self._connection.fetchval(
            """
            SELECT count(DISTINCT (kind, id))
              FROM messaging.answer_choices
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
            """,
            *self._message,
        )
        return count

    async def list_answers(self, *, after: Participant | None, limit: int) -> list[PersonChoices]:
        """Return who chose what, ordered by kind and id."""
        rows = await self._connection.fetch(
            """
            SELECT kind, id, array_agg(selection_key) AS selection_keys,
                   array_agg(option_key) AS option_keys
              FROM messaging.answer_choices
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3
               AND (kind, id) > ($4, $5)
             GROUP BY kind, id
             ORDER BY kind, id
             LIMIT $6
            """,
            *self._message,
            *(after or ("", "")),
            limit,
        )
        return [
            PersonChoices(
                Participant(row["kind"], row["id"]),
                frozenset(map(Choice, row["selection_keys"], row["option_keys"])),
            )
            for row in rows
        ]
