"""A page of the feed costs the same wherever it begins, also before the tables are analyzed."""

from plans import explain, new_database
from tieline.directory.changes.rules import Cursor
from tieline.directory.repositories import changes

INDEXES = (
    "departments_by_change",
    "members_by_change",
    "tags_by_change",
    "tag_members_by_change",
    "tag_departments_by_change",
    "removals_pkey",
)


async def test_feed_reads_each_table_by_the_numbers_of_its_changes(
    postgres_admin_dsn: str, worker_id: str
) -> None:
    async with new_database(
        postgres_admin_dsn, f"changes_plans_{worker_id}", "directory"
    ) as connection:
        plan = await explain(
            connection,
            lambda asked: changes.list_changed_rows(asked, "ww1", Cursor("", 5, 5), limit=101),
        )

    assert [index for index in INDEXES if f"using {index}" not in plan] == []
    assert "Seq Scan" not in plan
    assert "Bitmap" not in plan
