"""The SQL of join codes and of those who ask to come in."""

import datetime as dt
from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.groups.join_codes import JoinCode
from tieline.messaging.sending.numbering import ConversationKey

_COLUMNS = (
    "code, conversation_id, creator_user_id, expire_time, max_uses, use_count, needs_approval,"
    " create_time"
)


class JoinCodeRepository:
    """Join codes and join requests. Those that ended count as none."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert_code(
        self,
        key: ConversationKey,
        code: str,
        creator_user_id: str,
        *,
        lifetime: dt.timedelta,
        max_uses: int,
        needs_approval: bool,
    ) -> JoinCode:
        """Store a code, in place of the group's that ended."""
        await self._connection.execute(
            """
            DELETE FROM messaging.join_codes
             WHERE corp_id = $1 AND conversation_id = $2 AND expire_time <= statement_timestamp()
            """,
            *key,
        )
        row = await self._connection.fetchrow(
            f"""
            INSERT INTO messaging.join_codes
                   (corp_id, conversation_id, code, creator_user_id, expire_time, max_uses,
                    needs_approval)
            VALUES ($1, $2, $3, $4, statement_timestamp() + $5, $6, $7)
            RETURNING {_COLUMNS}
            """,  # noqa: S608 -- the columns are this module's
            *key,
            code,
            creator_user_id,
            lifetime,
            max_uses,
            needs_approval,
        )
        assert row is not None, "an insert returns its row"
        return JoinCode(**row)

    async def count_codes(self, key: ConversationKey) -> int:
        """Return how many codes of the group are in force."""
        count: int = await self._connection.fetchval(
            """
            SELECT count(*)
              FROM messaging.join_codes
             WHERE corp_id = $1 AND conversation_id = $2
               AND expire_time > statement_timestamp()
               AND (max_uses = 0 OR use_count < max_uses)
            """,
            *key,
        )
        return count

    async def list_codes(self, key: ConversationKey, creator_user_id: str | None) -> list[JoinCode]:
        """Return the group's codes in force, of one maker or of all, the newest first."""
        rows = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS}
              FROM messaging.join_codes
             WHERE corp_id = $1 AND conversation_id = $2
               AND expire_time > statement_timestamp()
               AND (max_uses = 0 OR use_count < max_uses)
               AND ($3::text IS NULL OR creator_user_id = $3)
             ORDER BY create_time DESC, code
            """,  # noqa: S608 -- the columns are this module's
            *key,
            creator_user_id,
        )
        return [JoinCode(**row) for row in rows]

    async def find_code(self, corp_id: str, code: str) -> tuple[JoinCode, dt.datetime] | None:
        """Return the code and the database's time; None if there is none."""
        row = await self._connection.fetchrow(
            f"""
            SELECT {_COLUMNS}, statement_timestamp() AS now
              FROM messaging.join_codes
             WHERE corp_id = $1 AND code = $2
            """,  # noqa: S608 -- the columns are this module's
            corp_id,
            code,
        )
        if row is None:
            return None
        values = dict(row)
        now = values.pop("now")
        return JoinCode(**values), now

    async def count_use(self, corp_id: str, code: str) -> None:
        """Note that somebody came in by the code; the caller holds its group's lock."""
        await self._connection.execute(
            """
            UPDATE messaging.join_codes SET use_count = use_count + 1
             WHERE corp_id = $1 AND code = $2
            """,
            corp_id,
            code,
        )

    async def delete_code(self, key: ConversationKey, code: str) -> None:
        """Withdraw a code of the group."""
        await self._connection.execute(
            """
            DELETE FROM messaging.join_codes
             WHERE corp_id = $1 AND conversation_id = $2 AND code = $3
            """,
            *key,
            code,
        )

    async def insert_request(
        self, key: ConversationKey, user_id: str, *, lifetime: dt.timedelta, maximum: int
    ) -> None:
        """Note that somebody asks to come in, again or first; the oldest beyond a limit go."""
        await self._connection.execute(
            """
            INSERT INTO messaging.join_requests (corp_id, conversation_id, user_id)
            VALUES ($1, $2, $3)
            ON CONFLICT ON CONSTRAINT join_requests_pkey
            DO UPDATE SET create_time = excluded.create_time
             WHERE join_requests.create_time < now() - $4::interval
            """,
            *key,
            user_id,
            lifetime,
        )
        await self._connection.execute(
            """
            DELETE FROM messaging.join_requests
             WHERE corp_id = $1 AND conversation_id = $2
               AND user_id IN (
                   SELECT user_id
                     FROM messaging.join_requests
                    WHERE corp_id = $1 AND conversation_id = $2
                    ORDER BY create_time DESC, user_id
                   OFFSET $3)
            """,
            *key,
            maximum,
        )

    async def list_requests(
        self, key: ConversationKey, *, lifetime: dt.timedelta
    ) -> Sequence[Record]:
        """Return who asks to come in, the oldest first: ``user_id`` and ``create_time``."""
        return await self._connection.fetch(
            """
            SELECT user_id, create_time
              FROM messaging.join_requests
             WHERE corp_id = $1 AND conversation_id = $2 AND create_time > now() - $3::interval
             ORDER BY create_time, user_id
            """,
            *key,
            lifetime,
        )

    async def delete_requests_of(self, corp_id: str, user_ids: Collection[str]) -> None:
        """Take away all that these people ask for; reads the corp's requests, which are few."""
        await self._connection.execute(
            """
            DELETE FROM messaging.join_requests
             WHERE corp_id = $1 AND user_id = ANY ($2::text[])
            """,
            corp_id,
            list(user_ids),
        )

    async def delete_request(
        self, key: ConversationKey, user_id: str, *, lifetime: dt.timedelta
    ) -> bool:
        """Take a request away; tell whether it was there and had not ended."""
        found = await self._connection.fetchval(
            """
            DELETE FROM messaging.join_requests
             WHERE corp_id = $1 AND conversation_id = $2 AND user_id = $3
            RETURNING create_time > now() - $4::interval
            """,
            *key,
            user_id,
            lifetime,
        )
        return bool(found)
