"""To whoever changes a part of a corp, what they do not see answers as what is not there."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fakes.directory_corps import Corp, ImportOutcome, config_message, table
from fakes.directory_files import Files, Options
from fakes.directory_writers import (
    Writer,
    member_update,
    update_department_request,
    update_member_request,
)
from tieline.api.directory.v1 import (
    department_service_pb2,
    directory_pb2,
    directory_service_pb2,
    member_service_pb2,
    tag_service_pb2,
    visibility_pb2,
    visibility_service_pb2,
)
from tieline.client.errors import TielineError

EAST, SOUTH, SHOP, NO_DEPARTMENT = 2, 3, 4, 77
AT = directory_pb2.MemberDepartment

Write = Callable[[Any], Any]


def create_in(department_id: int) -> Any:
    member = directory_pb2.Member(user_id="new", name="New", department_id=department_id)
    return member_service_pb2.CreateMemberRequest(member=member)


def create_under(leader: str) -> Any:
    member = directory_pb2.Member(user_id="new", name="New", department_id=EAST)
    member.direct_leader_user_id = leader
    return member_service_pb2.CreateMemberRequest(member=member)


def create_department_in(parent_id: int) -> Any:
    return department_service_pb2.CreateDepartmentRequest(
        department=directory_pb2.Department(name="New", parent_department_id=parent_id)
    )


def disable(user_id: str) -> Any:
    return member_service_pb2.DisableMemberRequest(user_id=user_id)


def enable(user_id: str) -> Any:
    return member_service_pb2.EnableMemberRequest(user_id=user_id)


def delete(user_id: str, etag: str = "") -> Any:
    return member_service_pb2.DeleteMemberRequest(user_id=user_id, etag=etag)


def get_request(user_id: str) -> Any:
    return directory_service_pb2.GetMemberRequest(user_id=user_id)


def delete_department(department_id: int, etag: str = "") -> Any:
    return department_service_pb2.DeleteDepartmentRequest(department_id=department_id, etag=etag)


OF_MEMBERS: dict[str, Write] = {
    "update": lambda id_: update_member_request(id_, name="N"),
    "update of an etag": lambda id_: update_member_request(id_, "0", name="N"),
    "batch of updates": lambda id_: member_service_pb2.BatchUpdateMembersRequest(
        updates=[member_update("li", name="N"), member_update(id_, name="N")]
    ),
    "delete": delete,
    "delete of an etag": lambda id_: delete(id_, "0"),
    "batch of deletions": lambda id_: member_service_pb2.BatchDeleteMembersRequest(
        user_ids=["li", id_]
    ),
    "disable": disable,
    "enable": enable,
    "leader of a department": lambda id_: update_department_request(EAST, leader_user_ids=[id_]),
    "leader of somebody new": create_under,
    "leader of somebody": lambda id_: update_member_request("li", direct_leader_user_id=id_),
    "add to a tag": lambda id_: tag_service_pb2.AddTagMembersRequest(tag_id=1, user_ids=[id_]),
    "remove from a tag": lambda id_: tag_service_pb2.RemoveTagMembersRequest(
        tag_id=1, user_ids=[id_]
    ),
}

OF_DEPARTMENTS: dict[str, Write] = {
    "update": lambda id_: update_department_request(id_, name="N"),
    "update of an etag": lambda id_: update_department_request(id_, "0", name="N"),
    "delete": delete_department,
    "delete of an etag": lambda id_: delete_department(id_, "0"),
    "create below": create_department_in,
    "move to": lambda id_: update_department_request(SHOP, parent_department_id=id_),
    "new member of it": create_in,
    "member of it": lambda id_: update_member_request(
        "li", departments=[AT(department_id=EAST), AT(department_id=id_)]
    ),
    "main one": lambda id_: update_member_request("li", department_id=id_),
    "add to a tag": lambda id_: tag_service_pb2.AddTagMembersRequest(
        tag_id=1, department_ids=[id_]
    ),
}


@pytest.fixture
async def filled(owner: Writer) -> Writer:
    """East with li, who is in South as well and reports to its chief; South is hidden."""
    await owner.create_department("East")
    await owner.create_department("South")
    await owner.create_department("Shop", EAST)
    for user_id in ("chief", "off", "gone"):
        await owner.create_member(user_id, SOUTH)
    await owner.send(disable("off"))
    await owner.delete_member("gone")
    await owner.create_member("li", EAST, SOUTH, direct_leader_user_id="chief")
    await owner.create_tag("Tag", 1)
    rule = visibility_pb2.VisibilityRule(
        display_name="Hidden",
        kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN,
        targets=visibility_pb2.VisibilityScope(department_ids=[SOUTH]),
    )
    await owner.send(visibility_service_pb2.CreateVisibilityRuleRequest(rule=rule))
    return owner


def told(error: TielineError, asked: Any) -> tuple[Any, ...]:
    """Return all that an error says, without what was asked for."""
    metadata = {name: value.replace(str(asked), "?") for name, value in error.metadata.items()}
    return error.code, error.reason, error.text, metadata, dict(error.violations)


@pytest.mark.parametrize("name", OF_MEMBERS)
async def test_unseen_member_is_answered_as_nobody(limited: Writer, name: str) -> None:
    write = OF_MEMBERS[name]

    missing = told(await limited.refused(write("nobody")), "nobody")
    unseen = [
        told(await limited.refused(write(user_id)), user_id) for user_id in ("chief", "off", "gone")
    ]

    assert unseen == [missing] * 3


@pytest.mark.parametrize("name", OF_DEPARTMENTS)
async def test_unseen_department_is_answered_as_none(limited: Writer, name: str) -> None:
    write = OF_DEPARTMENTS[name]

    missing = told(await limited.refused(write(NO_DEPARTMENT)), NO_DEPARTMENT)
    unseen = told(await limited.refused(write(SOUTH)), SOUTH)

    assert unseen == missing


FILE = table(
    ("one", "One", "East", "chief"),
    ("two", "Two", "East", "nobody"),
    ("three", "Three", "East", "li"),
    header="user_id,name,department,direct_leader",
)


async def test_unseen_leader_of_a_row_is_no_member(limited: Writer, corp: Corp) -> None:
    requests = [config_message(), directory_service_pb2.ImportMembersRequest(chunk=FILE)]
    signed = corp.signed(limited.token)

    answered = corp.stub.ImportMembers(iter(requests), metadata=signed, timeout=20)

    errors = [error async for response in answered for error in response.errors]
    assert [(error.line, error.column) for error in errors] == [
        (2, "direct_leader"),
        (3, "direct_leader"),
    ]
    assert errors[0].reason == errors[1].reason


async def test_job_names_leaders_whom_its_creator_sees(
    limited: Writer, corp: Corp, files: Files
) -> None:
    theirs = replace(files, token=limited.token)

    job = await theirs.finish(FILE)

    assert (job.summary.added, job.summary.refused) == (1, 2)
    errors = await theirs.list_errors(job.job_id)
    assert [line for line, _ in errors] == [2, 3]


async def test_departments_that_a_writer_is_not_shown_are_kept(
    filled: Writer, limited: Writer
) -> None:
    """What was read is written back, and changed, as if the member were in nothing else."""
    shown = (await limited.get_member("li")).departments

    await limited.update_member("li", departments=shown)
    written = await limited.update_member(
        "li", departments=[AT(department_id=SHOP)], department_id=SHOP
    )

    assert [at.department_id for at in written.departments] == [SHOP]
    kept = await filled.get_member("li")
    assert (kept.department_id, {at.department_id for at in kept.departments}) == (
        SHOP,
        {SHOP, SOUTH},
    )


async def test_main_department_that_a_writer_is_not_shown_stays(
    filled: Writer, limited: Writer
) -> None:
    await filled.update_member("li", department_id=SOUTH)

    await limited.update_member("li", departments=[AT(department_id=SHOP)])

    kept = await filled.get_member("li")
    assert (kept.department_id, {at.department_id for at in kept.departments}) == (
        SOUTH,
        {SHOP, SOUTH},
    )


@pytest.mark.parametrize("is_main", [True, False])
async def test_deleted_member_stays_in_what_the_deleter_is_not_shown(
    filled: Writer, limited: Writer, is_main: bool
) -> None:
    """To the deleter that is the same as somebody who left."""
    await filled.create_member("lu", EAST)
    await filled.update_member("li", department_id=SOUTH if is_main else EAST)
    await filled.send(update_department_request(EAST, leader_user_ids=["li"]))

    await limited.send(member_service_pb2.BatchDeleteMembersRequest(user_ids=["li", "lu"]))

    gone = {
        user_id: [
            told(await limited.refused(write), user_id)
            for write in (get_request(user_id), delete(user_id), enable(user_id))
        ]
        for user_id in ("li", "lu")
    }
    assert gone["li"] == gone["lu"]
    li, lu = await filled.get_member("li"), await filled.get_member("lu")
    assert (li.department_id, [at.department_id for at in li.departments]) == (SOUTH, [SOUTH])
    assert (li.state, li.direct_leader_user_id) == (directory_pb2.MEMBER_STATE_INVITED, "chief")
    assert lu.state == directory_pb2.MEMBER_STATE_LEFT
    assert not (await filled.get_department(EAST)).leader_user_ids


@pytest.mark.parametrize("places", [(EAST, 9), (EAST, SOUTH, 9)])
async def test_member_of_what_the_deleter_sees_and_does_not_manage_is_not_deleted(
    filled: Writer, corp: Corp, places: tuple[int, ...]
) -> None:
    await filled.create_department("West", department_id=9)
    await filled.create_member("wu", *places)
    token = corp.tokens.limited_administrator(corp.corp_id, departments=[EAST])

    error = await filled.signed_in_as(token).refused(delete("wu"))

    assert error.reason == "OUT_OF_RANGE"
    assert len((await filled.get_member("wu")).departments) == len(places)


LEADING = "user_id,name,department,is_leader"


async def import_as(
    writer: Writer, files: Files, *rows: tuple[str, ...], dry_run: bool = False
) -> ImportOutcome:
    """Import a file in the writer's name."""
    header = LEADING if len(rows[0]) > 3 else "user_id,name,department"
    theirs = replace(files, token=writer.token)
    return await theirs.import_file(table(*rows, header=header), Options(dry_run=dry_run))


