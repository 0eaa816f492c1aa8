"""Statements that are asked often look rows up, however large the tables become."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from plans import explain, new_database, reads_by_index_alone
from tieline.chassis.postgres import Connection
from tieline.directory.repositories import (
    departments,
    departures,
    import_departments,
    lookups,
    members,
    tags,
)
from tieline.directory.visibility.decision import Viewer

EVERYTHING = Viewer("ww", is_unlimited=True)


@pytest.fixture(scope="module")
async def connection(postgres_admin_dsn: str, worker_id: str) -> AsyncIterator[Connection]:
    name = f"directory_read_plans_{worker_id}"
    async with new_database(postgres_admin_dsn, name, "directory") as within:
        yield within


ASKED: dict[str, Callable[[Any], Awaitable[object]]] = {
    "members": lambda c: members.find_members(c, "ww", ["li"]),
    "how full departments are": lambda c: import_departments.count_nodes(c, "ww", [1, 2]),
    "a page of ids": lambda c: members.list_member_ids(
        c, "ww", viewer=EVERYTHING, after=("", 0), limit=9
    ),
    "who is in a department": lambda c: members.find_in_department(c, "ww", 1, ["li"]),
    "who has a number": lambda c: lookups.find_by_mobile(c, "ww", "138"),
    "who has an address": lambda c: lookups.find_by_email(c, "ww", "li@example.com"),
    "who reports to whom": lambda c: departures.find_reports(c, "ww", ["li"]),
    "a department's children": lambda c: departments.has_children(c, "ww", 1),
    "a department's members": lambda c: departments.has_members(c, "ww", 1),
    "a path": lambda c: departments.find_sibling_by_name(c, "ww", "East"),
    "a page of tags": lambda c: tags.list_tags(c, "ww", after_tag_id=0, limit=9),
    "a tag's departments": lambda c: tags.list_tagged_departments(
        c, "ww", 1, viewer=EVERYTHING, after=0, limit=9
    ),
    "a tag's members": lambda c: tags.list_tagged_members(
        c, "ww", 1, viewer=EVERYTHING, after="", limit=9
    ),
}


@pytest.mark.parametrize("asked", ASKED)
async def test_rows_are_looked_up(connection: Connection, asked: str) -> None:
    plan = await explain(connection, ASKED[asked])

    assert reads_by_index_alone(plan), plan


async def test_who_changed_is_read_from_the_last_known_change_on(connection: Connection) -> None:
    plan = await explain(connection, lambda c: members.find_corp_state(c, "ww", 5))

    assert "Seq Scan" not in plan, plan
    assert "members_by_change" in plan, plan
    assert "change_number > $2" in plan, plan


async def test_members_of_many_departments_are_counted_in_one_pass(connection: Connection) -> None:
    plan = await explain(
        connection,
        lambda c: departments.list_departments(
            c, "ww", viewer=EVERYTHING, after_department_id=0, limit=9
        ),
    )

    # Only what reads its leaders runs once for each department.
    assert plan.count("SubPlan") == 1, plan
    assert plan.count("on members") == 1, plan
