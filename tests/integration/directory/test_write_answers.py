"""Whoever changes somebody is told no more of them than a read tells."""

from collections.abc import Callable
from typing import Any

import pytest

from fakes.directory_corps import Corp, config_message, table
from fakes.directory_writers import (
    Writer,
    member_update,
    update_department_request,
    update_member_request,
)
from tieline.api.directory.v1 import (
    directory_pb2,
    directory_service_pb2,
    member_service_pb2,
    visibility_pb2,
    visibility_service_pb2,
)

EAST, SOUTH = 2, 3

AT = directory_pb2.MemberDepartment

Answer = Callable[[Any], directory_pb2.Member]
WRITES: dict[str, tuple[Any, Answer]] = {
    "update": (update_member_request("li", name="Li Na"), lambda response: response.member),
    "batch": (
        member_service_pb2.BatchUpdateMembersRequest(updates=[member_update("li", name="Li Na")]),
        lambda response: response.members[0],
    ),
    "disable": (
        member_service_pb2.DisableMemberRequest(user_id="li"),
        lambda response: response.member,
    ),
    "enable": (
        member_service_pb2.EnableMemberRequest(user_id="li"),
        lambda response: response.member,
    ),
}


@pytest.fixture
async def filled(owner: Writer) -> Writer:
    """East with li, who reports to chief of South and is there, too; South is hidden."""
    await owner.create_department("East")
    await owner.create_department("South")
    await owner.create_member("chief", SOUTH, mobile="13800000001")
    await owner.create_member("li", EAST, SOUTH, direct_leader_user_id="chief")
    await owner.send(update_department_request(EAST, leader_user_ids=["li"]))
    rule = visibility_pb2.VisibilityRule(
        display_name="Hidden",
        kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN,
        targets=visibility_pb2.VisibilityScope(department_ids=[SOUTH]),
    )
    await owner.send(visibility_service_pb2.CreateVisibilityRuleRequest(rule=rule))
    return owner


@pytest.mark.parametrize("name", WRITES)
async def test_write_answers_what_a_read_tells(limited: Writer, name: str) -> None:
    request, answer = WRITES[name]

    written = answer(await limited.send(request))

    assert written == await limited.get_member("li")
    assert [at.department_id for at in written.departments] == [EAST]
    assert (written.department_id, written.direct_leader_user_id) == (EAST, "")


async def test_whoever_manages_everybody_is_answered_everything(filled: Writer) -> None:
    written = await filled.update_member("li", name="Li Na")

    assert written == await filled.get_member("li")
    assert [at.department_id for at in written.departments] == [EAST, SOUTH]
    assert written.direct_leader_user_id == "chief"


async def test_changed_department_is_answered_as_it_is_read(
    filled: Writer, limited: Writer
) -> None:
    below = await filled.create_department("Below", EAST)
    await filled.create_member("off", below.department_id)

    request = update_department_request(EAST, name="Orient")
    written = (await limited.send(request)).department

    assert written == await limited.get_department(EAST)
    assert written.member_count == 0
    assert list(written.leader_user_ids) == ["li"]
    assert (await filled.get_department(EAST)).member_count > 0


async def test_whom_the_write_puts_out_of_sight_is_answered_by_id(
    filled: Writer, limited: Writer
) -> None:
    await filled.update_member("li", departments=[AT(department_id=EAST), AT(department_id=1)])
    hidden = visibility_pb2.VisibilityRule(
        display_name="Hidden, too",
        kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN,
        targets=visibility_pb2.VisibilityScope(user_ids=["li"]),
    )
    await filled.send(visibility_service_pb2.CreateVisibilityRuleRequest(rule=hidden))

    request = update_member_request("li", departments=[AT(department_id=1)])
    written = (await limited.send(request)).member

    assert (written.user_id, written.name, list(written.departments)) == ("li", "", [])
    assert written.etag


async def test_row_error_names_nobody_out_of_the_range(limited: Writer, corp: Corp) -> None:
    file = table(
        ("new", "New", "East", "13800000001"),
        ("one", "One", "East", "13800000002"),
        ("two", "Two", "East", "13800000002"),
        header="user_id,name,department,mobile",
    )
    requests = [config_message(), directory_service_pb2.ImportMembersRequest(chunk=file)]

    answered = corp.stub.ImportMembers(
        iter(requests), metadata=corp.signed(limited.token), timeout=20
    )

    errors = [error async for response in answered for error in response.errors]
    assert [(error.line, error.column, error.reason) for error in errors] == [
        (2, "mobile", "is taken"),
        (4, "mobile", "belongs to one"),
    ]