async def test_file_leaves_members_in_departments_that_its_author_is_not_shown(
    filled: Writer, limited: Writer, corp: Corp, files: Files
) -> None:
    """With the leadership there and the main department, however far the row moves the member."""
    await filled.update_member("li", department_id=SOUTH)
    await filled.send(update_department_request(SOUTH, leader_user_ids=["li"]))

    same = await import_as(limited, files, ("li", "li", "East"))
    moving = ("li", "Li", "East/Shop/New")
    dry = await import_as(limited, files, moving, dry_run=True)
    moved = await import_as(limited, files, moving)

    assert same.responses[-1].summary.unchanged == 1
    assert dry.summary == moved.summary == (0, 1, 0, 1)
    kept = await filled.get_member("li")
    [main, other] = kept.departments
    assert (kept.name, kept.department_id, main.leader) == ("Li", SOUTH, True)
    assert (await filled.get_department(other.department_id)).path == "East/Shop/New"
    assert (await filled.get_department(SOUTH)).leader_user_ids == ["li"]
    assert len(await corp.list_departments()) == 5


async def test_row_that_names_a_department_unseen_is_answered_as_one_of_none(
    limited: Writer, corp: Corp, files: Files
) -> None:
    outcome = await import_as(limited, files, ("li", "L", "East;South"), ("a", "A", "None"))

    [unseen, missing] = outcome.errors
    assert unseen[1:] == missing[1:]


