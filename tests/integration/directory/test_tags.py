"""Tags of members and departments, over a real channel on a real database."""

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from fakes.directory_corps import CALL_TIMEOUT_S, Corp, publish_event
from fakes.directory_writers import Writer
from tieline.api.directory.v1 import department_service_pb2, directory_pb2
from tieline.api.directory.v1 import tag_service_pb2 as service_pb2
from tieline.api.identity.v1 import app_pb2
from tieline.chassis.ids import new_uuid7


def create_request(**fields: Any) -> service_pb2.CreateTagRequest:
    return service_pb2.CreateTagRequest(tag=directory_pb2.Tag(**fields))


def rename_request(tag_id: int, name: str, etag: str = "") -> service_pb2.UpdateTagRequest:
    return service_pb2.UpdateTagRequest(
        tag=directory_pb2.Tag(tag_id=tag_id, name=name, etag=etag),
        update_mask=FieldMask(paths=["name"]),
    )


def app_of(owner: Writer, corp: Corp, agent_id: str) -> Writer:
    rights = ("read_directory", "manage_directory")
    return owner.signed_in_as(corp.tokens.app(corp.corp_id, agent_id, rights=rights))


async def next_tag_ids(told: Subscription, corp: Corp, *, count: int) -> list[list[int]]:
    """Return what the next events of the corp name."""
    found: list[list[int]] = []
    while len(found) < count:
        data = (await told.next_msg(CALL_TIMEOUT_S)).data
        event = directory_pb2.TagsChanged.FromString(data)
        if event.corp_id == corp.corp_id:
            found.append(list(event.tag_ids))
    return found


async def test_tag_is_made_renamed_listed_and_deleted(owner: Writer) -> None:
    given = await owner.create_tag("Early", tag_id=40)
    made = await owner.create_tag(" Late ")

    renamed = (await owner.send(rename_request(40, "Morning", etag=given.etag))).tag
    listed = await owner.send(service_pb2.ListTagsRequest(page_size=1))
    await owner.send(service_pb2.DeleteTagRequest(tag_id=40))
    gone = await owner.refused(service_pb2.GetTagRequest(tag_id=40))

    assert (made.tag_id, made.name, made.app_id) == (41, "Late", "")
    assert renamed.etag != given.etag
    assert ([tag.name for tag in listed.tags], bool(listed.next_page_token)) == (["Morning"], True)
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "TAG_NOT_FOUND")
    assert (await owner.send(service_pb2.GetTagRequest(tag_id=41))).tag == made


async def test_tag_id_that_is_given_far_ahead_leaves_those_that_are_made_where_they_were(
    owner: Writer,
) -> None:
    await owner.create_tag("Last", tag_id=2**31 - 1)

    made = [(await owner.create_tag(name)).tag_id for name in ("a", "b")]

    assert made == [1, 2]


async def test_name_and_id_belong_to_one_tag(owner: Writer) -> None:
    tag = await owner.create_tag("Early")
    other = await owner.create_tag("Late")

    errors = [
        await owner.refused(create_request(name="Early")),
        await owner.refused(create_request(name="New", tag_id=tag.tag_id)),
        await owner.refused(rename_request(other.tag_id, "Early")),
    ]

    assert {(error.code, error.reason) for error in errors} == {
        (grpc.StatusCode.ALREADY_EXISTS, "TAG_EXISTS")
    }
    assert {error.metadata["tagId"] for error in errors} == {str(tag.tag_id)}


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        pytest.param(create_request(), ["tag.name"], id="no name"),
        pytest.param(
            create_request(name="x" * 33, tag_id=-1), ["tag.name", "tag.tag_id"], id="33 characters"
        ),
        pytest.param(
            service_pb2.UpdateTagRequest(tag=directory_pb2.Tag(tag_id=1, name="x")),
            ["update_mask"],
            id="no mask",
        ),
        pytest.param(service_pb2.AddTagMembersRequest(tag_id=1), ["user_ids"], id="nobody"),
        pytest.param(
            service_pb2.RemoveTagMembersRequest(
                tag_id=1, user_ids=["u"] * 1001, department_ids=[1] * 101
            ),
            ["user_ids", "department_ids"],
            id="too many",
        ),
    ],
)
async def test_wrong_fields_are_named(owner: Writer, request_: Any, fields: list[str]) -> None:
    error = await owner.refused(request_)

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert list(error.violations) == fields


async def test_tags_of_a_deleted_app_are_changed_as_an_administrators(
    owner: Writer, corp: Corp, identity_broker: Client, admin_broker: Client
) -> None:
    """Those of other apps stay theirs, and the event that comes again changes nothing."""
    told = await admin_broker.subscribe("tieline.directory.v1.tags_changed")
    await admin_broker.flush()
    made = await app_of(owner, corp, "1000002").create_tag("Early")
    others = await app_of(owner, corp, "1000003").create_tag("Late")

    for agent_id in (1000002, 1000002, 1000003):
        event = app_pb2.AppDeleted(event_id=new_uuid7(), corp_id=corp.corp_id, agent_id=agent_id)
        await publish_event(identity_broker, "tieline.identity.v1.app_deleted", corp.corp_id, event)
    changed = await next_tag_ids(told, corp, count=4)
    released = (await owner.send(service_pb2.GetTagRequest(tag_id=made.tag_id))).tag

    assert changed == [[made.tag_id], [others.tag_id]] * 2
    assert (released.app_id, released.etag != made.etag) == ("", True)
    renamed = await owner.send(rename_request(made.tag_id, "Morning", released.etag))
    assert renamed.tag.name == "Morning"
    await owner.send(service_pb2.DeleteTagRequest(tag_id=others.tag_id))
    await told.unsubscribe()


