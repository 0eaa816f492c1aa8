"""Apps that may change a directory change what lies in their visible range, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from fakes.app_ranges import FakeAppRanges
from fakes.directory_corps import Corp, table
from fakes.directory_writers import Writer, update_department_request, update_member_request
from tieline.api.directory.v1 import (
    attribute_pb2,
    attribute_service_pb2,
    department_service_pb2,
    directory_pb2,
    directory_service_pb2,
    import_options_pb2,
    member_service_pb2,
)
from tieline.api.identity.v1 import app_pb2
from tieline.client.errors import TielineError

EAST, SOUTH, BELOW_EAST = 2, 3, 4
RIGHTS = ("read_directory", "manage_directory")
RANGES = {
    1000002: app_pb2.AppRange(department_ids=[EAST]),
    1000003: app_pb2.AppRange(user_ids=["Sun"]),
    1000004: app_pb2.AppRange(tag_ids=[7]),
    1000005: app_pb2.AppRange(),
    1000006: app_pb2.AppRange(department_ids=[1]),
}

App = Callable[[int], Writer]


@pytest.fixture
async def app(owner: Writer, corp: Corp, app_ranges: FakeAppRanges) -> App:
    """East with li and those below, South with sun and tan; a tag on South's tan."""
    for name, parent in (("East", 1), ("South", 1), ("Below", EAST)):
        await owner.create_department(name, parent)
    for user_id, department_id in (
        ("li", EAST),
        ("low", BELOW_EAST),
        ("sun", SOUTH),
        ("tan", SOUTH),
    ):
        await owner.create_member(user_id, department_id)
    await owner.create_tag("tagged", 7)
    await owner.add_to_tag(7, ["tan"])
    for agent_id, visible in RANGES.items():
        app_ranges.ranges[corp.corp_id, agent_id] = visible

    def sign_in(agent_id: int) -> Writer:
        return owner.signed_in_as(corp.tokens.app(corp.corp_id, str(agent_id), rights=RIGHTS))

    return sign_in


def rename(user_id: str) -> Any:
    return update_member_request(user_id, name="Renamed")


def move(user_id: str, department_id: int) -> Any:
    return update_member_request(
        user_id, departments=[directory_pb2.MemberDepartment(department_id=department_id)]
    )


def create(user_id: str, *department_ids: int) -> Any:
    member = directory_pb2.Member(user_id=user_id, name="New")
    for department_id in department_ids:
        member.departments.add(department_id=department_id)
    return member_service_pb2.CreateMemberRequest(member=member)


def create_department(parent_id: int) -> Any:
    return department_service_pb2.CreateDepartmentRequest(
        department=directory_pb2.Department(name="New", parent_department_id=parent_id)
    )


@dataclass(frozen=True)
class Case:
    agent_id: int
    request: Any
    refused: str | None = None
    """Whom the app does not see is not there for it."""