async def test_file_takes_nobody_out_of_what_its_author_sees_and_does_not_manage(
    filled: Writer, corp: Corp, files: Files
) -> None:
    await filled.create_department("West", department_id=9)
    for user_id in ("wa", "wb", "wc"):
        await filled.create_member(user_id, 9, EAST)
    token = corp.tokens.limited_administrator(corp.corp_id, departments=[EAST])

    outcome = await import_as(
        filled.signed_in_as(token), files,
        ("wa", "W", "East", "0"), ("wb", "W", "East;West", "0;1"), ("wc", "W", "East;West", "1;0"),
    )  # fmt: skip

    assert [(line, column) for line, column, _ in outcome.errors] == [
        (2, "department"),
        (3, "department"),
    ]
    members = {id_: await filled.get_member(id_) for id_ in ("wa", "wb", "wc")}
    assert {id_: len(member.departments) for id_, member in members.items()} == {
        "wa": 2, "wb": 2, "wc": 2,
    }  # fmt: skip
    assert [member.name for member in members.values()] == ["wa", "wb", "W"]


IN_EAST, IN_WEST, IN_NORTH = AT(department_id=EAST), AT(department_id=9), AT(department_id=10)
LEADING_EAST = AT(department_id=EAST, order=4, leader=True)
LEADING_WEST = AT(department_id=9, leader=True)


