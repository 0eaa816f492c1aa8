"""Finding member ids: by number or address with a guard, and all of them with departments."""

from typing import Any

import asyncpg
import grpc
import pytest

from engines import Database
from fakes.directory_corps import Corp
from fakes.directory_writers import Writer
from tieline.api.directory.v1 import directory_pb2
from tieline.api.directory.v1 import member_service_pb2 as service_pb2


def by_mobile(mobile: str) -> service_pb2.GetMemberIdByMobileRequest:
    return service_pb2.GetMemberIdByMobileRequest(mobile=mobile)


def by_email(email: str) -> service_pb2.GetMemberIdByEmailRequest:
    return service_pb2.GetMemberIdByEmailRequest(email=email)


async def test_member_is_found_by_number_and_by_either_address(owner: Writer) -> None:
    await owner.create_member("li", mobile="13800000001", email="li@example.com")
    await owner.create_member("wang", biz_email="LI@example.com")

    assert (await owner.send(by_mobile("13800000001"))).user_id == "li"
    # Whose work address it is comes first.
    assert (await owner.send(by_email("Li@Example.com"))).user_id == "wang"
    await owner.update_member("wang", biz_email="")
    assert (await owner.send(by_email("Li@Example.com"))).user_id == "li"


async def test_number_of_somebody_who_left_is_nobodys(owner: Writer) -> None:
    await owner.create_member("li", mobile="13800000001")
    await owner.delete_member("li")

    error = await owner.refused(by_mobile("13800000001"))

    assert (error.code, error.reason, error.metadata) == (
        grpc.StatusCode.NOT_FOUND,
        "USER_NOT_FOUND",
        {},
    )


@pytest.mark.parametrize("request_", [by_mobile("12"), by_mobile("a\x00"), by_email("nobody")])
async def test_what_can_be_nobodys_is_refused(
    owner: Writer,
    request_: service_pb2.GetMemberIdByMobileRequest | service_pb2.GetMemberIdByEmailRequest,
) -> None:
    error = await owner.refused(request_)

    assert error.reason == "INVALID_FIELD"


async def test_who_tries_numbers_out_finds_nobody_for_the_rest_of_the_day(
    owner: Writer, corp: Corp, database: Database
) -> None:
    await owner.create_member("li", mobile="13800000001")
    curious = owner.signed_in_as(corp.tokens.member(corp.corp_id, "curious"))

    for number in range(10):
        await curious.refused(by_mobile(f"1390000{number:04d}"))
        await curious.refused(by_email(f"nobody{number}@example.com"))
    blocked = await curious.refused(by_mobile("13800000001"))

    assert (blocked.code, blocked.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "LOOKUPS_BLOCKED",
    )
    assert blocked.retry_after_s is not None
    assert 0 < blocked.retry_after_s <= 24 * 60 * 60
    # Others are not blocked, and the next day nobody is.
    assert (await owner.send(by_mobile("13800000001"))).user_id == "li"
    connection = await asyncpg.connect(database.dsn("directory"))
    try:
        await connection.execute(
            """
            UPDATE directory.lookup_failures
               SET failure_date = failure_date - 1
             WHERE corp_id = $1
            """,
            corp.corp_id,
        )
        assert (await curious.send(by_mobile("13800000001"))).user_id == "li"
        await curious.refused(by_mobile("13900000000"))
        days = await connection.fetchval(
            "SELECT count(*) FROM directory.lookup_failures WHERE corp_id = $1", corp.corp_id
        )
    finally:
        await connection.close()
    assert days == 1


async def test_ids_are_listed_with_each_department_page_by_page(owner: Writer) -> None:
    east = await owner.create_department("East")
    both = [directory_pb2.MemberDepartment(department_id=id_) for id_ in (east.department_id, 1)]
    await owner.create_member("li", departments=both)
    await owner.create_member("wang", east.department_id)
    await owner.create_member("gone")
    await owner.delete_member("gone")

    request = service_pb2.ListMemberIdsRequest(page_size=2)
    pages: list[Any] = []
    while not pages or request.page_token:
        page = await owner.send(request)
        pages.append([(row.user_id, row.department_id) for row in page.member_ids])
        request.page_token = page.next_page_token

    assert pages == [[("boss", 1), ("li", 1)], [("li", 2), ("wang", 2)]]


async def test_members_are_listed_of_a_department_and_of_all_below_it(owner: Writer) -> None:
    east = await owner.create_department("East")
    shop = await owner.create_department("Shop", east.department_id)
    both = [directory_pb2.MemberDepartment(department_id=id_) for id_ in (1, shop.department_id)]
    await owner.create_member("e", east.department_id)
    await owner.create_member("s", shop.department_id)
    await owner.create_member("b", departments=both)
    await owner.send(service_pb2.DisableMemberRequest(user_id="s"))

    disabled = directory_pb2.MEMBER_STATE_DISABLED
    assert await owner.list_member_ids(department_id=2) == ["e"]
    assert await owner.list_member_ids(department_id=3) == ["b", "s"]
    assert await owner.list_member_ids(department_id=2, fetch_children=True) == ["b", "e", "s"]
    assert await owner.list_member_ids(department_id=2, fetch_children=True, states=[disabled]) == [
        "s"
    ]
