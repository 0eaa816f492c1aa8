"""The condition in SQL that a viewer sees somebody decides as the function does."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import Database
from fakes.visibility_oracle import World
from fakes.visibility_worlds import USERS, rules, scopes, viewer_of, worlds
from tieline.chassis.postgres import Connection
from tieline.directory.repositories.viewers import parameters_of, visible
from tieline.directory.visibility.decision import Rule, Scope


@pytest.fixture(scope="module")
async def connection(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        yield connection
    finally:
        await connection.close()


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(world=worlds(), rules_=st.lists(rules(), max_size=4), full=scopes(everybody=False))
async def test_sql_and_the_function_see_the_same(
    connection: Connection, world: World, rules_: list[Rule], full: Scope
) -> None:
    people = {user_id: sorted(place) for user_id, place in world.departments.items()}
    people["left"] = []
    condition = visible(3, user_id="user_id", department_ids="department_ids")
    statement = f"""
        SELECT user_id
          FROM (SELECT user_id, department_ids::bigint[] AS department_ids
                  FROM unnest($1::text[], $2::text[]) AS row (user_id, department_ids)) AS person
         WHERE {condition}
    """

    for viewer_id in USERS[:3]:
        viewer = viewer_of(world, rules_, viewer_id, full)
        if viewer.is_unlimited:
            continue
        places = ["{" + ",".join(map(str, place)) + "}" for place in people.values()]
        rows = await connection.fetch(statement, list(people), places, *parameters_of(viewer))
        seen = {user_id for user_id, place in people.items() if viewer.can_see(user_id, place)}

        assert {row["user_id"] for row in rows} == seen
