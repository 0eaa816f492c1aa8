"""Channels that vouch for customers. Deleted ones are not there for anybody."""

from collections.abc import Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.identity.sign_in.channels import Channel

_COLUMNS = """
    channel_id, display_name, public_key, create_time, previous_public_key,
    previous_key_expire_time, is_disabled, session_floor_time, change_number
"""


async def insert_channel(
    connection: Connection, channel_id: str, display_name: str, public_key: bytes
) -> Channel:
    """Insert the channel."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO identity.channels (channel_id, display_name, public_key)
        VALUES ($1, $2, $3)
        RETURNING {_COLUMNS}
        """,  # noqa: S608 -- constants
        channel_id,
        display_name,
        public_key,
    )
    assert row is not None, "INSERT … RETURNING gives the row"
    return _to_channel(row)


async def find_channel(connection: Connection, channel_id: str) -> Channel | None:
    """Return the channel, or None."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM identity.channels"  # noqa: S608 -- constants
        " WHERE channel_id = $1 AND delete_time IS NULL",
        channel_id,
    )
    return None if row is None else _to_channel(row)


async def share_channel(connection: Connection, channel_id: str) -> Channel | None:
    """Return the channel, or None; it stays as it is until the transaction ends.

    For whoever lets its people in: disabling it waits for them, and ends what they opened.
    """
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM identity.channels"  # noqa: S608 -- constants
        " WHERE channel_id = $1 AND delete_time IS NULL FOR SHARE",
        channel_id,
    )
    return None if row is None else _to_channel(row)


async def lock_channel(connection: Connection, channel_id: str) -> Channel | None:
    """Lock the channel until the transaction ends; return it, or None.

    NO KEY: customers that refer to it can still be written.
    """
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM identity.channels"  # noqa: S608 -- constants
        " WHERE channel_id = $1 AND delete_time IS NULL FOR NO KEY UPDATE",
        channel_id,
    )
    return None if row is None else _to_channel(row)


async def list_channels(connection: Connection, after: str, limit: int) -> list[Channel]:
    """Return channels in the order in which they were made, from after this one on."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM identity.channels
         WHERE channel_id > $1 AND delete_time IS NULL
         ORDER BY channel_id
         LIMIT $2
        """,  # noqa: S608 -- constants
        after,
        limit,
    )
    return [_to_channel(row) for row in rows]


async def update_channel(connection: Connection, channel: Channel) -> Channel:
    """Write the locked channel as it is to be; return it with its new etag."""
    row = await connection.fetchrow(
        f"""
        UPDATE identity.channels
           SET display_name = $2, public_key = $3, previous_public_key = $4,
               previous_key_expire_time = $5, is_disabled = $6, session_floor_time = $7,
               change_number = change_number + 1
         WHERE channel_id = $1
        RETURNING {_COLUMNS}
        """,  # noqa: S608 -- constants
        channel.channel_id,
        channel.display_name,
        channel.public_key,
        channel.previous_public_key,
        channel.previous_key_expire_time,
        channel.is_disabled,
        channel.session_floor_time,
    )
    assert row is not None, "the locked channel is there"
    return _to_channel(row)


async def delete_channel(connection: Connection, channel_id: str) -> None:
    """Delete the locked channel; the row stays for its customers, who are what they were."""
    await connection.execute(
        """
        UPDATE identity.channels
           SET delete_time = now(), session_floor_time = now(), previous_public_key = NULL
         WHERE channel_id = $1
        """,
        channel_id,
    )


async def list_signed_in(connection: Connection, channel_id: str, limit: int) -> Sequence[str]:
    """Return customers of the channel who may have a good access token, in no order."""
    rows = await connection.fetch(
        """
        SELECT customer_id
          FROM identity.customers
         WHERE channel_id = $1
           AND EXISTS (
               SELECT
                 FROM identity.sessions
                WHERE corp_id = '' AND principal_kind = 'customer'
                  AND principal_id = customer_id
                  AND end_time IS NULL AND refresh_time > now() - interval '2 hours')
         LIMIT $2
        """,
        channel_id,
        limit,
    )
    return [row["customer_id"] for row in rows]


def _to_channel(row: Record) -> Channel:
    return Channel(**row)
