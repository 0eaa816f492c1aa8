"""The SQL of the codes with which apps update their cards."""

import datetime as dt
from typing import NamedTuple

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection
from tieline.messaging.repositories.participants import UserKey


class ResponseCode(NamedTuple):
    """A code that is good."""

    response_code: str
    job_id: str
    """Whose messages it updates; empty for the code of an answer."""

    conversation_id: str
    sequence: int
    user_id: str
    response: bytes
    """Serialized CardResponse without code and times."""

    create_time: dt.datetime


_COLUMNS = "response_code, job_id, conversation_id, sequence, user_id, response, create_time"


class ResponseCodeRepository:
    """Codes of apps."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert_of_job(self, app: UserKey, response_code: str, job_id: str) -> None:
        """Add the code that updates what a job sent."""
        await self._connection.execute(
            """
            INSERT INTO messaging.card_response_codes (corp_id, response_code, app_id, job_id)
            VALUES ($1, $2, $3, $4)
            """,
            app[0],
            response_code,
            app[1].id,
            job_id,
        )

    async def replace_answers(
        self,
        app: UserKey,
        response_code: str,
        place: tuple[str, int],
        user_id: str,
        response: bytes,
        *,
        is_menu: bool,
    ) -> dt.datetime:
        """Add the code of a member's answer, or press on the menu, in place of that before."""
        corp_id, participant = app
        await self._connection.execute(
            """
            DELETE FROM messaging.card_response_codes
             WHERE corp_id = $1 AND conversation_id = $2 AND sequence = $3 AND user_id = $4
               AND conversation_id <> '' AND is_menu = $5
            """,
            corp_id,
            *place,
            user_id,
            is_menu,
        )
        create_time: dt.datetime = await self._connection.fetchval(
            """
            INSERT INTO messaging.card_response_codes
                   (corp_id, response_code, app_id, conversation_id, sequence, user_id, response,
                    is_menu)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            RETURNING create_time
            """,
            corp_id,
            response_code,
            participant.id,
            *place,
            user_id,
            response,
            is_menu,
        )
        return create_time

    async def take(
        self, app: UserKey, response_code: str, *, lifetime: dt.timedelta
    ) -> ResponseCode | None:
        """Use an app's code up; None where it is not good."""
        row = await self._connection.fetchrow(
            f"""
            DELETE FROM messaging.card_response_codes
             WHERE corp_id = $1 AND response_code = $2 AND app_id = $3
               AND create_time > now() - $4::interval
            RETURNING {_COLUMNS}
            """,  # noqa: S608 -- columns are named by the code
            app[0],
            response_code,
            app[1].id,
            lifetime,
        )
        return None if row is None else ResponseCode(*row)

    async def list_answers(
        self,
        app: UserKey,
        *,
        after: tuple[dt.datetime, str] | None,
        lifetime: dt.timedelta,
        limit: int,
    ) -> list[ResponseCode]:
        """Return the good codes of answers to an app's cards, the oldest first."""
        rows = await self._connection.fetch(
            f"""
            SELECT {_COLUMNS}
              FROM messaging.card_response_codes
             WHERE corp_id = $1 AND app_id = $2 AND create_time > now() - $3::interval
               AND conversation_id <> ''
               AND ($4::timestamptz IS NULL OR (create_time, response_code) > ($4, $5))
             ORDER BY create_time, response_code
             LIMIT $6
            """,  # noqa: S608 -- columns are named by the code
            app[0],
            app[1].id,
            lifetime,
            *(after or (None, "")),
            limit,
        )
        return [ResponseCode(*row) for row in rows]

    async def delete_expired(self, *, lifetime: dt.timedelta, maximum_rows: int) -> int:
        """Forget codes that are not good any more; return how many."""
        status = await self._connection.execute(
            """
            DELETE FROM messaging.card_response_codes
             USING (SELECT corp_id, response_code
                      FROM messaging.card_response_codes
                     WHERE create_time < now() - $1::interval
                     LIMIT $2) AS old
             WHERE card_response_codes.corp_id = old.corp_id
               AND card_response_codes.response_code = old.response_code
            """,
            lifetime,
            maximum_rows,
        )
        return count_rows(status)
