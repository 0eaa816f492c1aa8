"""Customers, and the assertions that vouched for them."""

import datetime as dt

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection


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


async def find_customer(connection: Connection, customer_id: str) -> tuple[str, str | None] | None:
    """Return the customer's display name and channel, which is None for who has none; or None."""
    row = await connection.fetchrow(
        "SELECT display_name, channel_id FROM identity.customers WHERE customer_id = $1",
        customer_id,
    )
    return None if row is None else (row["display_name"], row["channel_id"])


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
