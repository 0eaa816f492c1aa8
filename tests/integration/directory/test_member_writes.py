"""Adding and changing members, over a real channel on a real database."""

import asyncio
from typing import Any

import grpc
import pytest

from fakes.directory_corps import Corp, table
from fakes.directory_writers import Writer, member_update, update_member_request
from tieline.api.directory.v1 import attribute_pb2, directory_pb2, directory_service_pb2
from tieline.api.directory.v1 import attribute_service_pb2 as attributes_pb2
from tieline.api.directory.v1 import member_service_pb2 as service_pb2

AT = directory_pb2.MemberDepartment


def create_request(**fields: Any) -> service_pb2.CreateMemberRequest:
    fields = {"user_id": "li", "name": "Li Na", **fields}
    return service_pb2.CreateMemberRequest(member=directory_pb2.Member(**fields))


def text_value(name: str, text: str = "x") -> attribute_pb2.AttributeValue:
    return attribute_pb2.AttributeValue(name=name, text=text)


async def create_attribute(
    owner: Writer,
    name: str,
    kind: attribute_pb2.AttributeKind.ValueType = attribute_pb2.ATTRIBUTE_KIND_TEXT,
) -> None:
    await owner.send(
        attributes_pb2.CreateAttributeRequest(
            attribute=attribute_pb2.Attribute(name=name, kind=kind)
        )
    )


async def test_member_is_stored_with_every_field(owner: Writer) -> None:
    east, west = await owner.create_department("East"), await owner.create_department("West")
    await create_attribute(owner, "Badge")
    await create_attribute(owner, "Blog", attribute_pb2.ATTRIBUTE_KIND_WEB)
    blog = attribute_pb2.WebLink(url="https://example.com/li", title="Li's blog")
    program = attribute_pb2.MiniProgramLink(app_id="wx1", page_path="shop", title="Shop")
    given = directory_pb2.Member(
        user_id="Li.Na",
        name="李娜",
        alias="Nana",
        departments=[
            AT(department_id=east.department_id, order=5),
            AT(department_id=west.department_id, leader=True),
        ],
        department_id=west.department_id,
        position="Buyer",
        gender=directory_pb2.GENDER_FEMALE,
        mobile="+8613800000001",
        telephone="010-1234, 12",
        email="Li@Example.com",
        biz_email="li@corp.example",
        address="1 East Street",
        avatar_media_id="media-1",
        direct_leader_user_id="Boss",
        external_position="买手",
        external_profile=directory_pb2.ExternalProfile(
            corp_name="Jinyu",
            channel_nickname="jinyu",
            attributes=[
                text_value("Hours", "9–17"),
                attribute_pb2.AttributeValue(name="Shop", mini_program=program),
            ],
        ),
        extended_attributes=[
            text_value("Badge", "A-17"),
            attribute_pb2.AttributeValue(name="Blog", web=blog),
        ],
    )

    created = (await owner.send(service_pb2.CreateMemberRequest(member=given))).member

    assert created == await owner.get_member("li.na")
    assert created.state == directory_pb2.MEMBER_STATE_INVITED
    assert [(at.department_id, at.order, at.leader) for at in created.departments] == [
        (west.department_id, 0, True),
        (east.department_id, 5, False),
    ]
    assert list((await owner.get_department(west.department_id)).leader_user_ids) == ["li.na"]
    # The rest comes back as it was given.
    for field in ("state", "etag", "create_time", "update_time", "departments"):
        created.ClearField(field)
        given.ClearField(field)
    given.user_id, given.direct_leader_user_id = "li.na", "boss"
    assert created == given


async def test_member_without_departments_is_in_the_root(owner: Writer) -> None:
    member = await owner.create_member("li")

    assert (member.department_id, [at.department_id for at in member.departments]) == (1, [1])


async def test_member_may_have_neither_mobile_nor_email(owner: Writer) -> None:
    member = await owner.create_member("li")

    assert (member.mobile, member.email) == ("", "")


async def test_user_id_is_taken_whatever_its_case(owner: Writer) -> None:
    await owner.create_member("li.na")

    error = await owner.refused(create_request(user_id="LI.NA"))

    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "USER_EXISTS")
    assert error.metadata == {"userId": "li.na"}


