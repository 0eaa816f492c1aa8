"""Who runs the deployment, and by what hash each signs in."""

import datetime as dt
from dataclasses import dataclass

from tieline.chassis.postgres import Connection


@dataclass(frozen=True, slots=True)
class PlatformAdministrator:
    """Somebody who runs the deployment."""

    name: str
    create_time: dt.datetime


async def list_all(connection: Connection) -> list[PlatformAdministrator]:
    """Return everybody, by name."""
    rows = await connection.fetch(
        "SELECT name, create_time FROM identity.platform_administrators ORDER BY name"
    )
    return [PlatformAdministrator(row["name"], row["create_time"]) for row in rows]


async def find_password_hash(connection: Connection, name: str) -> str | None:
    """Return the password's hash, or None."""
    password_hash: str | None = await connection.fetchval(
        "SELECT password_hash FROM identity.platform_administrators WHERE name = $1", name
    )
    return password_hash


async def find_stand_in_hash(connection: Connection, name: str) -> str | None:
    """Return the hash of the next administrator, which is compared where there is none."""
    stand_in: str | None = await connection.fetchval(
        """
        SELECT password_hash
          FROM identity.platform_administrators
         ORDER BY name < $1, name
         LIMIT 1
        """,
        name,
    )
    return stand_in


async def share_password_hash(connection: Connection, name: str) -> str | None:
    """Return the hash, or None; it stays as it is until the transaction ends."""
    password_hash: str | None = await connection.fetchval(
        "SELECT password_hash FROM identity.platform_administrators WHERE name = $1 FOR SHARE",
        name,
    )
    return password_hash


async def insert(connection: Connection, name: str, password_hash: str) -> bool:
    """Insert the administrator; False where the name is taken, and all stays as it is."""
    inserted = await connection.fetchval(
        """
        INSERT INTO identity.platform_administrators (name, password_hash)
        VALUES ($1, $2)
        ON CONFLICT ON CONSTRAINT platform_administrators_pkey DO NOTHING
        RETURNING true
        """,
        name,
        password_hash,
    )
    return inserted is True


async def update_password(connection: Connection, name: str, password_hash: str) -> bool:
    """Store another hash; False for an unknown name."""
    updated = await connection.fetchval(
        """
        UPDATE identity.platform_administrators
           SET password_hash = $2
         WHERE name = $1
        RETURNING true
        """,
        name,
        password_hash,
    )
    return updated is True


async def lock_all(connection: Connection) -> list[str]:
    """Return everybody's name; nobody is removed by others until the transaction ends."""
    rows = await connection.fetch(
        "SELECT name FROM identity.platform_administrators ORDER BY name FOR UPDATE"
    )
    return [row["name"] for row in rows]


async def delete(connection: Connection, name: str) -> None:
    """Delete the administrator."""
    await connection.execute("DELETE FROM identity.platform_administrators WHERE name = $1", name)
