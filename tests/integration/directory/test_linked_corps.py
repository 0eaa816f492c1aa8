"""What linked corps see of each other: nothing beyond what is shared."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from calls import call, refusal
from fakes.directory_corps import Corp, publish_event
from fakes.directory_links import LEFT, NOTHING, WHOLE, Link, Stub, departments
from fakes.directory_writers import Writer as DirectoryWriter
from fakes.directory_writes import Writer
from fakes.eventually import eventually
from tieline.api.directory.v1 import (
    directory_service_pb2,
    directory_service_pb2_grpc,
    linked_corp_service_pb2,
    visibility_pb2,
    visibility_service_pb2,
)
from tieline.api.identity.v1 import corp_link_pb2, identity_pb2
from tieline.chassis.ids import new_corp_id, new_uuid7
from tieline.chassis.postgres import Pool
from tieline.client.errors import TielineError
from tieline.directory.linked_corps.rules import Share, ShareScope
from tieline.directory.repositories import linked_corps
from tieline.directory.visibility.decision import Viewer


@pytest.fixture(scope="session")
async def linked_stub(start_service: Callable[[str], Awaitable[grpc.aio.Channel]]) -> Stub:
    return Stub(await start_service("directory"))


@pytest.fixture
async def link(
    linked_stub: Stub, identity_broker: Client, corp: Corp, other_corp: Corp, directory_pool: Pool
) -> Link:
    """``corp`` is the upper one: departments 2 and 3 below it, an in 2, bo in 3, chen in both."""
    writer = Writer(directory_pool, corp.corp_id)
    await writer.put_department(2, "East")
    await writer.put_department(3, "Sub", 2)
    await writer.put_department(4, "West")
    for user_id, *ids in (("an", 2), ("bo", 3), ("chen", 3, 4), ("du", 4), ("gone", 2)):
        await writer.put_member(str(user_id), str(user_id).upper(), int(ids[0]))
        await writer.place_member(str(user_id), [int(each) for each in ids])
    await writer.leave("gone")
    return Link(linked_stub, identity_broker, corp, other_corp)


async def test_members_and_departments_below_a_shared_department_are_seen(link: Link) -> None:
    await link.share(departments(2))

    members = await link.list_members()

    assert await link.list_departments() == {2: 0, 3: 2}
    assert [(each.user_id, list(each.department_ids)) for each in members] == [
        ("an", [2]),
        ("bo", [3]),
        ("chen", [3]),
    ]
    assert [each.user_id for each in await link.list_members(2)] == ["an"]


async def test_each_side_sees_what_the_other_one_shares(link: Link) -> None:
    await link.share(WHOLE)

    [of_lower] = await link.list_links(link.lower)
    [of_upper] = await link.list_links(link.upper)

    assert (of_lower.linked_corp_id, of_lower.upper) == (link.upper.corp_id, True)
    assert (of_upper.linked_corp_id, of_upper.upper) == (link.lower.corp_id, False)
    assert of_upper.share == NOTHING
    assert len(await link.list_departments()) == 4
    assert [each.user_id for each in await link.list_members()] == [
        *("an", "bo", "boss", "chen", "du")
    ]


@pytest.mark.parametrize(("mobile", "email"), [(False, False), (True, False), (False, True)])
async def test_numbers_and_addresses_are_seen_where_they_are_shared(
    link: Link, directory_pool: Pool, mobile: bool, email: bool
) -> None:
    async with directory_pool.acquire() as connection:
        await connection.execute(
            """
            UPDATE directory.members SET mobile = '13800000001', email = 'an@example.com'
             WHERE corp_id = $1 AND user_id = 'an'
            """,
            link.upper.corp_id,
        )
    await link.share(departments(2, mobile=mobile, email=email))

    one = await call(
        link.stub.GetLinkedMember,
        linked_corp_service_pb2.GetLinkedMemberRequest(link_id=link.link_id, user_id="AN"),
        link.token,
    )
    [listed] = await link.list_members(2)

    assert one.member == listed
    assert (bool(listed.mobile), bool(listed.email)) == (mobile, email)


async def test_what_is_not_shared_is_not_found(link: Link) -> None:
    await link.share(departments(2))

    for user_id in ("du", "gone", "boss", "nobody"):
        error = await refusal(
            link.stub.GetLinkedMember,
            linked_corp_service_pb2.GetLinkedMemberRequest(link_id=link.link_id, user_id=user_id),
            link.token,
        )
        assert (error.code.name, error.reason) == ("NOT_FOUND", "USER_NOT_FOUND")
    for department_id in (1, 4, 99):
        error = await refusal(
            link.stub.ListLinkedMembers,
            linked_corp_service_pb2.ListLinkedMembersRequest(
                link_id=link.link_id, department_id=department_id
            ),
            link.token,
        )
        assert (error.code.name, error.reason) == ("NOT_FOUND", "DEPARTMENT_NOT_FOUND")


async def test_whom_and_what_a_corp_hides_from_everybody_its_partners_do_not_see_either(
    link: Link, channel: grpc.aio.Channel
) -> None:
    upper = link.upper
    owner = DirectoryWriter(upper.corp_id, channel, upper.tokens.administrator(upper.corp_id))
    everybody = visibility_pb2.VisibilityScope(everybody=True)
    await owner.update_member("an", mobile="13800000001", position="Clerk")
    await link.share(corp_link_pb2.CorpLinkShare(scope=WHOLE.scope, mobile_shared=True))

    for rule in (
        visibility_pb2.VisibilityRule(
            display_name="Hidden department",
            kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN,
            targets=visibility_pb2.VisibilityScope(department_ids=[3]),
        ),
        visibility_pb2.VisibilityRule(
            display_name="Hidden numbers",
            kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDES_FIELDS,
            subjects=everybody,
            targets=everybody,
            fields=[visibility_pb2.HIDEABLE_FIELD_MOBILE],
        ),
    ):
        await owner.send(visibility_service_pb2.CreateVisibilityRuleRequest(rule=rule))

    members = {each.user_id: each for each in await link.list_members()}
    assert sorted(members) == ["an", "boss", "du"]
    assert (members["an"].mobile, members["an"].position) == ("", "Clerk")
    assert sorted(await link.list_departments()) == [1, 2, 4]
    error = await refusal(
        link.stub.GetLinkedMember,
        linked_corp_service_pb2.GetLinkedMemberRequest(link_id=link.link_id, user_id="bo"),
        link.token,
    )
    assert error.reason == "USER_NOT_FOUND"


async def test_departments_that_a_corp_hides_are_not_named_by_what_it_shares(
    link: Link, channel: grpc.aio.Channel
) -> None:
    upper = link.upper
    owner = DirectoryWriter(upper.corp_id, channel, upper.tokens.administrator(upper.corp_id))
    rule = visibility_pb2.VisibilityRule(
        display_name="Hidden department",
        kind=visibility_pb2.VISIBILITY_RULE_KIND_HIDDEN,
        targets=visibility_pb2.VisibilityScope(department_ids=[3]),
    )
    await link.share(departments(2, 3))
    await owner.send(visibility_service_pb2.CreateVisibilityRuleRequest(rule=rule))

    assert await link.find_share() == departments(2)
    assert sorted(await link.list_departments()) == [2]


async def test_link_that_was_left_shows_nothing_any_more(link: Link) -> None:
    await link.share(WHOLE)

    await link.publish(WHOLE, LEFT)

    async def is_gone() -> bool:
        return not await link.list_links(link.lower)

    await eventually(is_gone)
    error = await refusal(
        link.stub.ListLinkedMembers,
        linked_corp_service_pb2.ListLinkedMembersRequest(link_id=link.link_id),
        link.token,
    )
    assert (error.code.name, error.reason) == ("NOT_FOUND", "LINK_NOT_FOUND")


async def test_older_event_that_comes_late_brings_no_share_back(link: Link) -> None:
    await link.share(WHOLE)
    await link.share(departments(2))

    await link.publish(WHOLE, change_number=1)
    other = Link(link.stub, link.broker, link.upper, link.lower)
    await other.publish(NOTHING)

    async def has_both() -> bool:
        return len(await link.list_links(link.lower)) == 2

    await eventually(has_both)
    assert await link.list_departments() == {2: 0, 3: 2}


async def test_link_of_other_corps_is_not_found(
    link: Link, make_corp: Callable[[], Awaitable[Corp]]
) -> None:
    await link.share(WHOLE)
    stranger = await make_corp()

    error = await refusal(
        link.stub.ListLinkedDepartments,
        linked_corp_service_pb2.ListLinkedDepartmentsRequest(link_id=link.link_id),
        stranger.tokens.administrator(stranger.corp_id),
    )

    assert (error.code.name, error.reason) == ("NOT_FOUND", "LINK_NOT_FOUND")
    assert await link.list_links(stranger) == []


async def test_linked_app_reads_in_the_other_corp_what_that_shares(link: Link) -> None:
    await link.share(departments(2))
    app = linked_app(link)

    for corp_id in ("", link.upper.corp_id):
        for link_id in ("", link.link_id):
            where: dict[str, Any] = {"corp_id": corp_id, "link_id": link_id}
            listed = await call(
                link.stub.ListLinkedMembers,
                linked_corp_service_pb2.ListLinkedMembersRequest(**where),
                app,
            )
            shared = await call(
                link.stub.ListLinkedDepartments,
                linked_corp_service_pb2.ListLinkedDepartmentsRequest(**where),
                app,
            )
            one = await call(
                link.stub.GetLinkedMember,
                linked_corp_service_pb2.GetLinkedMemberRequest(**where, user_id="an"),
                app,
            )
            assert [each.user_id for each in listed.members] == [
                each.user_id for each in await link.list_members()
            ]
            assert [each.department_id for each in shared.departments] == [2, 3]
            assert one.member == listed.members[0]


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("is_linked", [True, False], ids=["linked app", "own app"])
@pytest.mark.parametrize(
    ("rights", "gets"),
    [
        (("read_directory",), False),
        (("read_directory", "manage_directory"), False),
        (("read_directory", "read_contact_details"), True),
    ],
)
async def test_apps_get_contact_details_where_the_link_and_the_right_allow_it(
    link: Link,
    directory_pool: Pool,
    shares: bool,
    is_linked: bool,
    rights: Sequence[str],
    gets: bool,
) -> None:
    """Neither what the link shares nor the app's right is enough by itself."""
    async with directory_pool.acquire() as connection:
        await connection.execute(
            """
            UPDATE directory.members
               SET mobile = '13800000001', email = 'an@example.com', avatar_media_id = 'picture'
             WHERE corp_id = $1 AND user_id = 'an'
            """,
            link.upper.corp_id,
        )
    await link.share(departments(2, mobile=shares, email=shares))
    app = linked_app(link, rights)
    if not is_linked:
        app = link.lower.tokens.app(link.lower.corp_id, "1000002", rights=rights)

    one = await call(
        link.stub.GetLinkedMember,
        linked_corp_service_pb2.GetLinkedMemberRequest(link_id=link.link_id, user_id="an"),
        app,
    )

    assert one.member.name
    is_shown = shares and gets
    assert (bool(one.member.mobile), bool(one.member.email)) == (is_shown, is_shown)
    assert bool(one.member.avatar_media_id) is gets


