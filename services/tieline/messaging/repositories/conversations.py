"""The SQL of conversations; who is in them is asked of ``participants``.

What is asked for in lists is looked up in LATERAL subqueries that the planner can't merge with the
list: a plan that was made when the tables were small would otherwise read them whole for as long as
it is cached. For one conversation they ask as for a range of ids in order, which the primary key
alone gives: of a table that it knows nothing about yet, the planner would as soon take the index of
``direct_key`` and read all of a corp's.
"""

import datetime as dt
from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import (
    Allowed,
    Conversation,
    ConversationKind,
    Participant,
    Role,
    Settings,
)
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.sending.numbering import ConversationKey

_COLUMNS = (
    *("corp_id", "conversation_id", "kind", "name", "notice", "notice_time", "is_muted"),
    *("posting", "adding", "history_visible", "last_sequence", "uncounted"),
    *("last_activity_time", "create_time", "dismiss_time"),
)


def _columns_of(table: str) -> str:
    """Return what :func:`_read_conversation` reads of the conversation, for a list of columns."""
    return ", ".join(f"{table}.{column}" for column in _COLUMNS)


class ConversationRepository:
    """Conversations."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert_conversation(
        self,
        key: ConversationKey,
        kind: ConversationKind,
        name: str,
        *,
        direct_key: str | None = None,
        history_visible: bool = True,
        posting: Allowed = Allowed.EVERYONE,
    ) -> bool:
        """Insert the conversation; False if its id, or the pair's conversation, is there already.

        Waits for another transaction that is inserting the same one.
        """
        inserted = await self._connection.fetchval(
            """
            INSERT INTO messaging.conversations
                   (corp_id, conversation_id, kind, name, direct_key, history_visible, posting)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT DO NOTHING
            RETURNING true
            """,
            *key,
            kind.value,
            name,
            direct_key,
            history_visible,
            posting.value,
        )
        return bool(inserted)

    async def set_posting(self, key: ConversationKey, posting: Allowed) -> None:
        """Store who may send."""
        await self._connection.execute(
            """
            UPDATE messaging.conversations
               SET posting = $3
             WHERE corp_id = $1 AND conversation_id = $2 AND posting <> $3
            """,
            *key,
            posting.value,
        )

    async def find_direct_conversation_id(self, corp_id: str, direct_key: str) -> str | None:
        """Return the id of the pair's conversation, None if there is none."""
        conversation_id: str | None = await self._connection.fetchval(
            """
            SELECT conversation_id
              FROM messaging.conversations
             WHERE corp_id = $1 AND direct_key = $2
            """,
            corp_id,
            direct_key,
        )
        return conversation_id

    async def find_conversation_of(
        self, key: ConversationKey, participant: Participant
    ) -> Conversation | None:
        """Return the conversation, None if it is not there or the participant is not in it."""
        row = await self._connection.fetchrow(
            f"""
            SELECT {_columns_of("conversation")}, own.visible_from_sequence, own.role,
                   (SELECT count(*)
                      FROM messaging.participants AS everybody
                     WHERE everybody.corp_id = conversation.corp_id
                       AND everybody.conversation_id = conversation.conversation_id
                   ) AS participant_count
              FROM messaging.conversations AS conversation
              JOIN messaging.participants AS own
                ON own.corp_id = conversation.corp_id
               AND own.conversation_id = conversation.conversation_id
             WHERE conversation.corp_id = $1
               AND conversation.conversation_id = $2
               AND own.kind = $3
               AND own.id = $4
            """,  # noqa: S608 -- the columns are this module's
            *key,
            *participant,
        )
        return None if row is None else _read_conversation(row)

    async def list_conversations_of(
        self, user: UserKey, *, before: tuple[dt.datetime, str] | None, limit: int
    ) -> Sequence[Conversation]:
        """Return the user's conversations, the latest activity first, from ``before`` on."""
        corp_id, participant = user
        before_time, before_id = before or (None, None)
        rows = await self._connection.fetch(
            f"""
            SELECT {_columns_of("page")}, page.visible_from_sequence, page.role,
                   (SELECT count(*)
                      FROM messaging.participants AS everybody
                     WHERE everybody.corp_id = page.corp_id
                       AND everybody.conversation_id = page.conversation_id
                   ) AS participant_count
              FROM (
                   SELECT {_columns_of("conversation")},
                          own.visible_from_sequence, own.role
                     FROM messaging.participants AS own
                     JOIN messaging.conversations AS conversation
                       ON conversation.corp_id = own.corp_id
                      AND conversation.conversation_id = own.conversation_id
                    WHERE own.corp_id = $1
                      AND own.kind = $2
                      AND own.id = $3
                      AND ($4::timestamptz IS NULL
                           OR (conversation.last_activity_time, conversation.conversation_id)
                              < ($4, $5::text))
                    ORDER BY conversation.last_activity_time DESC,
                             conversation.conversation_id DESC
                    LIMIT $6
              ) AS page
             ORDER BY page.last_activity_time DESC, page.conversation_id DESC
            """,  # noqa: S608 -- the columns are this module's
            corp_id,
            *participant,
            before_time,
            before_id,
            limit,
        )
        return [_read_conversation(row) for row in rows]

    async def list_conversations(
        self, keys: Collection[ConversationKey]
    ) -> dict[ConversationKey, Conversation]:
        """Return those of the conversations that exist."""
        rows = await self._connection.fetch(
            f"""
            SELECT {_columns_of("conversation")}, 0 AS visible_from_sequence, NULL AS role,
                   (SELECT count(*)
                      FROM messaging.participants AS everybody
                     WHERE everybody.corp_id = conversation.corp_id
                       AND everybody.conversation_id = conversation.conversation_id
                   ) AS participant_count
              FROM unnest($1::text[], $2::text[]) AS wanted (corp_id, conversation_id)
             CROSS JOIN LATERAL (
                   SELECT {_columns_of("conversations")}
                     FROM messaging.conversations
                    WHERE conversations.corp_id = wanted.corp_id
                      AND conversations.conversation_id BETWEEN wanted.conversation_id
                                                            AND wanted.conversation_id
                    ORDER BY conversations.conversation_id
                    LIMIT 1
             ) AS conversation
            """,  # noqa: S608 -- the columns are this module's
            [corp_id for corp_id, _ in keys],
            [conversation_id for _, conversation_id in keys],
        )
        conversations = [_read_conversation(row) for row in rows]
        return {(each.corp_id, each.conversation_id): each for each in conversations}


def _read_conversation(row: Record) -> Conversation:
    return Conversation(
        corp_id=row["corp_id"],
        conversation_id=row["conversation_id"],
        kind=ConversationKind(row["kind"]),
        settings=Settings(
            name=row["name"],
            notice=row["notice"],
            is_muted=row["is_muted"],
            posting=Allowed(row["posting"]),
            adding=Allowed(row["adding"]),
            history_visible=row["history_visible"],
            notice_time=row["notice_time"],
        ),
        last_sequence=row["last_sequence"],
        uncounted=row["uncounted"],
        last_activity_time=row["last_activity_time"],
        participant_count=row["participant_count"],
        create_time=row["create_time"],
        dismiss_time=row["dismiss_time"],
        visible_from_sequence=row["visible_from_sequence"],
        role=None if row["role"] is None else Role(row["role"]),
    )