@pytest.mark.parametrize(
    ("fields", "is_fine"),
    [
        pytest.param({"departments": [LEADING_EAST, IN_WEST, IN_NORTH]}, True, id="lead own"),
        pytest.param({"departments": [IN_EAST, LEADING_WEST, IN_NORTH]}, False, id="lead another"),
        pytest.param(
            {"departments": [IN_EAST, IN_NORTH, AT(department_id=9, order=1)]},
            False,
            id="order in another",
        ),
        pytest.param({"department_id": EAST}, True, id="main one becomes the own"),
        pytest.param({"department_id": 10}, False, id="main one stays another's"),
        pytest.param({"department_id": 9}, True, id="main one as it is"),
    ],
)
async def test_place_of_a_member_is_changed_by_who_manages_that_department(
    filled: Writer, corp: Corp, fields: dict[str, Any], is_fine: bool
) -> None:
    """Wherever else the member is the caller's; the main one is both the old's and the new's."""
    before = await make_member_of_three(filled)
    token = corp.tokens.limited_administrator(corp.corp_id, departments=[EAST])
    limited = filled.signed_in_as(token)
    update = member_update("wu", **fields)
    batch = member_service_pb2.BatchUpdateMembersRequest(updates=[update])

    if is_fine:
        await limited.send(batch)
    else:
        errors = [
            await limited.refused(request)
            for request in (batch, member_service_pb2.UpdateMemberRequest(update=update))
        ]
        assert {error.reason for error in errors} == {"OUT_OF_RANGE"}
        assert await filled.get_member("wu") == before


async def test_file_gives_nobody_another_main_department_of_others(
    filled: Writer, corp: Corp, files: Files
) -> None:
    await make_member_of_three(filled)
    token = corp.tokens.limited_administrator(corp.corp_id, departments=[EAST])
    limited = filled.signed_in_as(token)

    refused = await import_as(limited, files, ("wu", "W", "North;West;East"))
    same = await import_as(limited, files, ("wu", "W", "West;North;East"))
    own = await import_as(limited, files, ("wu", "W", "East;North;West"))

    assert [(line, column) for line, column, _ in refused.errors] == [(2, "department")]
    assert [same.errors, own.errors] == [[], []]
    assert (await filled.get_member("wu")).department_id == EAST


async def make_member_of_three(filled: Writer) -> directory_pb2.Member:
    """Put wu into West, the main one, North and East."""
    await filled.create_department("West", department_id=9)
    await filled.create_department("North", department_id=10)
    return await filled.create_member("wu", 9, 10, EAST)


async def test_who_is_seen_and_out_of_range_is_refused(filled: Writer, corp: Corp) -> None:
    await filled.create_department("West", department_id=9)
    await filled.create_member("wu", 9)
    token = corp.tokens.limited_administrator(corp.corp_id, departments=[EAST])
    limited = filled.signed_in_as(token)

    refused = [await limited.refused(write) for write in (disable("wu"), create_in(9))]

    assert {error.reason for error in refused} == {"OUT_OF_RANGE"}


async def test_whoever_manages_everybody_changes_the_hidden(filled: Writer) -> None:
    await filled.update_member("chief", alias="C")

    await filled.send(update_department_request(SOUTH, leader_user_ids=["chief"]))

    assert (await filled.get_member("chief")).alias == "C"