async def test_linked_app_finds_nothing_outside_of_its_corp_and_link(
    link: Link, make_corp: Callable[[], Awaitable[Corp]]
) -> None:
    await link.share(WHOLE)
    stranger = await make_corp()
    other = Link(link.stub, link.broker, stranger, link.lower)
    await other.publish(WHOLE)

    async def has_both() -> bool:
        return len(await link.list_links(link.lower)) == 2

    await eventually(has_both)
    for corp_id, link_id, reason in (
        (link.lower.corp_id, "", "CORP_NOT_FOUND"),
        (stranger.corp_id, "", "CORP_NOT_FOUND"),
        ("", other.link_id, "LINK_NOT_FOUND"),
        ("", str(uuid.uuid4()), "LINK_NOT_FOUND"),
    ):
        error = await refusal(
            link.stub.ListLinkedMembers,
            linked_corp_service_pb2.ListLinkedMembersRequest(corp_id=corp_id, link_id=link_id),
            linked_app(link),
        )
        assert (error.code.name, error.reason) == ("NOT_FOUND", reason)


async def test_linked_app_does_nothing_but_read_over_its_link(
    link: Link, channel: grpc.aio.Channel
) -> None:
    await link.share(WHOLE)
    directory = directory_service_pb2_grpc.DirectoryServiceStub(channel)

    for method, request in (
        (link.stub.ListLinkedCorps, linked_corp_service_pb2.ListLinkedCorpsRequest()),
        (directory.ListMembers, directory_service_pb2.ListMembersRequest()),
        (directory.GetMember, directory_service_pb2.GetMemberRequest(user_id="an")),
    ):
        error = await refusal(method, request, linked_app(link))
        assert (error.code.name, error.reason) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")
    error = await refusal(
        link.stub.ListLinkedMembers,
        linked_corp_service_pb2.ListLinkedMembersRequest(),
        linked_app(link, rights=()),
    )
    assert error.reason == "CALLER_NOT_ALLOWED"


