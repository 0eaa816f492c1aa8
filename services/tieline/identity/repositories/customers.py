"""Customers, and the channels and assertions that vouch for them."""

import datetime as dt

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection


async def insert_channel(
    connection: Connection, channel_id: str, display_name: str, public_key: bytes
) -> dt.datetime:
    """Insert the channel; return when it was created."""
    create_time = await connection.fetchval(
        """
        INSERT INTO identity.channels (channel_id, display_name, public_key)
        VALUES ($1, $2, $3)
        RETURNING create_time
        """,
        channel_id,
        display_name,
        public_key,
    )
    assert isinstance(create_time, dt.datetime), "INSERT … RETURNING gives the row"
    return create_time


async def find_channel_key(connection: Connection, channel_id: str) -> bytes | None:
    """Return the channel's public key, or None."""
    public_key: bytes | None = await connection.fetchval(
        "SELECT public_key FROM identity.channels WHERE channel_id = $1", channel_id
    )
    return public_key


async def claim_assertion(
    connection: Connection, channel_id: str, jti: str, expire_time: dt.datetime
) -> bool:
    """Use the assertion up; False if it was used before."""
    claimed = await connection.fetchval(
        """
        INSERT INTO identity.used_assertions (channel_id, jti, expire_time)
        VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT used_assertions_pkey DO NOTHING
        RETURNING true
        """,
        channel_id,
        jti,
        expire_time,
    )
    return claimed is True


async def upsert_customer(
    connection: Connection, new_customer_id: str, channel_id: str, subject: str, display_name: str
) -> str:
    """Return the id of the channel's customer; the first time it is ``new_customer_id``.

    An existing customer gets the name that the channel says now.
    """
    customer_id = await connection.fetchval(
        """
        INSERT INTO identity.customers (customer_id, channel_id, subject, display_name)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT ON CONSTRAINT customers_channel_subject
        DO UPDATE SET display_name = excluded.display_name
        RETURNING customer_id
        """,
        new_customer_id,
        channel_id,
        subject,
        display_name,
    )
    assert isinstance(customer_id, str), "an upsert gives the row"
    return customer_id


async def upsert_contact_customer(
    connection: Connection, new_customer_id: str, contact: str, display_name: str, first_name: str
) -> tuple[str, str]:
    """Return id and name of the customer with this number or address, made the first time.

    An empty ``display_name`` keeps the name; a new customer is then called ``first_name``.
    """
    row = await connection.fetchrow(
        """
        INSERT INTO identity.customers (customer_id, subject, display_name)
        VALUES ($1, $2, coalesce(nullif($3, ''), $4))
        ON CONFLICT (subject) WHERE channel_id IS NULL
        DO UPDATE SET display_name = coalesce(nullif($3, ''), customers.display_name)
        RETURNING customer_id, display_name
        """,
        new_customer_id,
        contact,
        display_name,
        first_name,
    )
    assert row is not None, "an upsert gives the row"
    return row["customer_id"], row["display_name"]


async def find_customer_name(connection: Connection, customer_id: str) -> str | None:
    """Return the customer's display name, or None."""
    display_name: str | None = await connection.fetchval(
        "SELECT display_name FROM identity.customers WHERE customer_id = $1", customer_id
    )
    return display_name


async def delete_expired_assertions(connection: Connection, *, maximum_rows: int) -> int:
    """Delete used assertions that are long expired; return how many rows.

    They are kept for ten minutes more than they live: clocks differ. Rows that another replica is
    deleting are left to it.
    """
    status = await connection.execute(
        """
        DELETE FROM identity.used_assertions
         WHERE (channel_id, jti) IN (
               SELECT channel_id, jti
                 FROM identity.used_assertions
                WHERE expire_time < now() - interval '10 minutes'
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
    )
    return count_rows(status)
