"""Apps get contact details only with the right to them."""

from typing import Any

import pytest

from fakes.app_ranges import FakeAppRanges
from fakes.directory_corps import Corp
from fakes.directory_writers import Writer
from tieline.api.directory.v1 import (
    directory_pb2,
    directory_service_pb2,
    member_service_pb2,
)
from tieline.api.identity.v1 import app_pb2

READ = ("read_directory",)
EAST = 2
AGENT_ID = 1000002
CONTACT: dict[str, Any] = {
    "mobile": "13800000001",
    "telephone": "020-1234",
    "email": "li@home.example",
    "biz_email": "li@acme.example",
    "address": "1 East Road",
    "gender": directory_pb2.GENDER_FEMALE,
    "avatar_media_id": "avatar-1",
}


@pytest.fixture(params=[1, EAST], ids=["whole corp", "department"])
async def agent_id(
    request: pytest.FixtureRequest, owner: Writer, corp: Corp, app_ranges: FakeAppRanges
) -> int:
    """An app whose range holds li of East, who has everything."""
    await owner.create_department("East")
    await owner.create_member("li", EAST, position="Clerk", **CONTACT)
    app_ranges.ranges[corp.corp_id, AGENT_ID] = app_pb2.AppRange(department_ids=[request.param])
    return AGENT_ID


def sign_in(owner: Writer, corp: Corp, agent_id: int, *rights: str) -> Writer:
    return owner.signed_in_as(corp.tokens.app(corp.corp_id, str(agent_id), rights=rights))


async def read_everywhere(app: Writer) -> list[directory_pb2.Member]:
    """Return li as each of the reads shows li."""
    listed = await app.send(directory_service_pb2.ListMembersRequest(department_id=EAST))
    batch = await app.send(directory_service_pb2.BatchGetMembersRequest(user_ids=["li"]))
    found = await app.send(directory_service_pb2.SearchMembersRequest(query="li"))
    return [await app.get_member("li"), *listed.members, *batch.members, *found.members]


@pytest.mark.parametrize(
    ("rights", "is_told"),
    [(READ, False), ((*READ, "read_contact_details"), True), ((*READ, "manage_directory"), True)],
)
async def test_app_gets_contact_details_with_the_right_alone(
    owner: Writer, corp: Corp, agent_id: int, rights: tuple[str, ...], is_told: bool
) -> None:
    shown = await read_everywhere(sign_in(owner, corp, agent_id, *rights))

    expected = directory_pb2.Member(**CONTACT) if is_told else directory_pb2.Member()
    assert len(shown) == 4
    for member in shown:
        assert (member.user_id, member.position) == ("li", "Clerk")
        for name in CONTACT:
            assert getattr(member, name) == getattr(expected, name), name


@pytest.mark.parametrize("query", ["1380000", "li@home", "li@acme"])
async def test_no_search_of_an_app_finds_by_what_it_does_not_get(
    owner: Writer, corp: Corp, agent_id: int, query: str
) -> None:
    request = directory_service_pb2.SearchMembersRequest(query=query)

    found = [
        len((await sign_in(owner, corp, agent_id, *rights).send(request)).members)
        for rights in (READ, (*READ, "read_contact_details"))
    ]

    assert found == [0, 1]


async def test_app_without_the_right_may_not_ask_whose_a_number_is(
    owner: Writer, corp: Corp, agent_id: int
) -> None:
    app = sign_in(owner, corp, agent_id, *READ)
    entitled = sign_in(owner, corp, agent_id, *READ, "read_contact_details")

    for request in (
        member_service_pb2.GetMemberIdByMobileRequest(mobile="13800000001"),
        member_service_pb2.GetMemberIdByEmailRequest(email="li@acme.example"),
    ):
        error = await app.refused(request)

        assert error.reason == "CALLER_NOT_ALLOWED"
        assert error.metadata == {"right": "READ_CONTACT_DETAILS"}
        assert (await entitled.send(request)).user_id == "li"


async def test_app_that_sees_everybody_is_told_how_many_they_are(
    owner: Writer, corp: Corp, app_ranges: FakeAppRanges
) -> None:
    app_ranges.ranges[corp.corp_id, AGENT_ID] = app_pb2.AppRange(department_ids=[1])

    root = await sign_in(owner, corp, AGENT_ID, *READ).get_department(1)

    assert root == await owner.get_department(1)
    assert root.member_count == 1