async def test_request_sent_twice_at_once_adds_one_member(owner: Writer) -> None:
    request = create_request()

    first, again = await asyncio.gather(owner.send(request), owner.send(request))

    assert first == again
    assert sorted(await owner.list_member_ids()) == ["boss", "li"]


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("mobile", "13800000001", "13800000001"),
        ("email", "li@example.com", "LI@example.com"),
        ("biz_email", "li@corp.example", "Li@Corp.Example"),
    ],
)
async def test_numbers_and_addresses_belong_to_one_member(
    owner: Writer, field: str, value: str, same: str
) -> None:
    await owner.create_member("li", **{field: value})
    await owner.create_member("wang")

    created = await owner.refused(create_request(user_id="chen", **{field: same}))
    updated = await owner.refused(update_member_request("wang", **{field: same}))
    kept = await owner.update_member("li", **{field: same})

    for error, user_id in ((created, "chen"), (updated, "wang")):
        assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "FIELD_TAKEN")
        assert error.metadata == {"field": field, "userId": user_id}
    assert getattr(kept, field) == same


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        pytest.param({"user_id": "", "name": ""}, ["user_id", "name"], id="nothing"),
        pytest.param({"user_id": "a" * 65}, ["user_id"], id="user id of 65"),
        pytest.param({"user_id": "-li"}, ["user_id"], id="user id begins with -"),
        pytest.param({"user_id": "李"}, ["user_id"], id="Chinese user id"),
        pytest.param({"name": "x" * 65}, ["name"], id="name of 65"),
        pytest.param({"alias": "x" * 65}, ["alias"], id="alias of 65"),
        pytest.param({"position": "x" * 129}, ["position"], id="position of 129"),
        pytest.param({"mobile": "1380000000a"}, ["mobile"], id="mobile with a letter"),
        pytest.param({"telephone": "010#1"}, ["telephone"], id="telephone with #"),
        pytest.param({"telephone": "1" * 33}, ["telephone"], id="telephone of 33"),
        pytest.param({"email": "a@b"}, ["email"], id="short address"),
        pytest.param({"biz_email": "no address"}, ["biz_email"], id="no address"),
        pytest.param({"external_position": "长" * 13}, ["external_position"], id="13 characters"),
        pytest.param({"avatar_media_id": "a/b"}, ["avatar_media_id"], id="media id with /"),
        pytest.param({"direct_leader_user_id": "!"}, ["direct_leader_user_id"], id="leader"),
        pytest.param({"department_id": 7}, ["department_id"], id="main one not among them"),
        pytest.param(
            {"departments": [AT(department_id=1), AT(department_id=1)]},
            ["departments[1].department_id"],
            id="department twice",
        ),
        pytest.param(
            {"departments": [AT(department_id=1, order=2**32)]},
            ["departments[0].order"],
            id="order of 2^32",
        ),
        pytest.param(
            {"departments": [AT(department_id=number) for number in range(1, 102)]},
            ["departments"],
            id="101 departments",
        ),
        pytest.param(
            {"extended_attributes": [text_value("a"), text_value("a")]},
            ["extended_attributes[1].name"],
            id="attribute twice",
        ),
        pytest.param(
            {"extended_attributes": [attribute_pb2.AttributeValue(name="a")]},
            ["extended_attributes[0]"],
            id="attribute without a value",
        ),
        pytest.param(
            {
                "external_profile": directory_pb2.ExternalProfile(
                    attributes=[
                        attribute_pb2.AttributeValue(
                            name="a", web=attribute_pb2.WebLink(url="javascript:alert(1)")
                        )
                    ]
                )
            },
            [
                "external_profile.attributes[0].web.url",
                "external_profile.attributes[0].web.title",
            ],
            id="link that is none",
        ),
        pytest.param({"name": "a\x00b", "address": "a\nb"}, ["name", "address"], id="controls"),
    ],
)
async def test_wrong_fields_are_named(
    owner: Writer, fields: dict[str, Any], wrong: list[str]
) -> None:
    if "department_id" in fields:
        fields = {**fields, "departments": [AT(department_id=1)]}

    error = await owner.refused(create_request(**fields))

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert list(error.violations) == [f"member.{field}" for field in wrong]
    assert await owner.list_member_ids() == ["boss"]


async def test_what_a_member_refers_to_must_be_there(owner: Writer) -> None:
    department = await owner.refused(create_request(departments=[AT(department_id=9)]))
    leader = await owner.refused(create_request(direct_leader_user_id="nobody"))
    attribute = await owner.refused(create_request(extended_attributes=[text_value("None")]))

    assert (department.reason, department.metadata) == (
        "DEPARTMENT_NOT_FOUND",
        {"departmentId": "9"},
    )
    assert (leader.reason, leader.metadata) == ("USER_NOT_FOUND", {"userId": "nobody"})
    assert (attribute.reason, attribute.metadata) == ("ATTRIBUTE_NOT_FOUND", {"name": "None"})
    assert await owner.list_member_ids() == ["boss"]


