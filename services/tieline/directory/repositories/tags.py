"""Tags, and what they are on."""

from collections.abc import Collection, Sequence

from tieline.chassis.postgres import Connection
from tieline.directory.repositories.viewers import department_filter, member_filter
from tieline.directory.tags.rules import Tag
from tieline.directory.visibility.decision import Viewer


async def find_tag(connection: Connection, corp_id: str, tag_id: int) -> Tag | None:
    """Return the tag, or None."""
    record = await connection.fetchrow(
        """
        SELECT tag_id, name, app_id, change_number, create_time
          FROM directory.tags
         WHERE corp_id = $1 AND tag_id = $2
        """,
        corp_id,
        tag_id,
    )
    return None if record is None else Tag(*record)


async def find_tags(
    connection: Connection, corp_id: str, tag_ids: Collection[int]
) -> dict[int, Tag]:
    """Return those of the tags that exist, by id."""
    records = await connection.fetch(
        """
        SELECT tag_id, name, app_id, change_number, create_time
          FROM directory.tags
         WHERE corp_id = $1 AND tag_id = ANY($2::bigint[])
        """,
        corp_id,
        list(tag_ids),
    )
    return {record["tag_id"]: Tag(*record) for record in records}


async def find_tag_id_by_name(connection: Connection, corp_id: str, name: str) -> int | None:
    """Return the id of the tag with this name, or None."""
    tag_id: int | None = await connection.fetchval(
        "SELECT tag_id FROM directory.tags WHERE corp_id = $1 AND name = $2", corp_id, name
    )
    return tag_id


async def list_tags(
    connection: Connection, corp_id: str, *, after_tag_id: int, limit: int
) -> list[Tag]:
    """Return tags by id, from behind ``after_tag_id`` on."""
    records = await connection.fetch(
        """
        SELECT tag_id, name, app_id, change_number, create_time
          FROM directory.tags
         WHERE corp_id = $1 AND tag_id > $2
         ORDER BY tag_id
         LIMIT $3
        """,
        corp_id,
        after_tag_id,
        limit,
    )
    return [Tag(*record) for record in records]


async def list_ids_from(connection: Connection, corp_id: str, first_id: int) -> set[int]:
    """Return the ids of tags from this one on."""
    records = await connection.fetch(
        "SELECT tag_id FROM directory.tags WHERE corp_id = $1 AND tag_id >= $2", corp_id, first_id
    )
    return {record["tag_id"] for record in records}


async def count_tags(connection: Connection, corp_id: str) -> int:
    """Return how many tags the corp has."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM directory.tags WHERE corp_id = $1", corp_id
    )
    return count


async def count_nodes(connection: Connection, corp_id: str, tag_id: int) -> int:
    """Return how many members and departments have the tag."""
    count: int = await connection.fetchval(
        """
        SELECT (SELECT count(*)
                  FROM directory.tag_members WHERE corp_id = $1 AND tag_id = $2)
             + (SELECT count(*)
                  FROM directory.tag_departments WHERE corp_id = $1 AND tag_id = $2)
        """,
        corp_id,
        tag_id,
    )
    return count


async def insert_tag(
    connection: Connection,
    corp_id: str,
    tag_id: int,
    *,
    name: str,
    app_id: str,
    change_number: int,
) -> None:
    """Add a tag."""
    await connection.execute(
        """
        INSERT INTO directory.tags (corp_id, tag_id, name, app_id, change_number)
        VALUES ($1, $2, $3, $4, $5)
        """,
        corp_id,
        tag_id,
        name,
        app_id,
        change_number,
    )


async def rename_tag(
    connection: Connection, corp_id: str, tag_id: int, name: str, change_number: int
) -> None:
    """Give the tag another name."""
    await connection.execute(
        """
        UPDATE directory.tags
           SET name = $3, change_number = $4
         WHERE corp_id = $1 AND tag_id = $2
        """,
        corp_id,
        tag_id,
        name,
        change_number,
    )


async def list_tags_of_app(connection: Connection, corp_id: str, app_id: str) -> list[int]:
    """Return the tags that only this app may change, by id."""
    records = await connection.fetch(
        """
        SELECT tag_id
          FROM directory.tags
         WHERE corp_id = $1 AND app_id = $2
         ORDER BY tag_id
        """,
        corp_id,
        app_id,
    )
    return [record["tag_id"] for record in records]


async def release_tags(
    connection: Connection, corp_id: str, tag_ids: Sequence[int], first_change_number: int
) -> None:
    """Have the tags be no app's."""
    await connection.execute(
        """
        UPDATE directory.tags
           SET app_id = '', change_number = $3 + released.row_number - 1
          FROM unnest($2::bigint[]) WITH ORDINALITY AS released (released_id, row_number)
         WHERE corp_id = $1 AND tag_id = released.released_id
        """,
        corp_id,
        list(tag_ids),
        first_change_number,
    )


async def delete_tag(connection: Connection, corp_id: str, tag_id: int) -> None:
    """Delete a tag, whatever it is on."""
    await connection.execute(
        "DELETE FROM directory.tags WHERE corp_id = $1 AND tag_id = $2", corp_id, tag_id
    )


