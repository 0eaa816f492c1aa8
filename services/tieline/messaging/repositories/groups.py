"""The SQL of groups: roles, settings, and who is taken out. The caller holds the group's lock."""

from collections.abc import Collection

from tieline.chassis.postgres import Connection, Record
from tieline.chassis.principals import PrincipalKind
from tieline.messaging.conversations.rules import Participant, Role, Settings
from tieline.messaging.groups.rules import Place
from tieline.messaging.sending.numbering import ConversationKey


class GroupRepository:
    """What changes in a group."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_places(
        self, key: ConversationKey, participants: Collection[Participant]
    ) -> list[Place]:
        """Return the places of those of them who are in the group."""
        rows = await self._connection.fetch(
            """
            SELECT own.kind, own.id, own.role, own.join_time
              FROM unnest($3::text[], $4::text[]) AS wanted (kind, id)
             CROSS JOIN LATERAL (
                   SELECT kind, id, role, join_time
                     FROM messaging.participants
                    WHERE participants.corp_id = $1
                      AND participants.conversation_id = $2
                      AND participants.kind = wanted.kind
                      AND participants.id = wanted.id
                    LIMIT 1
             ) AS own
            """,
            *key,
            [participant.kind for participant in participants],
            [participant.id for participant in participants],
        )
        return [_read_place(row) for row in rows]

    async def list_all_places(self, key: ConversationKey) -> list[Place]:
        """Return the places of everybody in the group; 2,000 at most."""
        rows = await self._connection.fetch(
            """
            SELECT kind, id, role, join_time
              FROM messaging.participants
             WHERE corp_id = $1 AND conversation_id = $2
            """,
            *key,
        )
        return [_read_place(row) for row in rows]

    async def count_admins(self, key: ConversationKey) -> int:
        """Return how many administrators the group has."""
        count: int = await self._connection.fetchval(
            """
            SELECT count(*)
              FROM messaging.participants
             WHERE corp_id = $1 AND conversation_id = $2 AND role = 'admin'
            """,
            *key,
        )
        return count

    async def delete_participants(
        self, key: ConversationKey, participants: Collection[Participant]
    ) -> list[Participant]:
        """Take people out of the conversation; return those who were in it, in their order."""
        rows = await self._connection.fetch(
            """
            DELETE FROM messaging.participants
             USING unnest($3::text[], $4::text[]) AS gone (kind, id)
             WHERE participants.corp_id = $1
               AND participants.conversation_id = $2
               AND participants.kind = gone.kind
               AND participants.id = gone.id
            RETURNING participants.kind, participants.id
            """,
            *key,
            [participant.kind for participant in participants],
            [participant.id for participant in participants],
        )
        left = sorted(Participant(row["kind"], row["id"]) for row in rows)
        await self._keep_holds(key, left)
        return left

    async def _keep_holds(self, key: ConversationKey, left: Collection[Participant]) -> None:
        """Have holds on members who left stay on the conversation.

        A statement of its own, behind the one that locked their rows: so it sees a hold that was
        acknowledged while that waited (see ``RetentionRepository.insert_hold``).
        """
        await self._connection.execute(
            """
            INSERT INTO messaging.held_departures (corp_id, conversation_id, hold_id)
            SELECT corp_id, $2, hold_id
              FROM messaging.legal_holds
             WHERE corp_id = $1 AND release_time IS NULL
               AND scope = 'member' AND target_id = ANY ($3::text[])
            ON CONFLICT ON CONSTRAINT held_departures_pkey DO NOTHING
            """,
            *key,
            [each.id for each in left if each.kind == PrincipalKind.MEMBER.value],
        )

    async def set_role(self, key: ConversationKey, participant: Participant, role: Role) -> None:
        """Give somebody in the group a role."""
        await self._connection.execute(
            """
            UPDATE messaging.participants
               SET role = $5
             WHERE corp_id = $1 AND conversation_id = $2 AND kind = $3 AND id = $4
            """,
            *key,
            *participant,
            role.value,
        )

    async def set_settings(self, key: ConversationKey, settings: Settings) -> None:
        """Store the group's settings."""
        await self._connection.execute(
            """
            UPDATE messaging.conversations
               SET name = $3, notice = $4, notice_time = $5, is_muted = $6, posting = $7,
                   adding = $8, history_visible = $9
             WHERE corp_id = $1 AND conversation_id = $2
            """,
            *key,
            settings.name,
            settings.notice,
            settings.notice_time,
            settings.is_muted,
            settings.posting.value,
            settings.adding.value,
            settings.history_visible,
        )

    async def dismiss(self, key: ConversationKey) -> bool:
        """Let nothing more happen in the group; False if nothing did before.

        Its codes and requests are void.
        """
        dismissed = await self._connection.fetchval(
            """
            UPDATE messaging.conversations
               SET dismiss_time = statement_timestamp()
             WHERE corp_id = $1 AND conversation_id = $2 AND dismiss_time IS NULL
            RETURNING true
            """,
            *key,
        )
        await self._connection.execute(
            "DELETE FROM messaging.join_codes WHERE corp_id = $1 AND conversation_id = $2", *key
        )
        await self._connection.execute(
            "DELETE FROM messaging.join_requests WHERE corp_id = $1 AND conversation_id = $2", *key
        )
        return bool(dismissed)


def _read_place(row: Record) -> Place:
    return Place(Participant(row["kind"], row["id"]), Role(row["role"]), row["join_time"])