async def test_value_is_of_the_attributes_kind(owner: Writer) -> None:
    await create_attribute(owner, "Blog", attribute_pb2.ATTRIBUTE_KIND_WEB)

    error = await owner.refused(create_request(extended_attributes=[text_value("Blog")]))

    assert list(error.violations) == ["member.extended_attributes"]


async def test_nobody_reports_to_himself_directly_or_through_others(owner: Writer) -> None:
    for user_id, leader in (("a", ""), ("b", "a"), ("c", "b")):
        await owner.create_member(user_id, direct_leader_user_id=leader)

    himself = await owner.refused(update_member_request("a", direct_leader_user_id="A"))
    around = await owner.refused(update_member_request("a", direct_leader_user_id="c"))
    aside = await owner.update_member("c", direct_leader_user_id="a")

    assert (himself.reason, around.reason) == ("LEADER_CYCLE", "LEADER_CYCLE")
    assert around.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (await owner.get_member("a")).direct_leader_user_id == ""
    assert aside.direct_leader_user_id == "a"


async def test_update_changes_what_the_mask_names_alone(owner: Writer) -> None:
    before = await owner.create_member("li", name="Li Na", mobile="13800000001", alias="N")
    request = update_member_request("LI", alias="")
    request.update.member.mobile = "13800000009"

    after = (await owner.send(request)).member

    assert (after.alias, after.mobile, after.name) == ("", "13800000001", "Li Na")
    assert after.etag != before.etag
    assert after.create_time == before.create_time


async def test_main_department_follows_when_the_member_leaves_it(owner: Writer) -> None:
    east, west = await owner.create_department("East"), await owner.create_department("West")
    await owner.create_member("li", east.department_id)

    both = await owner.update_member(
        "li",
        departments=[AT(department_id=west.department_id), AT(department_id=east.department_id)],
    )
    moved = await owner.update_member("li", departments=[AT(department_id=west.department_id)])
    error = await owner.refused(update_member_request("li", department_id=east.department_id))

    assert both.department_id == east.department_id
    assert moved.department_id == west.department_id
    assert list(error.violations) == ["update.member.department_id"]


async def test_update_at_an_older_etag_is_refused(owner: Writer) -> None:
    li = await owner.create_member("li")
    await owner.update_member("li", alias="first")

    error = await owner.refused(update_member_request("li", etag=li.etag, alias="second"))

    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert error.metadata == {"etag": (await owner.get_member("li")).etag}
    assert (await owner.get_member("li")).alias == "first"


async def test_mask_names_what_can_be_changed(owner: Writer) -> None:
    request = update_member_request("boss", name="x")
    request.update.update_mask.paths[:] = ["name", "user_id"]

    error = await owner.refused(request)

    assert list(error.violations) == ["update.update_mask"]


async def test_batch_changes_all_and_lets_two_swap_their_numbers(owner: Writer) -> None:
    await owner.create_member("a", mobile="13800000001", email="a@example.com")
    await owner.create_member("b", mobile="13800000002", email="b@example.com")

    response = await owner.send(
        service_pb2.BatchUpdateMembersRequest(
            updates=[
                member_update("b", mobile="13800000001", email="A@example.com"),
                member_update("a", mobile="13800000002", email="b@example.com"),
            ]
        )
    )

    assert [(m.user_id, m.mobile, m.email) for m in response.members] == [
        ("b", "13800000001", "A@example.com"),
        ("a", "13800000002", "b@example.com"),
    ]
    assert len({member.etag for member in response.members}) == 2


async def test_batch_with_one_wrong_update_changes_nothing(owner: Writer) -> None:
    before = await owner.create_member("a")

    missing = await owner.refused(
        service_pb2.BatchUpdateMembersRequest(
            updates=[member_update("a", alias="x"), member_update("nobody", alias="x")]
        )
    )
    wrong = await owner.refused(
        service_pb2.BatchUpdateMembersRequest(
            updates=[member_update("a", mobile="x"), member_update("A", name="")]
        )
    )
    same = await owner.refused(
        service_pb2.BatchUpdateMembersRequest(
            updates=[
                member_update("a", mobile="13800000001"),
                member_update("boss", mobile="13800000001"),
            ]
        )
    )

    assert (missing.reason, missing.metadata) == ("USER_NOT_FOUND", {"userId": "nobody"})
    assert set(wrong.violations) == {
        "updates[0].member.mobile",
        "updates[1].member.name",
        "updates[1].member.user_id",
    }
    assert (same.reason, same.metadata) == ("FIELD_TAKEN", {"field": "mobile", "userId": "boss"})
    assert await owner.get_member("a") == before


