"""Apps and their secrets.

Who changes an app's secrets holds the app's row: of two rotations at once the second finds what the
first one made.
"""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tieline.chassis.authorization import Right
from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.identity.apps.rules import FIRST_AGENT_ID, App, AppFields, AppRange
from tieline.identity.apps.secrets import AppSecret


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """An app whose secret was given, and which secret that was."""

    app: App
    secret_id: uuid.UUID


async def claim_agent_id(connection: Connection, corp_id: str) -> int:
    """Return the corp's next agent id; nobody else creates an app there until the commit."""
    agent_id = await connection.fetchval(
        """
        INSERT INTO identity.app_numbers AS numbers (corp_id, last_agent_id)
        VALUES ($1, $2)
        ON CONFLICT ON CONSTRAINT app_numbers_pkey
        DO UPDATE SET last_agent_id = numbers.last_agent_id + 1
        RETURNING last_agent_id
        """,
        corp_id,
        FIRST_AGENT_ID,
    )
    assert isinstance(agent_id, int), "an upsert gives the row"
    return agent_id


async def count_apps(connection: Connection, corp_id: str) -> int:
    """Return how many apps the corp has."""
    count = await connection.fetchval(
        "SELECT count(*) FROM identity.apps WHERE corp_id = $1", corp_id
    )
    assert isinstance(count, int), "count gives a number"
    return count


async def insert_app(connection: Connection, corp_id: str, agent_id: int, fields: AppFields) -> App:
    """Insert the app."""
    row = await connection.fetchrow(
        """
        INSERT INTO identity.apps
               (corp_id, agent_id, name, description, rights, user_ids, department_ids, tag_ids,
                is_disabled)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        RETURNING corp_id, agent_id, name, description, rights, user_ids, department_ids, tag_ids,
                  is_disabled, change_number, create_time, update_time
        """,
        corp_id,
        agent_id,
        *_to_columns(fields),
    )
    assert row is not None, "INSERT … RETURNING gives the row"
    return _to_app(row)


async def find_app(connection: Connection, corp_id: str, agent_id: int) -> App | None:
    """Return the app, or None."""
    row = await connection.fetchrow(
        """
        SELECT corp_id, agent_id, name, description, rights, user_ids, department_ids, tag_ids,
               is_disabled, change_number, create_time, update_time
          FROM identity.apps
         WHERE corp_id = $1 AND agent_id = $2
        """,
        corp_id,
        agent_id,
    )
    return None if row is None else _to_app(row)


async def lock_app(connection: Connection, corp_id: str, agent_id: int) -> App | None:
    """Lock the app until the transaction ends; return it, or None."""
    row = await connection.fetchrow(
        """
        SELECT corp_id, agent_id, name, description, rights, user_ids, department_ids, tag_ids,
               is_disabled, change_number, create_time, update_time
          FROM identity.apps
         WHERE corp_id = $1 AND agent_id = $2
           FOR UPDATE
        """,
        corp_id,
        agent_id,
    )
    return None if row is None else _to_app(row)


async def list_apps(
    connection: Connection, corp_id: str, *, after: int, maximum_rows: int
) -> Sequence[App]:
    """Return the corp's apps by agent id."""
    rows = await connection.fetch(
        """
        SELECT corp_id, agent_id, name, description, rights, user_ids, department_ids, tag_ids,
               is_disabled, change_number, create_time, update_time
          FROM identity.apps
         WHERE corp_id = $1 AND agent_id > $2
         ORDER BY agent_id
         LIMIT $3
        """,
        corp_id,
        after,
        maximum_rows,
    )
    return [_to_app(row) for row in rows]


async def update_app(connection: Connection, app: App, fields: AppFields) -> App:
    """Give the locked app these fields; return it."""
    row = await connection.fetchrow(
        """
        UPDATE identity.apps
           SET name = $3, description = $4, rights = $5, user_ids = $6, department_ids = $7,
               tag_ids = $8, is_disabled = $9, change_number = change_number + 1,
               update_time = now()
         WHERE corp_id = $1 AND agent_id = $2
        RETURNING corp_id, agent_id, name, description, rights, user_ids, department_ids, tag_ids,
                  is_disabled, change_number, create_time, update_time
        """,
        app.corp_id,
        app.agent_id,
        *_to_columns(fields),
    )
    assert row is not None, "the locked app is there"
    return _to_app(row)


async def delete_app(connection: Connection, corp_id: str, agent_id: int) -> None:
    """Delete the app with its secrets."""
    await connection.execute(
        "DELETE FROM identity.apps WHERE corp_id = $1 AND agent_id = $2", corp_id, agent_id
    )


async def insert_secret(
    connection: Connection, corp_id: str, agent_id: int, secret_id: str, secret_hash: bytes
) -> None:
    """Insert a secret without an end."""
    await connection.execute(
        """
        INSERT INTO identity.app_secrets (corp_id, secret_id, agent_id, secret_hash)
        VALUES ($1, $2, $3, $4)
        """,
        corp_id,
        uuid.UUID(secret_id),
        agent_id,
        secret_hash,
    )