async def test_members_and_departments_are_tagged_and_untagged(owner: Writer) -> None:
    tag = await owner.create_tag("Early")
    await owner.create_member("li")

    first = await owner.add_to_tag(tag.tag_id, ["LI", "boss", "nobody", "\x00"], [1, 99])
    again = await owner.add_to_tag(tag.tag_id, ["li"])
    tagged = await owner.list_tagged(tag.tag_id)
    removed = await owner.send(
        service_pb2.RemoveTagMembersRequest(
            tag_id=tag.tag_id, user_ids=["Li", "nobody"], department_ids=[1]
        )
    )

    assert list(first.invalid_user_ids) == ["nobody", "\x00"]
    assert list(first.invalid_department_ids) == [99]
    assert not again.ListFields()
    assert tagged == ([1], ["boss", "li"])
    assert list(removed.invalid_user_ids) == ["nobody"]
    assert await owner.list_tagged(tag.tag_id) == ([], ["boss"])


async def test_request_of_which_nothing_is_of_the_corp_is_refused(owner: Writer) -> None:
    tag = await owner.create_tag("Early")

    add = await owner.refused(
        service_pb2.AddTagMembersRequest(tag_id=tag.tag_id, user_ids=["a"], department_ids=[9])
    )
    remove = await owner.refused(
        service_pb2.RemoveTagMembersRequest(tag_id=tag.tag_id, user_ids=["a"])
    )

    for error in (add, remove):
        assert (error.code, error.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "TAG_NODES_INVALID",
        )


async def test_pages_of_a_tag_together_are_the_whole(owner: Writer) -> None:
    tag = await owner.create_tag("Early")
    department_ids = [
        (await owner.create_department(name)).department_id for name in ("a", "b", "c")
    ]
    user_ids = [(await owner.create_member(name)).user_id for name in ("a", "b", "c")]
    await owner.add_to_tag(tag.tag_id, user_ids, department_ids)

    for size in range(1, 8):
        request = service_pb2.ListTagMembersRequest(tag_id=tag.tag_id, page_size=size)
        pages: list[Any] = []
        while not pages or request.page_token:
            page = await owner.send(request)
            pages.append(page)
            request.page_token = page.next_page_token

        assert [id_ for page in pages for id_ in page.department_ids] == department_ids
        assert [id_ for page in pages for id_ in page.user_ids] == user_ids
        assert all(len(page.department_ids) + len(page.user_ids) == size for page in pages[:-1])


async def test_tag_that_an_app_made_is_changed_by_that_app_alone(owner: Writer, corp: Corp) -> None:
    maker, other = app_of(owner, corp, "1000002"), app_of(owner, corp, "1000003")
    tag = await maker.create_tag("Bot")
    mine = await owner.create_tag("Mine")

    refusals = [
        await party.refused(request)
        for party in (other, owner)
        for request in (
            rename_request(tag.tag_id, "Stolen"),
            service_pb2.DeleteTagRequest(tag_id=tag.tag_id),
            service_pb2.AddTagMembersRequest(tag_id=tag.tag_id, user_ids=["boss"]),
            service_pb2.RemoveTagMembersRequest(tag_id=tag.tag_id, user_ids=["boss"]),
        )
    ]
    await maker.add_to_tag(tag.tag_id, ["boss"])
    await other.add_to_tag(mine.tag_id, ["boss"])

    assert tag.app_id == "1000002"
    assert {(error.code, error.reason) for error in refusals} == {
        (grpc.StatusCode.PERMISSION_DENIED, "TAG_OF_OTHER_APP")
    }
    assert await other.list_tagged(tag.tag_id) == ([], ["boss"])


async def test_administrator_with_a_range_changes_no_tag(owner: Writer, corp: Corp) -> None:
    tag = await owner.create_tag("Early")
    limited = owner.signed_in_as(corp.tokens.limited_administrator(corp.corp_id, departments=[1]))
    narrow = owner.signed_in_as(corp.tokens.limited_administrator(corp.corp_id, departments=[7]))

    for party in (limited, narrow):
        for request in (
            create_request(name="Mine"),
            rename_request(tag.tag_id, "Mine"),
            service_pb2.AddTagMembersRequest(tag_id=tag.tag_id, user_ids=["boss"]),
        ):
            assert (await party.refused(request)).reason == "OUT_OF_RANGE"


async def test_tag_of_another_corp_is_not_found(owner: Writer, other_owner: Writer) -> None:
    tag = await other_owner.create_tag("Theirs", tag_id=77)

    for request in (
        service_pb2.GetTagRequest(tag_id=77),
        service_pb2.ListTagMembersRequest(tag_id=77),
        rename_request(77, "Mine"),
        service_pb2.DeleteTagRequest(tag_id=77),
        service_pb2.AddTagMembersRequest(tag_id=77, user_ids=["boss"]),
    ):
        error = await owner.refused(request)

        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "TAG_NOT_FOUND")
    assert (await other_owner.send(service_pb2.GetTagRequest(tag_id=77))).tag == tag


async def test_tagged_department_can_be_deleted(owner: Writer) -> None:
    tag = await owner.create_tag("Early")
    east = await owner.create_department("East")
    await owner.add_to_tag(tag.tag_id, [], [east.department_id])
    await owner.send(
        department_service_pb2.DeleteDepartmentRequest(department_id=east.department_id)
    )

    assert await owner.list_tagged(tag.tag_id) == ([], [])