@pytest.mark.parametrize(("updates", "deletions"), [(0, 0), (101, 201)])
async def test_batches_have_1_to_100_updates_and_1_to_200_deletions(
    owner: Writer, updates: int, deletions: int
) -> None:
    update = await owner.refused(
        service_pb2.BatchUpdateMembersRequest(
            updates=[member_update(f"u{number}", name="x") for number in range(updates)]
        )
    )
    delete = await owner.refused(
        service_pb2.BatchDeleteMembersRequest(
            user_ids=[f"u{number}" for number in range(deletions)]
        )
    )

    assert list(update.violations) == ["updates"]
    assert list(delete.violations) == ["user_ids"]


async def test_members_with_everything_at_its_longest_fit_into_answers(
    owner: Writer, corp: Corp
) -> None:
    web = attribute_pb2.WebLink(url="http://" + "x" * 505, title="长" * 16)
    values = [
        attribute_pb2.AttributeValue(name=f"{number:02d}" + "长" * 30, web=web)
        for number in range(20)
    ]
    for value in values:
        await create_attribute(owner, value.name, attribute_pb2.ATTRIBUTE_KIND_WEB)
    profile = directory_pb2.ExternalProfile(attributes=values)
    user_ids = [f"u{number:03d}" for number in range(120)]
    await corp.import_file(table(*((user_id, "U", "") for user_id in user_ids)))
    for start in range(0, 120, 60):
        await owner.send(
            service_pb2.BatchUpdateMembersRequest(
                updates=[
                    member_update(user_id, external_profile=profile, extended_attributes=values)
                    for user_id in user_ids[start : start + 60]
                ]
            )
        )

    first = await owner.send(directory_service_pb2.ListMembersRequest(page_size=1000))
    rest = await owner.send(
        directory_service_pb2.ListMembersRequest(page_size=1000, page_token=first.next_page_token)
    )
    error = await owner.refused(directory_service_pb2.BatchGetMembersRequest(user_ids=user_ids))

    assert 3_000_000 < first.ByteSize() <= 3 * 1024 * 1024
    listed = [member.user_id for member in [*first.members, *rest.members]]
    assert listed == ["boss", *user_ids]
    assert list(error.violations) == ["user_ids"]


async def test_administrator_changes_members_in_his_range(owner: Writer, corp: Corp) -> None:
    east, west = await owner.create_department("East"), await owner.create_department("West")
    for user_id, department in (("e", east), ("w", west)):
        await owner.create_member(user_id, department.department_id)
    of_east = owner.signed_in_as(
        corp.tokens.limited_administrator(corp.corp_id, departments=[east.department_id])
    )
    both = [AT(department_id=east.department_id), AT(department_id=west.department_id)]

    await of_east.create_member("new", east.department_id)
    await of_east.update_member("e", alias="E")
    refusals = [
        await of_east.refused(create_request(departments=[AT(department_id=west.department_id)])),
        await of_east.refused(create_request()),
        await of_east.refused(update_member_request("w", alias="W")),
        await of_east.refused(update_member_request("e", departments=both)),
        await of_east.refused(service_pb2.DeleteMemberRequest(user_id="w")),
        await of_east.refused(service_pb2.DisableMemberRequest(user_id="w")),
    ]
    await owner.update_member("e", departments=both)
    await of_east.update_member("e", alias="still mine")
    refusals += [await of_east.refused(service_pb2.DeleteMemberRequest(user_id="e"))]

    assert {error.reason for error in refusals} == {"OUT_OF_RANGE"}
    await of_east.delete_member("new")


async def test_member_of_another_corp_is_not_found(owner: Writer, other_owner: Writer) -> None:
    theirs = await other_owner.create_member("chen", mobile="13800000001")

    for request in (
        update_member_request("chen", alias="x"),
        service_pb2.DeleteMemberRequest(user_id="chen"),
        service_pb2.DisableMemberRequest(user_id="chen"),
        service_pb2.EnableMemberRequest(user_id="chen"),
        service_pb2.BatchDeleteMembersRequest(user_ids=["boss", "chen"]),
        service_pb2.GetMemberIdByMobileRequest(mobile="13800000001"),
    ):
        error = await owner.refused(request)

        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")
    assert await other_owner.get_member("chen") == theirs
    await owner.create_member("chen", mobile="13800000001")


async def test_app_with_the_grant_changes_members(owner: Writer, corp: Corp) -> None:
    app = owner.signed_in_as(corp.tokens.app(corp.corp_id, "1000002", rights=["manage_directory"]))
    without = owner.signed_in_as(corp.tokens.app(corp.corp_id, "1000003", rights=[]))

    await app.create_member("li")
    error = await without.refused(create_request(user_id="wang"))

    assert error.reason == "CALLER_NOT_ALLOWED"
    assert sorted(await owner.list_member_ids()) == ["boss", "li"]