async def list_secrets(
    connection: Connection, corp_id: str, agent_ids: Sequence[int]
) -> Mapping[int, Sequence[AppSecret]]:
    """Return the secrets that are good, by app: first what ends soonest, last the current one."""
    rows = await connection.fetch(
        """
        SELECT agent_id, secret_id, create_time, expire_time
          FROM identity.app_secrets
         WHERE corp_id = $1 AND agent_id = ANY($2::bigint[])
           AND (expire_time IS NULL OR expire_time > now())
         ORDER BY expire_time NULLS LAST, secret_id
        """,
        corp_id,
        list(agent_ids),
    )
    secrets: dict[int, list[AppSecret]] = {agent_id: [] for agent_id in agent_ids}
    for row in rows:
        secrets[row["agent_id"]].append(
            AppSecret(row["secret_id"], row["create_time"], row["expire_time"])
        )
    return secrets


async def expire_secret(
    connection: Connection, corp_id: str, secret_id: uuid.UUID, overlap: dt.timedelta
) -> None:
    """Let the secret end after the overlap, or when it would have ended anyway."""
    await connection.execute(
        """
        UPDATE identity.app_secrets
           SET expire_time = least(expire_time, now() + $3::interval)
         WHERE corp_id = $1 AND secret_id = $2
        """,
        corp_id,
        secret_id,
        overlap,
    )


async def delete_secret(
    connection: Connection, corp_id: str, agent_id: int, secret_id: uuid.UUID
) -> bool:
    """Delete the app's secret; False if it has none of that id."""
    deleted = await connection.fetchval(
        """
        DELETE FROM identity.app_secrets
         WHERE corp_id = $1 AND agent_id = $2 AND secret_id = $3
        RETURNING true
        """,
        corp_id,
        agent_id,
        secret_id,
    )
    return deleted is True


async def find_grant(connection: Connection, corp_id: str, secret_hash: bytes) -> TokenGrant | None:
    """Return the app with this secret as ``share_grant`` does."""
    secret_id = await connection.fetchval(
        "SELECT secret_id FROM identity.app_secrets WHERE corp_id = $1 AND secret_hash = $2",
        corp_id,
        secret_hash,
    )
    return None if secret_id is None else await share_grant(connection, corp_id, secret_id)


async def share_grant(
    connection: Connection, corp_id: str, secret_id: uuid.UUID
) -> TokenGrant | None:
    """Return the app with the secret of this id; nothing is taken from it until the commit.

    The app's row alone is held, as by whoever takes something: a secret's row on top would be
    locked in the other order than theirs.
    """
    await connection.execute(
        """
        SELECT
          FROM identity.apps
         WHERE corp_id = $1
           AND agent_id = (
               SELECT agent_id FROM identity.app_secrets WHERE corp_id = $1 AND secret_id = $2)
           FOR SHARE
        """,
        corp_id,
        secret_id,
    )
    row = await connection.fetchrow(
        """
        SELECT apps.corp_id, agent_id, name, description, rights, user_ids, department_ids,
               tag_ids, is_disabled, change_number, apps.create_time, update_time, secret_id
          FROM identity.app_secrets
          JOIN identity.apps USING (corp_id, agent_id)
         WHERE corp_id = $1 AND secret_id = $2
           AND (expire_time IS NULL OR expire_time > now())
        """,
        corp_id,
        secret_id,
    )
    return None if row is None else TokenGrant(_to_app(row), row["secret_id"])


async def delete_expired_secrets(connection: Connection, *, maximum_rows: int) -> int:
    """Delete secrets that have ended; return how many rows.

    Rows that another replica is deleting are left to it.
    """
    status = await connection.execute(
        """
        DELETE FROM identity.app_secrets
         WHERE (corp_id, secret_id) IN (
               SELECT corp_id, secret_id
                 FROM identity.app_secrets
                WHERE expire_time < now()
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
    )
    return count_rows(status)


def _to_columns(fields: AppFields) -> tuple[object, ...]:
    visible = fields.visible_range
    return (
        fields.name,
        fields.description,
        sorted(right.value for right in fields.rights if right is not None),
        list(visible.user_ids),
        list(visible.department_ids),
        list(visible.tag_ids),
        fields.disabled,
    )


def _to_app(row: Record) -> App:
    return App(
        corp_id=row["corp_id"],
        agent_id=row["agent_id"],
        fields=AppFields(
            name=row["name"],
            description=row["description"],
            rights=frozenset(Right(right) for right in row["rights"]),
            visible_range=AppRange(row["user_ids"], row["department_ids"], row["tag_ids"]),
            disabled=row["is_disabled"],
        ),
        change_number=row["change_number"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
