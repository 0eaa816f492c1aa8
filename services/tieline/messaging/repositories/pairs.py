"""The SQL of many pairs' conversations."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection


async def find_conversation_ids(
    connection: Connection, corp_id: str, direct_keys: Sequence[str]
) -> dict[str, str]:
    """Return the ids of those pairs' conversations that there are, by the pairs' keys."""
    # Why LATERAL: see `conversations`.
    rows = await connection.fetch(
        """
        SELECT wanted.direct_key, found.conversation_id
          FROM unnest($2::text[]) AS wanted (direct_key)
         CROSS JOIN LATERAL (
               SELECT conversation_id
                 FROM messaging.conversations
                WHERE conversations.corp_id = $1
                  AND conversations.direct_key = wanted.direct_key
                LIMIT 1
         ) AS found
        """,
        corp_id,
        direct_keys,
    )
    return {row["direct_key"]: row["conversation_id"] for row in rows}
