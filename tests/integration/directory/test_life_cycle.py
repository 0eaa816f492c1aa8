"""Members from being listed to being gone, and what others are told of it."""

from typing import Any

import asyncpg
import grpc
import pytest
from nats.aio.client import Client

from engines import Database
from fakes.directory_corps import Corp, table
from fakes.directory_writers import Writer, update_department_request, update_member_request
from fakes.eventually import eventually
from published_events import published_events
from tieline.api.common.v1 import audit_pb2
from tieline.api.directory.v1 import directory_pb2, directory_requests_pb2
from tieline.api.directory.v1 import member_service_pb2 as service_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.message_headers import CORP_ID_HEADER, EVENT_ID_HEADER, KEY_HEADER
from tieline.chassis.requests import ask
from tieline.embedded.nats import EmbeddedNats


async def activate(broker: Client, corp_id: str, user_id: str) -> None:
    event = identity_pb2.MemberActivated(event_id=new_uuid7(), corp_id=corp_id, user_id=user_id)
    headers = {EVENT_ID_HEADER: event.event_id, CORP_ID_HEADER: corp_id, KEY_HEADER: corp_id}
    await broker.jetstream().publish(
        "tieline.identity.v1.member_activated", event.SerializeToString(), headers=headers
    )


async def is_active(owner: Writer, user_id: str) -> bool:
    return (await owner.get_member(user_id)).HasField("activate_time")