def linked_app(link: Link, rights: Sequence[str] = ("read_directory",)) -> str:
    """Return the token of an app of the lower corp, which the link lets into the upper one."""
    upper, lower = link.corps
    return upper.tokens.linked_app(upper.corp_id, lower.corp_id, link.link_id, rights=rights)


async def test_shared_members_are_listed_page_by_page(link: Link) -> None:
    await link.share(WHOLE)
    request = linked_corp_service_pb2.ListLinkedMembersRequest(link_id=link.link_id, page_size=2)
    found = []

    while True:
        page = await call(link.stub.ListLinkedMembers, request, link.token)
        found.append([each.user_id for each in page.members])
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break

    assert found == [["an", "bo"], ["boss", "chen"], ["du"]]


@pytest.mark.parametrize(
    ("closing", "state", "opening"),
    [
        ("corp_suspended", identity_pb2.CORP_STATE_SUSPENDED, "corp_resumed"),
        ("corp_deletion_requested", identity_pb2.CORP_STATE_DELETING, "corp_updated"),
    ],
)
async def test_corp_that_is_not_active_is_read_by_no_partner(
    link: Link, closing: str, state: identity_pb2.CorpState.ValueType, opening: str
) -> None:
    await link.share(departments(2))
    members = linked_corp_service_pb2.ListLinkedMembersRequest(link_id=link.link_id)
    reads = (
        (link.stub.ListLinkedMembers, members),
        (
            link.stub.ListLinkedDepartments,
            linked_corp_service_pb2.ListLinkedDepartmentsRequest(link_id=link.link_id),
        ),
        (
            link.stub.GetLinkedMember,
            linked_corp_service_pb2.GetLinkedMemberRequest(link_id=link.link_id, user_id="an"),
        ),
    )

    async def is_refused() -> bool:
        try:
            await call(link.stub.ListLinkedMembers, members, link.token)
        except TielineError as error:
            return error.reason == "LINKED_CORP_NOT_ACTIVE"
        return False

    async def is_read() -> bool:
        return not await is_refused()

    # Delivered twice, as any event may be.
    event_id = new_uuid7()
    for _ in range(2):
        await publish_corp(link, closing, state, event_id)
    await eventually(is_refused)
    assert await link.find_share() == departments()
    refused = [
        await refusal(method, request, token)
        for method, request in reads
        for token in (link.token, linked_app(link))
    ]
    await publish_corp(link, opening, identity_pb2.CORP_STATE_ACTIVE)

    await eventually(is_read)
    assert {(error.code.name, error.reason) for error in refused} == {
        ("FAILED_PRECONDITION", "LINKED_CORP_NOT_ACTIVE")
    }
    assert refused[0].metadata == {"corpId": link.upper.corp_id}