CASES = {
    "member of the range": Case(1000002, rename("li")),
    "member below it": Case(1000002, rename("low")),
    "member beside it": Case(1000002, rename("sun"), "USER_NOT_FOUND"),
    "into the range": Case(1000002, create("new", EAST)),
    "beside it, too": Case(1000002, create("new", EAST, SOUTH), "DEPARTMENT_NOT_FOUND"),
    "into the root": Case(1000002, create("new"), "OUT_OF_RANGE"),
    "out of the range": Case(1000002, move("li", SOUTH), "DEPARTMENT_NOT_FOUND"),
    "out of the corp": Case(1000002, member_service_pb2.DeleteMemberRequest(user_id="li")),
    "others out of the corp": Case(
        1000002,
        member_service_pb2.BatchDeleteMembersRequest(user_ids=["li", "sun"]),
        "USER_NOT_FOUND",
    ),
    "disabling": Case(1000002, member_service_pb2.DisableMemberRequest(user_id="low")),
    "disabling another": Case(
        1000002, member_service_pb2.DisableMemberRequest(user_id="tan"), "USER_NOT_FOUND"
    ),
    "department below": Case(1000002, create_department(BELOW_EAST)),
    "department beside": Case(1000002, create_department(1), "OUT_OF_RANGE"),
    "renaming a department": Case(1000002, update_department_request(EAST, name="E")),
    "renaming another": Case(
        1000002, update_department_request(SOUTH, name="S"), "DEPARTMENT_NOT_FOUND"
    ),
    "attributes": Case(
        1000002,
        attribute_service_pb2.CreateAttributeRequest(
            attribute=attribute_pb2.Attribute(name="shoe", kind=attribute_pb2.ATTRIBUTE_KIND_TEXT)
        ),
        "OUT_OF_RANGE",
    ),
    "deleting an attribute": Case(
        1000002, attribute_service_pb2.DeleteAttributeRequest(name="shoe"), "OUT_OF_RANGE"
    ),
    "member by name": Case(1000003, rename("sun")),
    "another of the department": Case(1000003, rename("tan"), "USER_NOT_FOUND"),
    "moving the named": Case(1000003, move("sun", EAST), "DEPARTMENT_NOT_FOUND"),
    "member by tag": Case(1000004, rename("tan")),
    "without the tag": Case(1000004, rename("sun"), "USER_NOT_FOUND"),
    "sees nobody": Case(1000005, rename("li"), "USER_NOT_FOUND"),
    "nobody, and no department": Case(1000005, create_department(1), "DEPARTMENT_NOT_FOUND"),
    "whole corp": Case(1000006, move("li", SOUTH)),
    "whole corp's root": Case(1000006, create_department(1)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_app_changes_what_lies_in_its_range(app: App, owner: Writer, case: Case) -> None:
    before = await snapshot(owner)

    refused = await find_refusal(app(case.agent_id), case.request)

    assert refused == case.refused
    assert (await snapshot(owner) != before) is (case.refused is None)


async def find_refusal(writer: Writer, request: Any) -> str | None:
    try:
        await writer.send(request)
    except TielineError as error:
        return error.reason
    return None


async def snapshot(owner: Writer) -> list[bytes]:
    members = await owner.send(directory_service_pb2.ListMembersRequest(page_size=1000))
    departments = await owner.send(directory_service_pb2.ListDepartmentsRequest(page_size=1000))
    return [each.SerializeToString() for each in (*members.members, *departments.departments)]


async def test_app_tags_those_of_its_range_with_its_own_tags(app: App, owner: Writer) -> None:
    tag = await app(1000002).create_tag("own")

    added = await app(1000002).add_to_tag(tag.tag_id, ["li", "sun"], [BELOW_EAST, SOUTH])

    assert (list(added.invalid_user_ids), list(added.invalid_department_ids)) == (["sun"], [SOUTH])
    assert await owner.list_tagged(tag.tag_id) == ([BELOW_EAST], ["li"])


async def test_rows_of_an_apps_file_are_held_to_its_range(app: App, corp: Corp) -> None:
    token = app(1000002).token
    file = table(("li", "Li Na", "East"), ("sun", "Sun", "South"), ("new", "New", "South"))

    outcome = [each async for each in import_as(corp, token, file)]

    assert [error.line for each in outcome for error in each.errors] == [3, 4]
    summary = outcome[-1].summary
    assert (summary.added, summary.updated, summary.refused) == (0, 1, 2)


async def test_file_that_replaces_is_refused(app: App, corp: Corp) -> None:
    token = app(1000002).token
    options = import_options_pb2.ImportOptions(mode=import_options_pb2.IMPORT_MODE_REPLACE_MEMBERS)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        [_ async for _ in import_as(corp, token, table(("li", "Li", "East")), options)]

    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


def import_as(
    corp: Corp, token: str, file: bytes, options: import_options_pb2.ImportOptions | None = None
) -> Any:
    config = directory_service_pb2.ImportMembersConfig(options=options)
    requests = [
        directory_service_pb2.ImportMembersRequest(config=config),
        directory_service_pb2.ImportMembersRequest(chunk=file),
    ]
    return corp.stub.ImportMembers(iter(requests), metadata=corp.signed(token), timeout=20)
