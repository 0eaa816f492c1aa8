"""How much a corp may have of everything, and writers who meet."""

import asyncio
import functools
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from fakes.directory_corps import Corp, table
from fakes.directory_files import REPLACE_DEPARTMENTS, Files, Options
from fakes.directory_writers import Writer, update_department_request
from tieline.api.directory.v1 import (
    department_service_pb2,
    directory_pb2,
    member_service_pb2,
    tag_service_pb2,
)
from tieline.client.errors import TielineError
from tieline.directory.departments import changes as department_changes
from tieline.directory.departments import servicer as department_servicer
from tieline.directory.imports import department_import
from tieline.directory.imports import writes as import_writes
from tieline.directory.imports.department_replacement import plan_replacement
from tieline.directory.imports.nodes import NodeCounts
from tieline.directory.tags import changes as tag_changes


def create_department(name: str, parent: int = 1) -> department_service_pb2.CreateDepartmentRequest:
    return department_service_pb2.CreateDepartmentRequest(
        department=directory_pb2.Department(name=name, parent_department_id=parent)
    )


def create_member(user_id: str, department: int) -> member_service_pb2.CreateMemberRequest:
    at = directory_pb2.MemberDepartment(department_id=department)
    return member_service_pb2.CreateMemberRequest(
        member=directory_pb2.Member(user_id=user_id, name="x", departments=[at])
    )


async def check_full(owner: Writer, request: Any, limit: str, maximum: int) -> None:
    error = await owner.refused(request)

    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LIMIT_REACHED")
    assert error.metadata == {"limit": limit, "maximum": str(maximum)}


async def test_corp_has_a_bounded_number_of_departments(
    owner: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(department_changes, "MAX_DEPARTMENTS", 3)
    for name in ("a", "b"):
        await owner.create_department(name)

    await check_full(owner, create_department("c"), "departments", 3)


async def test_department_has_a_bounded_number_of_children_and_members(
    owner: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(department_changes, "MAX_NODES", 2)
    east = (await owner.create_department("East")).department_id
    child = (await owner.create_department("Child", east)).department_id
    await owner.create_member("li", east)
    await owner.create_member("wang", child)
    grandchild = (await owner.create_department("Grandchild", child)).department_id

    joins = directory_pb2.MemberDepartment(department_id=east)
    for request in (
        create_department("Second", east),
        create_member("chen", east),
        update_department_request(grandchild, parent_department_id=east),
        member_service_pb2.UpdateMemberRequest(
            update=member_service_pb2.MemberUpdate(
                member=directory_pb2.Member(user_id="wang", departments=[joins]),
                update_mask=FieldMask(paths=["departments"]),
            )
        ),
    ):
        await check_full(owner, request, "nodes_of_a_department", 2)


async def test_file_fills_a_department_up_to_its_bound(
    owner: Writer, corp: Corp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_writes, "NodeCounts", functools.partial(NodeCounts, 3))
    east = (await owner.create_department("East")).department_id
    await owner.create_department("Child", east)
    await owner.create_member("li", east)

    first = await corp.import_file(table(("a", "A", "East"), ("b", "B", "East"), ("li", "L", "")))
    second = await corp.import_file(table(("b", "B", "East"), ("c", "C", "East")))
    with pytest.raises(TielineError) as raised:
        await corp.import_file(table(("d", "D", "East/New")))

    # Rows take effect in their order: li leaves after b came.
    assert [line for line, _, _ in first.errors] == [3]
    assert [line for line, _, _ in second.errors] == [3]
    assert raised.value.reason == "LIMIT_REACHED"
    assert len(await owner.list_member_ids(department_id=east)) == 2


async def test_file_of_departments_fills_a_department_up_to_its_bound(
    owner: Writer, corp: Corp, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The members who are there count; a row too many is refused, and a dry run tells the same."""
    bounded = functools.partial(plan_replacement, max_nodes=2)
    monkeypatch.setattr(department_import, "plan_replacement", bounded)
    east = (await owner.create_department("East")).department_id
    await corp.import_file(table(("a", "A", "East"), ("b", "B", "")))
    rows = [("East", str(east), "1"), ("Fits", "8", str(east)), ("Not", "9", str(east))]
    file = table(*rows, header="name,id,parent_id")

    dry = await files.import_file(file, Options(mode=REPLACE_DEPARTMENTS, dry_run=True))
    outcome = await files.import_file(file, Options(mode=REPLACE_DEPARTMENTS))

    full = [(4, "parent_id", "has 2 members and departments already")]
    assert list(dry.errors) == list(outcome.errors) == full
    assert {each.path for each in await corp.list_departments()} == {"", "East", "East/Fits"}


async def test_corp_has_a_bounded_number_of_tags_and_each_is_on_so_many(
    owner: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tag_changes, "MAX_TAGS", 1)
    monkeypatch.setattr(tag_changes, "MAX_NODES", 2)
    tag = await owner.create_tag("Early")
    await owner.create_member("li")
    await owner.add_to_tag(tag.tag_id, ["li"], [1])

    await check_full(
        owner,
        tag_service_pb2.CreateTagRequest(tag=directory_pb2.Tag(name="Late")),
        "tags",
        1,
    )
    await check_full(
        owner,
        tag_service_pb2.AddTagMembersRequest(tag_id=tag.tag_id, user_ids=["boss"]),
        "nodes_of_a_tag",
        2,
    )
    # Those who have the tag already take no place.
    await owner.add_to_tag(tag.tag_id, ["li"], [1])


async def test_subtree_of_many_departments_comes_in_pages(
    owner: Writer, corp: Corp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(department_servicer, "_SUBTREE_PAGE", 100)
    await corp.import_file(
        table(*((f"u{number}", "U", f"a{number % 30}/b{number}") for number in range(300)))
    )

    pages = await owner.get_subtree()

    assert [len(page) for page in pages] == [100, 100, 100, 31]
    seen: set[int] = set()
    for department in (department for page in pages for department in page):
        assert department.department_id == 1 or department.parent_department_id in seen
        seen.add(department.department_id)
    with pytest.raises(TielineError, match="no such department"):
        await owner.get_subtree(999)


async def test_two_who_move_departments_below_each_other_make_no_cycle(owner: Writer) -> None:
    a, b = [(await owner.create_department(name)).department_id for name in ("a", "b")]

    outcomes = await asyncio.gather(
        owner.send(update_department_request(a, parent_department_id=b)),
        owner.send(update_department_request(b, parent_department_id=a)),
        return_exceptions=True,
    )

    errors = [outcome for outcome in outcomes if isinstance(outcome, TielineError)]
    assert [error.reason for error in errors] == ["DEPARTMENT_CYCLE"]
    assert [len(page) for page in await owner.get_subtree()] == [3]


async def test_of_two_who_take_a_name_or_a_number_one_gets_it(owner: Writer) -> None:
    def same_mobile(user_id: str) -> member_service_pb2.CreateMemberRequest:
        request = create_member(user_id, 1)
        request.member.mobile = "13800000001"
        return request

    departments, members = [
        await asyncio.gather(*map(owner.send, requests), return_exceptions=True)
        for requests in (
            [create_department("Same") for _ in range(4)],
            [same_mobile(f"u{number}") for number in range(4)],
        )
    ]

    for outcomes, reason in ((departments, "DEPARTMENT_EXISTS"), (members, "FIELD_TAKEN")):
        errors = [outcome for outcome in outcomes if isinstance(outcome, TielineError)]
        assert [error.reason for error in errors] == [reason] * 3
