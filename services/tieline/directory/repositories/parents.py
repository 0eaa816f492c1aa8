"""The parents of students."""

from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.schools.students import Child, Parent


async def find_parents(
    connection: Connection, corp_id: str, parent_ids: Collection[str]
) -> dict[str, Parent]:
    """Return those of the parents that exist, by id, each with all children."""
    records = await connection.fetch(
        """
        SELECT parent_id, mobile, customer_id, revision
          FROM directory.parents
         WHERE corp_id = $1 AND parent_id = ANY($2::text[])
         ORDER BY parent_id
        """,
        corp_id,
        list(parent_ids),
    )
    children = await _list_children(connection, corp_id, parent_ids)
    return {
        parent_id: Parent(
            parent_id, mobile, tuple(children.get(parent_id, ())), customer_id, str(revision)
        )
        for parent_id, mobile, customer_id, revision in records
    }


async def _list_children(
    connection: Connection, corp_id: str, parent_ids: Collection[str]
) -> dict[str, list[Child]]:
    records = await connection.fetch(
        """
        SELECT parent_id, student_id, relation
          FROM directory.parent_children
         WHERE corp_id = $1 AND parent_id = ANY($2::text[])
         ORDER BY student_id
        """,
        corp_id,
        list(parent_ids),
    )
    children: dict[str, list[Child]] = {}
    for parent_id, student_id, relation in records:
        children.setdefault(parent_id, []).append(Child(student_id, relation))
    return children


async def count_parents(connection: Connection, corp_id: str) -> int:
    """Return how many parents the corp has."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM directory.parents WHERE corp_id = $1", corp_id
    )
    return count


async def find_mobile_owners(
    connection: Connection, corp_id: str, mobiles: Collection[str]
) -> dict[str, str]:
    """Return the parents who have the numbers, by number."""
    records = await connection.fetch(
        """
        SELECT mobile, parent_id
          FROM directory.parents
         WHERE corp_id = $1 AND mobile = ANY($2::text[])
        """,
        corp_id,
        list(mobiles),
    )
    return {record["mobile"]: record["parent_id"] for record in records}


async def find_customer_owners(
    connection: Connection, corp_id: str, customer_ids: Collection[str]
) -> dict[str, str]:
    """Return the parents who are linked to the customers, by customer."""
    records = await connection.fetch(
        """
        SELECT customer_id, parent_id
          FROM directory.parents
         WHERE corp_id = $1 AND customer_id <> '' AND customer_id = ANY($2::text[])
        """,
        corp_id,
        list(customer_ids),
    )
    return {record["customer_id"]: record["parent_id"] for record in records}


async def list_parent_ids_of_student(
    connection: Connection, corp_id: str, student_id: str
) -> list[str]:
    """Return the parents of a student."""
    records = await connection.fetch(
        "SELECT parent_id FROM directory.parent_children WHERE corp_id = $1 AND student_id = $2",
        corp_id,
        student_id,
    )
    return [record["parent_id"] for record in records]


async def list_parent_ids_of_class(
    connection: Connection, corp_id: str, class_id: int, *, after: str, limit: int
) -> list[str]:
    """Return the parents of a class's students by id, from behind ``after`` on."""
    records = await connection.fetch(
        """
        SELECT DISTINCT parent_id
          FROM directory.student_classes
          JOIN directory.parent_children USING (corp_id, student_id)
         WHERE corp_id = $1 AND class_id = $2 AND parent_id > $3
         ORDER BY parent_id
         LIMIT $4
        """,
        corp_id,
        class_id,
        after,
        limit,
    )
    return [record["parent_id"] for record in records]


async def upsert_parents(connection: Connection, corp_id: str, parents: Sequence[Parent]) -> None:
    """Add or change parents with their children, in this order. The caller holds the lock.

    The order matters: a number that one gives up is free for a later one.
    """
    await connection.execute(
        """
        INSERT INTO directory.parents (corp_id, parent_id, mobile, customer_id)
        SELECT $1, parent_id, mobile, customer_id
          FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY
               AS parent (parent_id, mobile, customer_id, position)
         ORDER BY position
        ON CONFLICT ON CONSTRAINT parents_pkey
        DO UPDATE SET mobile = excluded.mobile, customer_id = excluded.customer_id,
                      revision = parents.revision + 1
        """,
        corp_id,
        [parent.parent_id for parent in parents],
        [parent.mobile for parent in parents],
        [parent.customer_id for parent in parents],
    )
    await connection.execute(
        "DELETE FROM directory.parent_children WHERE corp_id = $1 AND parent_id = ANY($2::text[])",
        corp_id,
        [parent.parent_id for parent in parents],
    )
    rows = [(parent.parent_id, *child) for parent in parents for child in parent.children]
    await connection.execute(
        """
        INSERT INTO directory.parent_children (corp_id, parent_id, student_id, relation)
        SELECT $1, parent_id, student_id, relation
          FROM unnest($2::text[], $3::text[], $4::text[])
               AS child (parent_id, student_id, relation)
        """,
        corp_id,
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
    )


async def delete_parents(connection: Connection, corp_id: str, parent_ids: Collection[str]) -> None:
    """Delete parents; their children stay."""
    await connection.execute(
        "DELETE FROM directory.parents WHERE corp_id = $1 AND parent_id = ANY($2::text[])",
        corp_id,
        list(parent_ids),
    )