async def removals(database: Database, corp_id: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(database.dsn("directory"))
    try:
        records = await connection.fetch(
            "SELECT kind, resource_id FROM directory.removals WHERE corp_id = $1 ORDER BY 1, 2",
            corp_id,
        )
        return [(record["kind"], record["resource_id"]) for record in records]
    finally:
        await connection.close()


async def test_member_is_invited_then_active_then_disabled_then_active_again(
    owner: Writer, identity_broker: Client
) -> None:
    states = [(await owner.create_member("li")).state]

    await activate(identity_broker, owner.corp_id, "Li")
    await eventually(lambda: is_active(owner, "li"))
    states.append((await owner.get_member("li")).state)
    for request in (
        service_pb2.DisableMemberRequest(user_id="li"),
        service_pb2.DisableMemberRequest(user_id="LI"),
        service_pb2.EnableMemberRequest(user_id="li"),
        service_pb2.EnableMemberRequest(user_id="li"),
    ):
        states.append((await owner.send(request)).member.state)

    assert states == [
        directory_pb2.MEMBER_STATE_INVITED,
        directory_pb2.MEMBER_STATE_ACTIVE,
        directory_pb2.MEMBER_STATE_DISABLED,
        directory_pb2.MEMBER_STATE_DISABLED,
        directory_pb2.MEMBER_STATE_ACTIVE,
        directory_pb2.MEMBER_STATE_ACTIVE,
    ]


async def test_member_who_was_disabled_before_signing_in_is_invited_again(owner: Writer) -> None:
    await owner.create_member("li")
    await owner.send(service_pb2.DisableMemberRequest(user_id="li"))

    enabled = await owner.send(service_pb2.EnableMemberRequest(user_id="li"))

    assert enabled.member.state == directory_pb2.MEMBER_STATE_INVITED


async def test_disabled_member_who_accepts_an_invitation_stays_disabled(
    owner: Writer, identity_broker: Client
) -> None:
    await owner.create_member("li")
    await owner.send(service_pb2.DisableMemberRequest(user_id="li"))

    await activate(identity_broker, owner.corp_id, "li")
    await eventually(lambda: is_active(owner, "li"))

    assert (await owner.get_member("li")).state == directory_pb2.MEMBER_STATE_DISABLED


async def test_who_leaves_gives_up_everything_that_members_have(
    owner: Writer, database: Database
) -> None:
    east = await owner.create_department("East")
    at_east = directory_pb2.MemberDepartment(department_id=east.department_id, leader=True)
    await owner.create_member("li", departments=[at_east], mobile="13800000001", position="Buyer")
    await owner.create_member("wang", direct_leader_user_id="li")
    tag = await owner.create_tag("Early")
    await owner.add_to_tag(tag.tag_id, ["li"])

    await owner.delete_member("li")
    left = await owner.get_member("li")

    assert (left.state, left.name, left.position) == (
        directory_pb2.MEMBER_STATE_LEFT,
        "li",
        "Buyer",
    )
    assert (left.mobile, list(left.departments), left.HasField("leave_time")) == ("", [], True)
    assert (await owner.get_member("wang")).direct_leader_user_id == ""
    assert await owner.list_tagged(tag.tag_id) == ([], [])
    department = await owner.get_department(east.department_id)
    assert (list(department.leader_user_ids), department.member_count) == ([], 0)
    assert await removals(database, owner.corp_id) == [("tag_member", f"{tag.tag_id}/li")]


async def test_who_left_is_in_no_list_and_counts_nowhere(
    owner: Writer, corp: Corp, messaging_broker: Client
) -> None:
    await owner.create_member("li")
    await owner.create_member("wang")
    await owner.send(service_pb2.DisableMemberRequest(user_id="wang"))
    await owner.delete_member("li")

    missing = await ask(
        messaging_broker,
        "directory",
        "find_missing_members",
        directory_requests_pb2.FindMissingMembersRequest(
            corp_id=owner.corp_id, user_ids=["boss", "li", "wang"]
        ),
        directory_requests_pb2.FindMissingMembersResponse,
    )

    assert await owner.list_member_ids() == ["boss", "wang"]
    left = directory_pb2.MEMBER_STATE_LEFT
    assert await owner.list_member_ids(states=[left]) == ["li"]
    assert list(missing.missing_user_ids) == ["li", "wang"]
    assert (await owner.get_department(1)).member_count == 2


@pytest.mark.parametrize(
    "request_",
    [
        update_member_request("li", alias="x"),
        service_pb2.DeleteMemberRequest(user_id="li"),
        service_pb2.DisableMemberRequest(user_id="li"),
        service_pb2.EnableMemberRequest(user_id="li"),
    ],
    ids=lambda request: request.DESCRIPTOR.name,
)
async def test_who_left_is_not_changed_any_more(owner: Writer, request_: Any) -> None:
    await owner.create_member("li")
    await owner.delete_member("li")

    error = await owner.refused(request_)

    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MEMBER_LEFT")


async def test_who_left_comes_back_as_a_new_member(owner: Writer, identity_broker: Client) -> None:
    before = await owner.create_member("li", mobile="13800000001", alias="N")
    await activate(identity_broker, owner.corp_id, "li")
    await eventually(lambda: is_active(owner, "li"))
    await owner.delete_member("li")
    await owner.create_member("wang", mobile="13800000001")

    back = await owner.create_member("LI", name="Li Na")

    assert (back.state, back.name, back.alias, back.mobile) == (
        directory_pb2.MEMBER_STATE_INVITED,
        "Li Na",
        "",
        "",
    )
    assert not back.HasField("leave_time")
    assert not back.HasField("activate_time")
    assert back.create_time.ToNanoseconds() > before.create_time.ToNanoseconds()
    assert await owner.list_member_ids() == ["boss", "li", "wang"]


async def test_batch_with_one_who_can_not_leave_lets_nobody_leave(owner: Writer) -> None:
    await owner.create_member("li")

    missing = await owner.refused(service_pb2.BatchDeleteMembersRequest(user_ids=["li", "nobody"]))
    twice = await owner.refused(service_pb2.BatchDeleteMembersRequest(user_ids=["li", "Li"]))
    await_owner = await owner.refused(
        service_pb2.BatchDeleteMembersRequest(user_ids=["li", "boss"])
    )

    assert (missing.reason, missing.metadata) == ("USER_NOT_FOUND", {"userId": "nobody"})
    assert list(twice.violations) == ["user_ids[1]"]
    assert (await_owner.reason, await_owner.metadata) == ("OWNER_STAYS", {"userId": "boss"})
    assert await owner.list_member_ids() == ["boss", "li"]


async def test_owner_is_not_disabled(owner: Writer) -> None:
    error = await owner.refused(service_pb2.DisableMemberRequest(user_id="boss"))

    assert error.reason == "OWNER_STAYS"


async def test_file_disables_and_enables_members_and_tells_of_it(
    owner: Writer, corp: Corp, identity_broker: Client, nats: EmbeddedNats
) -> None:
    """Who accepted an invitation is active again; the corp's owner can't be disabled."""
    await owner.create_member("li")
    await activate(identity_broker, owner.corp_id, "li")
    await eventually(lambda: is_active(owner, "li"))

    def file(**states: str) -> bytes:
        rows = ((user_id, user_id, "", state) for user_id, state in states.items())
        return table(*rows, header="user_id,name,department,state")

    disabled = await corp.import_file(file(li="disabled", wang="disabled", boss="disabled"))
    states = {each: (await owner.get_member(each)).state for each in ("li", "wang", "boss")}
    repeated = await corp.import_file(file(li="disabled", wang=""))
    await corp.import_file(file(li="active", wang="active"))

    assert [(line, column) for line, column, _ in disabled.errors] == [(4, "state")]
    assert states == {
        "li": directory_pb2.MEMBER_STATE_DISABLED,
        "wang": directory_pb2.MEMBER_STATE_DISABLED,
        "boss": directory_pb2.MEMBER_STATE_INVITED,
    }
    assert repeated.responses[-1].summary.unchanged == 2
    assert (await owner.get_member("li")).state == directory_pb2.MEMBER_STATE_ACTIVE
    assert (await owner.get_member("wang")).state == directory_pb2.MEMBER_STATE_INVITED
    events = await published_events(nats, "DIRECTORY", owner.corp_id, 8)
    told = [(subject.rpartition(".")[2], data) for subject, data in events]
    assert [
        (name, list(directory_pb2.MemberDisabled.FromString(data).user_ids))
        for name, data in told
        if name in ("member_disabled", "member_enabled")
    ] == [("member_disabled", ["li", "wang"]), ("member_enabled", ["li", "wang"])]


async def test_every_change_is_told_and_written_down(owner: Writer, nats: EmbeddedNats) -> None:
    await owner.create_member("li")
    await owner.create_member("wang")
    await owner.send(service_pb2.DisableMemberRequest(user_id="li"))
    await owner.send(service_pb2.EnableMemberRequest(user_id="li"))
    request = service_pb2.BatchDeleteMembersRequest(user_ids=["wang", "li"])
    await owner.send(request)
    await owner.send(request)
    await owner.send(update_department_request(1, name="Jinyu"))

    events = await published_events(nats, "DIRECTORY", owner.corp_id, 11)
    acts = await published_events(nats, "DIRECTORY", f"audit/{owner.corp_id}", 7)

    def told(name: str, message_type: Any) -> list[list[str]]:
        subject = f"tieline.directory.v1.{name}"
        parsed = [message_type.FromString(data) for at, data in events if at == subject]
        return [list(event.user_ids) for event in parsed]

    assert told("member_disabled", directory_pb2.MemberDisabled) == [["li"]]
    assert told("member_enabled", directory_pb2.MemberEnabled) == [["li"]]
    assert told("member_left", directory_pb2.MemberLeft) == [["wang", "li"]]
    assert told("members_changed", directory_pb2.MembersChanged) == [
        ["boss"],
        ["li"],
        ["wang"],
        ["li"],
        ["li"],
        ["wang", "li"],
    ]
    entries = [audit_pb2.AuditEntry.FromString(data) for _, data in acts]
    assert [(entry.action, entry.resource) for entry in entries] == [
        ("directory.member.create", "members/li"),
        ("directory.member.create", "members/wang"),
        ("directory.member.disable", "members/li"),
        ("directory.member.enable", "members/li"),
        ("directory.member.delete", "members/wang"),
        ("directory.member.delete", "members/li"),
        ("directory.department.update", "departments/1"),
    ]
    assert {(entry.actor.id, entry.corp_id) for entry in entries} == {("boss", owner.corp_id)}


async def test_every_change_has_a_number_of_its_own_and_the_last_is_the_corps(
    owner: Writer, database: Database
) -> None:
    east = await owner.create_department("East")
    await owner.create_department("Shop", east.department_id)
    await owner.create_member("li", east.department_id)
    tag = await owner.create_tag("Early")
    await owner.add_to_tag(tag.tag_id, ["li", "boss"], [1, east.department_id])
    await owner.send(update_department_request(east.department_id, name="West"))
    await owner.delete_member("li")

    connection = await asyncpg.connect(database.dsn("directory"))
    try:
        numbers = await connection.fetch(
            """
            SELECT change_number FROM directory.members WHERE corp_id = $1
             UNION ALL SELECT change_number FROM directory.departments WHERE corp_id = $1
             UNION ALL SELECT change_number FROM directory.tags WHERE corp_id = $1
             UNION ALL SELECT change_number FROM directory.tag_members WHERE corp_id = $1
             UNION ALL SELECT change_number FROM directory.tag_departments WHERE corp_id = $1
             UNION ALL SELECT change_number FROM directory.removals WHERE corp_id = $1
            """,
            owner.corp_id,
        )
        last = await connection.fetchval(
            "SELECT last_change_number FROM directory.corps WHERE corp_id = $1", owner.corp_id
        )
    finally:
        await connection.close()

    given = [record["change_number"] for record in numbers]
    assert len(set(given)) == len(given)
    assert min(given) >= 1
    assert max(given) == last
