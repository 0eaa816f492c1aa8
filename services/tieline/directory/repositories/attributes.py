"""A corp's attributes, and their values at its members."""

from tieline.chassis.postgres import Connection
from tieline.directory.attributes.rules import Attribute


async def list_attributes(connection: Connection, corp_id: str) -> list[Attribute]:
    """Return the corp's attributes, the largest order first; there are few."""
    records = await connection.fetch(
        """
        SELECT name, kind, attribute_order, is_external
          FROM directory.attributes
         WHERE corp_id = $1
         ORDER BY attribute_order DESC, name COLLATE "C"
        """,
        corp_id,
    )
    return [Attribute(*record) for record in records]


async def find_attribute(connection: Connection, corp_id: str, name: str) -> Attribute | None:
    """Return the attribute, or None."""
    record = await connection.fetchrow(
        """
        SELECT name, kind, attribute_order, is_external
          FROM directory.attributes
         WHERE corp_id = $1 AND name = $2
        """,
        corp_id,
        name,
    )
    return None if record is None else Attribute(*record)


async def upsert_attribute(connection: Connection, corp_id: str, attribute: Attribute) -> None:
    """Add the attribute, or change its order and who sees it."""
    await connection.execute(
        """
        INSERT INTO directory.attributes (corp_id, name, kind, attribute_order, is_external)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT ON CONSTRAINT attributes_pkey
        DO UPDATE SET attribute_order = excluded.attribute_order,
                      is_external = excluded.is_external
        """,
        corp_id,
        attribute.name,
        attribute.kind,
        attribute.order,
        attribute.is_external,
    )


async def delete_attribute(connection: Connection, corp_id: str, name: str) -> None:
    """Delete an attribute that no member has a value of any more."""
    await connection.execute(
        "DELETE FROM directory.attributes WHERE corp_id = $1 AND name = $2", corp_id, name
    )


async def list_holders(connection: Connection, corp_id: str, name: str, limit: int) -> list[str]:
    """Return members who have a value of the attribute."""
    records = await connection.fetch(
        """
        SELECT user_id
          FROM directory.members
         WHERE corp_id = $1 AND extended_attributes <> '{}' AND extended_attributes ? $2
         ORDER BY user_id
         LIMIT $3
        """,
        corp_id,
        name,
        limit,
    )
    return [record["user_id"] for record in records]


async def clear_values(
    connection: Connection, corp_id: str, name: str, user_ids: list[str]
) -> None:
    """Take the attribute's value from these members."""
    await connection.execute(
        """
        UPDATE directory.members
           SET extended_attributes = extended_attributes - $2
         WHERE corp_id = $1 AND user_id = ANY($3::text[])
        """,
        corp_id,
        name,
        user_ids,
    )