async def publish_corp(
    link: Link, name: str, state: identity_pb2.CorpState.ValueType, event_id: str = ""
) -> None:
    """Tell, as identity, what the upper corp has become."""
    corp = identity_pb2.Corp(corp_id=link.upper.corp_id, owner_user_id="boss", state=state)
    event = identity_pb2.CorpUpdated(event_id=event_id or new_uuid7(), corp=corp)
    subject = f"tieline.identity.v1.{name}"
    await publish_event(link.broker, subject, link.upper.corp_id, event)


# Departments 2 to 6, each with the parent that it has; the departments that each member is in.
trees = st.lists(st.integers(0, 3), min_size=5, max_size=5)
placements = st.lists(st.sets(st.integers(1, 6), min_size=1, max_size=3), max_size=5)
shares = st.builds(
    Share,
    st.sampled_from(ShareScope),
    st.frozensets(st.integers(1, 7), max_size=3),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=trees, places=placements, share=shares)
async def test_no_query_shows_anything_beyond_the_share(
    tree: list[int], places: list[set[int]], share: Share, directory_pool: Pool
) -> None:
    writer = Writer(directory_pool, new_corp_id())
    await writer.create_corp()
    ways = {1: frozenset({1})}
    for department_id, choice in enumerate(tree, start=2):
        parent = 1 + choice % len(ways)
        await writer.put_department(department_id, "D", parent)
        ways[department_id] = ways[parent] | {department_id}
    for number, ids in enumerate(places):
        await writer.put_member(f"m{number}", "M", min(ids))
        await writer.place_member(f"m{number}", sorted(ids))

    viewer = Viewer(writer.corp_id, is_unlimited=True)
    async with directory_pool.acquire() as connection:
        seen = await linked_corps.list_shared_department_ids(connection, writer.corp_id, share)
        listed = await linked_corps.list_departments(
            connection, writer.corp_id, seen, after=0, limit=100
        )
        member_ids = await linked_corps.list_member_ids(
            connection, writer.corp_id, seen, viewer, after="", limit=100
        )
        found = await linked_corps.find_members(
            connection, writer.corp_id, seen, viewer, [f"m{number}" for number in range(5)]
        )

    shared = {department_id for department_id, way in ways.items() if share.covers(way)}
    assert {each.department_id for each in listed} == shared == set(seen)
    assert {each.parent_department_id for each in listed} <= shared | {0}
    expected = {
        f"m{number}": sorted(ids & shared) for number, ids in enumerate(places) if ids & shared
    }
    assert {user_id: list(each.department_ids) for user_id, each in found.items()} == expected
    assert member_ids == sorted(expected)
