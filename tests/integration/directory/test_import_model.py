"""Random files, in random modes, against a model that is as simple as what imports promise."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.directory_corps import Corp, table
from fakes.directory_files import REPLACE_MEMBERS, UPSERT, Files, Options
from tieline.client.errors import TielineError

OWNER = "boss"
PATHS = ("", "East", "East/Shop", "West")

ROWS = st.lists(
    st.tuples(
        st.sampled_from("aAbcdef!"),
        st.sampled_from(["Wang", "Li", ""]),
        st.sampled_from([*PATHS, "East;West", "a:b"]),
        st.sampled_from(["", "11111", "22222", "33333"]),
    ),
    max_size=8,
)
FILES = st.lists(
    st.tuples(ROWS, st.sampled_from([UPSERT, REPLACE_MEMBERS]), st.booleans()), max_size=4
)

Row = tuple[str, str, str, str]
People = dict[str, tuple[str, tuple[str, ...], str]]
"""User id -> name, departments' paths, mobile."""


def apply(people: People, rows: list[Row]) -> tuple[People, set[str], int]:
    """Return the people after an upsert, whom the file names, and how many rows are refused."""
    after, written, named, refused = dict(people), set[str](), set[str](), 0
    for given_id, name, departments, mobile in rows:
        user_id = given_id.lower()
        if user_id == "!":
            refused += 1
            continue
        named.add(user_id)
        taken = any(mobile and mobile == other[2] for id_, other in after.items() if id_ != user_id)
        if not name or departments == "a:b" or user_id in written or taken:
            refused += 1
            continue
        written.add(user_id)
        after[user_id] = (name, tuple(departments.split(";")), mobile)
    return after, named, refused


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=FILES)
async def test_imports_do_what_the_model_does(
    make_corp: Callable[[], Awaitable[Corp]],
    channel: grpc.aio.Channel,
    sent: list[tuple[list[Row], int, bool]],
) -> None:
    corp = await make_corp()
    files = Files(corp, channel)
    people: People = {OWNER: ("Zhao Min", ("",), "")}
    for rows, mode, is_dry in sent:
        file = table(*rows, header="user_id,name,department,mobile")
        after, named, refused = apply(people, rows)
        if mode == REPLACE_MEMBERS:
            after = {each: facts for each, facts in after.items() if each in {*named, OWNER}}
        removed = len(people.keys() - after.keys())
        options = Options(mode=mode, dry_run=is_dry, confirmed_removals=removed)  # type: ignore[arg-type]

        try:
            outcome = await files.import_file(file, options)
        except TielineError as error:
            raise AssertionError(error) from error

        summary = outcome.responses[-1].summary
        assert (summary.refused, summary.removed) == (refused, removed)
        assert summary.added == len(after.keys() - people.keys())
        if not is_dry:
            people = after
        assert await read_people(corp) == people


async def read_people(corp: Corp) -> People:
    members, departments = await asyncio.gather(corp.list_members(), corp.list_departments())
    paths = {each.department_id: each.path for each in departments}
    return {
        user_id: (
            member.name,
            tuple(paths[at.department_id] for at in member.departments),
            member.mobile,
        )
        for user_id, member in members.items()
    }