async def find_tagged(
    connection: Connection,
    corp_id: str,
    tag_id: int,
    user_ids: Collection[str],
    department_ids: Collection[int],
) -> tuple[set[str], set[int]]:
    """Return which of the members and departments have the tag."""
    members = await connection.fetch(
        """
        SELECT user_id
          FROM directory.tag_members
         WHERE corp_id = $1 AND tag_id = $2 AND user_id = ANY($3::text[])
        """,
        corp_id,
        tag_id,
        list(user_ids),
    )
    departments = await connection.fetch(
        """
        SELECT department_id
          FROM directory.tag_departments
         WHERE corp_id = $1 AND tag_id = $2 AND department_id = ANY($3::bigint[])
        """,
        corp_id,
        tag_id,
        list(department_ids),
    )
    return (
        {record["user_id"] for record in members},
        {record["department_id"] for record in departments},
    )


async def list_tagged_departments(
    connection: Connection, corp_id: str, tag_id: int, *, viewer: Viewer, after: int, limit: int
) -> list[int]:
    """Return departments shown to the viewer that have the tag by id, from behind ``after`` on."""
    condition, parameters = department_filter(viewer, 5)
    records = await connection.fetch(
        f"""
        SELECT department_id
          FROM directory.tag_departments
         WHERE corp_id = $1 AND tag_id = $2 AND (tag_id, department_id) > ($2, $3) AND {condition}
         ORDER BY tag_id, department_id
         LIMIT $4
        """,  # noqa: S608 -- the condition is the code's
        corp_id,
        tag_id,
        after,
        limit,
        *parameters,
    )
    return [record["department_id"] for record in records]


async def list_tagged_members(
    connection: Connection, corp_id: str, tag_id: int, *, viewer: Viewer, after: str, limit: int
) -> list[str]:
    """Return members seen by the viewer who have the tag by user id, from behind ``after`` on."""
    condition, parameters = member_filter(viewer, 5, "tagged")
    records = await connection.fetch(
        f"""
        SELECT user_id
          FROM directory.tag_members AS tagged
         -- As a pair: nothing but the primary key finds its place by it.
         WHERE corp_id = $1 AND tag_id = $2 AND (tag_id, user_id) > ($2, $3) AND {condition}
         ORDER BY tag_id, user_id
         LIMIT $4
        """,  # noqa: S608 -- the condition is the code's
        corp_id,
        tag_id,
        after,
        limit,
        *parameters,
    )
    return [record["user_id"] for record in records]


async def tag_members(
    connection: Connection,
    corp_id: str,
    tag_id: int,
    user_ids: Sequence[str],
    first_change_number: int,
) -> None:
    """Tag members who do not have the tag yet."""
    await connection.execute(
        """
        INSERT INTO directory.tag_members (corp_id, tag_id, user_id, change_number)
        SELECT $1, $2, user_id, $4 + row_number - 1
          FROM unnest($3::text[]) WITH ORDINALITY AS tagged (user_id, row_number)
        """,
        corp_id,
        tag_id,
        list(user_ids),
        first_change_number,
    )


async def tag_departments(
    connection: Connection,
    corp_id: str,
    tag_id: int,
    department_ids: Sequence[int],
    first_change_number: int,
) -> None:
    """Tag departments that do not have the tag yet."""
    await connection.execute(
        """
        INSERT INTO directory.tag_departments (corp_id, tag_id, department_id, change_number)
        SELECT $1, $2, department_id, $4 + row_number - 1
          FROM unnest($3::bigint[]) WITH ORDINALITY AS tagged (department_id, row_number)
        """,
        corp_id,
        tag_id,
        list(department_ids),
        first_change_number,
    )


async def untag_members(
    connection: Connection, corp_id: str, user_ids: Sequence[str], tag_id: int | None = None
) -> list[tuple[int, str]]:
    """Take the tag, or every tag, off the members; return each tag id with its member."""
    records = await connection.fetch(
        """
        DELETE FROM directory.tag_members
         WHERE corp_id = $1 AND user_id = ANY($2::text[])
           AND ($3::bigint IS NULL OR tag_id = $3)
        RETURNING tag_id, user_id
        """,
        corp_id,
        list(user_ids),
        tag_id,
    )
    return sorted((record["tag_id"], record["user_id"]) for record in records)


async def untag_departments(
    connection: Connection,
    corp_id: str,
    department_ids: Sequence[int],
    tag_id: int | None = None,
) -> list[tuple[int, int]]:
    """Take the tag, or every tag, off the departments; return each tag id with its department."""
    records = await connection.fetch(
        """
        DELETE FROM directory.tag_departments
         WHERE corp_id = $1 AND department_id = ANY($2::bigint[])
           AND ($3::bigint IS NULL OR tag_id = $3)
        RETURNING tag_id, department_id
        """,
        corp_id,
        list(department_ids),
        tag_id,
    )
    return sorted((record["tag_id"], record["department_id"]) for record in records)
