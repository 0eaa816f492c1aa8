"""Deletes what the directory keeps of corps that are gone."""

from tieline.chassis import corps_purge
from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection
from tieline.directory.repositories import SCHEMA

# Every table with a corp's rows, children before parents. What is left out, and why: `corps` keeps
# the id; events and dead letters are on their way to others. A test compares it with the catalog.
PURGED_TABLES = (
    "parent_children",
    "parents",
    "student_classes",
    "students",
    "school_administrators",
    "school_departments",
    "schools",
    "linked_corps",
    "tag_members",
    "tag_departments",
    "tags",
    "department_leaders",
    "member_departments",
    "members",
    "departments",
    "attributes",
    "removals",
    "lookup_failures",
    "first_answers",
    "import_errors",
    "import_chunks",
    "import_jobs",
    "visibility_rules",
    "app_ranges",
    # After the members, from whom they are made.
    "search_entries",
    "search_terms",
    "search_progress",
    "search_waiting",
)

# Across batches a department must outlive those below it.
_DEEPEST_FIRST = {"departments": "ORDER BY cardinality(ancestor_ids) DESC"}


async def lock_deleted_corp(connection: Connection) -> str | None:
    """Lock a corp that is gone and has rows left; None if there is none."""
    return await corps_purge.lock_deleted_corp(connection, SCHEMA, "corps")


async def delete_rows(connection: Connection, corp_id: str, *, maximum_rows: int) -> int:
    """Delete at most so many rows of the locked corp; return how many."""
    deleted = 0
    for table in PURGED_TABLES:
        if deleted < maximum_rows:
            # Tables and orders are named by this module. Rows are found by their place, whatever
            # their keys: nobody else writes a corp that is gone.
            statement = f"""
                DELETE FROM directory.{table}
                 WHERE corp_id = $1
                   AND ctid = ANY (ARRAY(
                       SELECT ctid FROM directory.{table} WHERE corp_id = $1
                       {_DEEPEST_FIRST.get(table, "")} LIMIT $2))
            """  # noqa: S608 -- see above
            status = await connection.execute(statement, corp_id, maximum_rows - deleted)
            deleted += count_rows(status)
    return deleted


async def mark_purged(connection: Connection, corp_id: str) -> None:
    """Note that nothing is left of the corp."""
    await connection.execute(
        "UPDATE directory.corps SET purge_time = now() WHERE corp_id = $1", corp_id
    )
