"""The SQL of where devices can be reached, and of when nothing is pushed to them."""

from collections.abc import Collection
from typing import NamedTuple

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.push.targets import MAX_TARGETS, NewTarget, PushTarget
from tieline.messaging.repositories.participants import UserKey
from tieline.messaging.repositories.statements import lock_name

DeviceKey = tuple[str, str]
"""``(corp_id, session_id)``"""


class Previews(NamedTuple):
    """Whether previews are hidden."""

    by_person: bool
    by_corp: bool


class PushTargetRepository:
    """Targets, and the settings of their people and corps."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def register(self, user: UserKey, session_id: str, new: NewTarget) -> PushTarget:
        """Set where a session's device is reached; nobody else of the corp has the token then."""
        corp_id, person = user
        await lock_name(
            self._connection, f"push_targets token {corp_id} {new.platform} {new.token}"
        )
        await lock_name(
            self._connection, f"push_targets person {corp_id} {person.kind} {person.id}"
        )
        await self._delete_where(
            "platform = $2 AND md5(token) = md5($3) AND token = $3 AND session_id <> $4",
            corp_id,
            new.platform,
            new.token,
            session_id,
        )
        row = await self._connection.fetchrow(
            """
            INSERT INTO messaging.push_targets
                   (corp_id, session_id, kind, id, platform, token, locale)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT ON CONSTRAINT push_targets_pkey
            DO UPDATE SET kind = excluded.kind, id = excluded.id, platform = excluded.platform,
                          token = excluded.token, locale = excluded.locale, register_time = now()
            RETURNING session_id, platform, locale, create_time, register_time
            """,
            corp_id,
            session_id,
            *person,
            new.platform,
            new.token,
            new.locale,
        )
        assert row is not None, "an INSERT returns its row"
        kept = [each.session_id for each in await self.list_of(user)]
        await self._delete_where(
            "kind = $2 AND id = $3 AND session_id <> ALL ($4::text[])", corp_id, *person, kept
        )
        return _read(row)

    async def unregister(self, user: UserKey, session_id: str) -> None:
        """Forget a device of that person."""
        corp_id, person = user
        await self._delete_where(
            "kind = $2 AND id = $3 AND session_id = $4", corp_id, *person, session_id
        )

    async def delete_refused(self, corp_id: str, session_id: str, token: str) -> None:
        """Forget a device whose token is no good any more, unless it has another one since."""
        await self._delete_where("session_id = $2 AND token = $3", corp_id, session_id, token)

    async def list_of(self, user: UserKey) -> list[PushTarget]:
        """Return a person's newest, the newest first."""
        corp_id, person = user
        rows = await self._connection.fetch(
            """
            SELECT session_id, platform, locale, create_time, register_time
              FROM messaging.push_targets
             WHERE corp_id = $1 AND kind = $2 AND id = $3
             ORDER BY register_time DESC, session_id
             LIMIT $4
            """,
            corp_id,
            *person,
            MAX_TARGETS,
        )
        return [_read(row) for row in rows]

    async def end_session(self, corp_id: str, session_id: str) -> None:
        """Forget the device of a session that is over; without a corp a customer's, in all."""
        if not corp_id:
            await self._end_customers("session_id = $1", session_id)
            return
        await self._connection.execute(
            "DELETE FROM messaging.push_targets WHERE corp_id = $1 AND session_id = $2",
            corp_id,
            session_id,
        )

    async def end_sessions_of(self, corp_id: str, person: Participant, kept: str) -> None:
        """Forget somebody's devices but one session's; without a corp a customer's, in all."""
        if not corp_id:
            await self._end_customers("id = $1 AND session_id <> $2", person.id, kept)
            return
        await self._connection.execute(
            """
            DELETE FROM messaging.push_targets
             WHERE corp_id = $1 AND kind = $2 AND id = $3 AND session_id <> $4
            """,
            corp_id,
            *person,
            kept,
        )

    async def _end_customers(self, condition: str, *parameters: object) -> None:
        await self._connection.execute(
            f"DELETE FROM messaging.push_targets WHERE kind = 'customer' AND {condition}",  # noqa: S608 -- conditions of this module
            *parameters,
        )

    async def note_connected(
        self, connected: Collection[DeviceKey], gone: Collection[DeviceKey]
    ) -> None:
        """Note which devices' subscriptions are open, and whose have ended."""
        for devices, time in ((gone, "NULL"), (connected, "clock_timestamp()")):
            ordered = sorted(devices)
            # The upsert always finds its row, which is locked: an UPDATE with a join would leave
            # the planner a choice (see `messages`).
            await self._connection.execute(
                f"""
                INSERT INTO messaging.push_targets
                       (corp_id, session_id, kind, id, platform, token, locale)
                SELECT target.corp_id, target.session_id, '', '', '', '', ''
                  FROM unnest($1::text[], $2::text[]) AS wanted (corp_id, session_id)
                 CROSS JOIN LATERAL (
                       SELECT corp_id, session_id
                         FROM messaging.push_targets
                        WHERE push_targets.corp_id = wanted.corp_id
                          AND push_targets.session_id = wanted.session_id
                        LIMIT 1
                          FOR NO KEY UPDATE
                 ) AS target
                ON CONFLICT ON CONSTRAINT push_targets_pkey
                DO UPDATE SET connected_time = {time}
                """,  # noqa: S608 -- one of two values
                [corp_id for corp_id, _ in ordered],
                [session_id for _, session_id in ordered],
            )

    async def set_quiet_hours(self, user: UserKey, quiet_hours: bytes | None) -> None:
        """Keep serialized QuietHours, or none."""
        corp_id, person = user
        await self._connection.execute(
            """
            INSERT INTO messaging.push_settings (corp_id, kind, id, quiet_hours)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT ON CONSTRAINT push_settings_pkey
            DO UPDATE SET quiet_hours = excluded.quiet_hours
            """,
            corp_id,
            *person,
            quiet_hours,
        )

    async def find_quiet_hours(self, user: UserKey) -> bytes | None:
        """Return serialized QuietHours, or None."""
        corp_id, person = user
        found: bytes | None = await self._connection.fetchval(
            """
            SELECT quiet_hours FROM messaging.push_settings
             WHERE corp_id = $1 AND kind = $2 AND id = $3
            """,
            corp_id,
            *person,
        )
        return found

    async def hide_previews(self, user: UserKey, *, hidden: bool) -> None:
        """Set whether a person's previews are hidden."""
        corp_id, person = user
        await self._connection.execute(
            """
            INSERT INTO messaging.push_settings (corp_id, kind, id, previews_hidden)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT ON CONSTRAINT push_settings_pkey
            DO UPDATE SET previews_hidden = excluded.previews_hidden
            """,
            corp_id,
            *person,
            hidden,
        )

    async def hide_corp_previews(self, corp_id: str, *, hidden: bool) -> bool:
        """Set whether a corp's previews are hidden; tell whether that changed."""
        changed = await self._connection.fetchval(
            """
            INSERT INTO messaging.corp_push_settings (corp_id, previews_hidden)
            VALUES ($1, $2)
            ON CONFLICT ON CONSTRAINT corp_push_settings_pkey
            DO UPDATE SET previews_hidden = excluded.previews_hidden
             WHERE corp_push_settings.previews_hidden <> excluded.previews_hidden
            RETURNING true
            """,
            corp_id,
            hidden,
        )
        return changed is True

    async def find_previews(self, user: UserKey) -> Previews:
        """Return what the person and the corp have set."""
        corp_id, person = user
        row = await self._connection.fetchrow(
            """
            SELECT EXISTS (SELECT FROM messaging.push_settings
                            WHERE corp_id = $1 AND kind = $2 AND id = $3 AND previews_hidden),
                   EXISTS (SELECT FROM messaging.corp_push_settings
                            WHERE corp_id = $1 AND previews_hidden)
            """,
            corp_id,
            *person,
        )
        assert row is not None, "a query of one row"
        return Previews(*row)

    async def delete_old(self, *, days: int, maximum_rows: int) -> int:
        """Forget targets that were not said again for so long; return how many."""
        tag = await self._connection.execute(
            """
            DELETE FROM messaging.push_targets
             WHERE (corp_id, session_id) IN (
                   SELECT corp_id, session_id
                     FROM messaging.push_targets
                    WHERE register_time < now() - make_interval(days => $1)
                    ORDER BY register_time
                    LIMIT $2
                      FOR UPDATE SKIP LOCKED)
            """,
            days,
            maximum_rows,
        )
        return count_rows(tag)

    async def _delete_where(self, condition: str, *parameters: object) -> None:
        """Forget targets of a corp, with what waits for them."""
        await self._connection.execute(
            f"""
            WITH gone AS (
                DELETE FROM messaging.push_targets
                 WHERE corp_id = $1 AND {condition}
                RETURNING corp_id, session_id
            )
            DELETE FROM messaging.pushes
             USING gone
             WHERE pushes.corp_id = gone.corp_id AND pushes.session_id = gone.session_id
            """,  # noqa: S608 -- conditions of this module
            *parameters,
        )


def _read(row: Record) -> PushTarget:
    return PushTarget(*row)
