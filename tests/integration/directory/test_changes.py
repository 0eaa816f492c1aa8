"""Listing and watching changes, over a real channel."""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from nats.aio.client import Client

from calls import call, refusal
from fakes.app_ranges import FakeAppRanges
from fakes.directory_copy import DirectoryCopy
from fakes.directory_corps import Corp, publish_event
from fakes.directory_writes import Writer
from fakes.eventually import eventually
from fakes.tokens import TestTokens
from tieline.api.directory.v1 import change_pb2, change_service_pb2, change_service_pb2_grpc
from tieline.api.identity.v1 import app_pb2
from tieline.chassis.errors import ResourceExhaustedError
from tieline.chassis.ids import new_corp_id, new_uuid7
from tieline.chassis.page_tokens import PageTokens
from tieline.chassis.postgres import Pool
from tieline.client.errors import TielineError
from tieline.directory.changes.feed import ChangesFeed
from tieline.directory.changes.hub import MAX_WATCHES, ChangesHub
from tieline.directory.changes.purge import purge

Stub = change_service_pb2_grpc.ChangeServiceStub

WATCH_TIMEOUT_S = 20
A_MONTH = dt.timedelta(days=30)


@pytest.fixture(scope="session")
async def changes_stub(start_service: Callable[[str], Awaitable[grpc.aio.Channel]]) -> Stub:
    return Stub(await start_service("directory"))


@pytest.fixture
def writer(corp: Corp, directory_pool: Pool) -> Writer:
    return Writer(directory_pool, corp.corp_id)


def owner(corp: Corp) -> str:
    return corp.tokens.administrator(corp.corp_id)


async def read(
    stub: Stub, corp: Corp, cursor: str = "", *, page_size: int = 0
) -> change_service_pb2.ListChangesResponse:
    request = change_service_pb2.ListChangesRequest(cursor=cursor, page_size=page_size)
    return await call(stub.ListChanges, request, owner(corp))


def begin_watch(
    stub: Stub, token: str, cursor: str = ""
) -> grpc.aio.UnaryStreamCall[
    change_service_pb2.WatchChangesRequest, change_service_pb2.WatchChangesResponse
]:
    return stub.WatchChanges(
        change_service_pb2.WatchChangesRequest(cursor=cursor),
        metadata=(("authorization", f"Bearer {token}"),),
        timeout=WATCH_TIMEOUT_S,
    )


async def test_empty_cursor_gives_everything_that_there_is(
    changes_stub: Stub, corp: Corp, writer: Writer
) -> None:
    await writer.put_department(2, "East")
    await writer.put_member("li", "Li Na", 2)
    await writer.put_member("gone", "Gone")
    await writer.leave("gone")

    response = await read(changes_stub, corp)

    [root, boss, east, li] = response.changes
    assert (root.department.department_id, boss.member.user_id) == (1, "boss")
    assert (east.department.name, east.department.parent_department_id) == ("East", 1)
    assert (li.member.name, li.member.department_id) == ("Li Na", 2)
    assert not response.has_more


async def test_cursor_gives_what_changed_since_and_nothing_else(
    changes_stub: Stub, corp: Corp, writer: Writer
) -> None:
    await writer.put_member("li", "Li Na")
    await writer.put_tag(1, "new")
    first = await read(changes_stub, corp)

    await writer.delete_tag(1)
    await writer.put_member("li", "Li Fang")
    await writer.put_member("li", "Li Hua")
    second = await read(changes_stub, corp, first.next_cursor)
    third = await read(changes_stub, corp, second.next_cursor)

    [removal, change] = second.changes
    assert removal.removal == change_pb2.Removal(tag_id=1)
    assert change.member.name == "Li Hua"
    assert (list(third.changes), third.has_more) == ([], False)


async def test_pages_together_are_the_whole(changes_stub: Stub, corp: Corp, writer: Writer) -> None:
    for number in range(5):
        await writer.put_member(f"m{number}", "M")
    copy, cursor, sizes = DirectoryCopy(), "", []

    while True:
        page = await read(changes_stub, corp, cursor, page_size=3)
        copy.apply(page.changes)
        cursor = page.next_cursor
        sizes.append(len(page.changes))
        if not page.has_more:
            break

    assert sizes == [3, 3, 1]
    assert copy.state == await writer.read_state()


async def test_cursor_of_another_corp_is_refused(
    changes_stub: Stub, corp: Corp, other_corp: Corp
) -> None:
    others = await read(changes_stub, other_corp)

    for cursor in (others.next_cursor, "made-up", "é"):
        error = await refusal(
            changes_stub.ListChanges,
            change_service_pb2.ListChangesRequest(cursor=cursor),
            owner(corp),
        )

        assert (error.code, error.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "CURSOR_INVALID",
        )
        assert list(error.violations) == ["cursor"]


async def test_cursor_whose_removals_are_forgotten_is_told_to_take_a_snapshot(
    changes_stub: Stub, corp: Corp, writer: Writer, directory_pool: Pool
) -> None:
    await writer.put_tag(1, "tag")
    old = await read(changes_stub, corp)
    begun = await read(changes_stub, corp, page_size=1)
    await writer.delete_tag(1)
    fresh = await read(changes_stub, corp)

    while await purge(directory_pool, -A_MONTH, limit=1):
        pass

    for cursor in (old.next_cursor, begun.next_cursor):
        error = await refusal(
            changes_stub.ListChanges,
            change_service_pb2.ListChangesRequest(cursor=cursor),
            owner(corp),
        )
        assert (error.code, error.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "CURSOR_TOO_OLD",
        )
    assert list((await read(changes_stub, corp, fresh.next_cursor)).changes) == []


async def test_removals_within_the_retention_are_kept(
    changes_stub: Stub, corp: Corp, writer: Writer, directory_pool: Pool
) -> None:
    await writer.put_tag(1, "tag")
    before = await read(changes_stub, corp)
    await writer.delete_tag(1)

    await purge(directory_pool, A_MONTH, limit=100)

    response = await read(changes_stub, corp, before.next_cursor)
    assert [change.removal.tag_id for change in response.changes] == [1]


async def test_cursor_from_before_a_restored_backup_is_refused(
    changes_stub: Stub, corp: Corp, writer: Writer
) -> None:
    await writer.put_member("li", "Li Na")
    ahead = await read(changes_stub, corp)
    async with writer.pool.acquire() as connection:
        await connection.execute(
            "UPDATE directory.corps SET last_change_number = 2 WHERE corp_id = $1", corp.corp_id
        )

    error = await refusal(
        changes_stub.ListChanges,
        change_service_pb2.ListChangesRequest(cursor=ahead.next_cursor),
        owner(corp),
    )

    assert error.reason == "CURSOR_TOO_OLD"


def claims(corp: Corp, **more: Any) -> dict[str, Any]:
    return {"kind": "member", "corp": corp.corp_id, "sub": "somebody", "name": "", **more}


SYNCING_APP = {"kind": "app", "rights": ["read_directory", "manage_directory"]}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        pytest.param({"roles": []}, "CALLER_NOT_ALLOWED", id="a member"),
        pytest.param({"roles": ["auditor"]}, "", id="an auditor"),
        pytest.param(
            {"roles": ["administrator"], "rights": ["manage_directory"]}, "", id="administrator"
        ),
        pytest.param(
            {"roles": ["administrator"], "rights": ["manage_directory"], "departments": [2]},
            "OUT_OF_RANGE",
            id="administrator of a department",
        ),
        pytest.param(
            {"roles": ["administrator"], "rights": ["manage_apps"]},
            "CALLER_NOT_ALLOWED",
            id="administrator of something else",
        ),
        pytest.param(
            {"kind": "app", "rights": ["read_directory"]}, "CALLER_NOT_ALLOWED", id="reading app"
        ),
        pytest.param(
            {**SYNCING_APP, "sub": "1000002"},
            "",
            id="syncing app",
        ),
        pytest.param({**SYNCING_APP, "sub": "1000003"}, "OUT_OF_RANGE", id="app of a department"),
    ],
)
async def test_the_feed_is_for_those_who_see_the_whole_corp(
    changes_stub: Stub,
    corp: Corp,
    tokens: TestTokens,
    app_ranges: FakeAppRanges,
    more: dict[str, Any],
    reason: str,
) -> None:
    app_ranges.ranges[(corp.corp_id, 1000003)] = app_pb2.AppRange(department_ids=[2])
    token = tokens.sign(claims(corp, **more))
    request = change_service_pb2.ListChangesRequest()

    if reason:
        assert (await refusal(changes_stub.ListChanges, request, token)).reason == reason
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await begin_watch(changes_stub, token).read()
        assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    else:
        assert len((await call(changes_stub.ListChanges, request, token)).changes) == 2


async def test_watch_sends_what_is_there_and_then_each_change_as_it_is_committed(
    changes_stub: Stub, corp: Corp, writer: Writer
) -> None:
    watch = begin_watch(changes_stub, owner(corp))
    first = await watch.read()

    await writer.put_member("li", "Li Na")
    await writer.announce()
    second = await watch.read()
    watch.cancel()

    assert isinstance(first, change_service_pb2.WatchChangesResponse)
    assert isinstance(second, change_service_pb2.WatchChangesResponse)
    assert (len(first.changes), first.has_more) == (2, False)
    assert [change.member.user_id for change in second.changes] == ["li"]
    assert list((await read(changes_stub, corp, second.next_cursor)).changes) == []


async def test_watch_of_an_app_ends_when_the_directory_hears_of_a_smaller_range(
    changes_stub: Stub,
    corp: Corp,
    writer: Writer,
    app_ranges: FakeAppRanges,
    identity_broker: Client,
) -> None:
    """Though it was opened after the change, by a range that was not the app's any more."""
    token = corp.tokens.sign(claims(corp, **SYNCING_APP, sub="1000004"))
    request = change_service_pb2.ListChangesRequest()
    await call(changes_stub.ListChanges, request, token)
    app_ranges.ranges[corp.corp_id, 1000004] = app_pb2.AppRange(department_ids=[2])
    watch = begin_watch(changes_stub, token)
    first = await watch.read()
    assert isinstance(first, change_service_pb2.WatchChangesResponse)
    now = first.next_cursor

    event = app_pb2.AppChanged(
        event_id=new_uuid7(), app=app_pb2.App(corp_id=corp.corp_id, agent_id=1000004)
    )
    await publish_event(identity_broker, "tieline.identity.v1.app_changed", corp.corp_id, event)
    await eventually(lambda: is_refused(changes_stub, now, token))
    await writer.put_member("li", "Li Na")
    await writer.announce()

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await watch.read()
    assert TielineError.from_rpc_error(raised.value).reason == "OUT_OF_RANGE"


async def is_refused(stub: Stub, cursor: str, token: str) -> bool:
    try:
        await call(stub.ListChanges, change_service_pb2.ListChangesRequest(cursor=cursor), token)
    except TielineError:
        return True
    return False


async def test_watch_answers_at_once_where_nothing_changed(changes_stub: Stub, corp: Corp) -> None:
    now = await read(changes_stub, corp)

    watch = begin_watch(changes_stub, owner(corp), now.next_cursor)
    first = await watch.read()
    watch.cancel()

    assert isinstance(first, change_service_pb2.WatchChangesResponse)
    assert (list(first.changes), bool(first.next_cursor)) == ([], True)


async def make_watched_corp(pool: Pool) -> Writer:
    writer = Writer(pool, new_corp_id())
    await writer.create_corp()
    return writer


async def test_change_whose_event_was_lost_is_sent_at_the_next_heartbeat(
    directory_pool: Pool, admin_broker: Client
) -> None:
    writer = await make_watched_corp(directory_pool)
    feed = ChangesFeed(directory_pool, PageTokens(b"key"))
    # Its connection hears of no event of this test: none is published.
    async with ChangesHub(admin_broker, feed, heartbeat_interval_s=0.05) as hub:
        pages = hub.watch((writer.corp_id, "somebody"), None)
        await anext(pages)
        heartbeat = await anext(pages)
        await writer.put_tag(1, "tag")

        page = heartbeat
        while not page.changes:
            page = await anext(pages)
        await pages.aclose()

    assert heartbeat.changes == []
    assert [change.tag.tag_id for change in page.changes] == [1]


async def test_one_caller_can_not_hold_all_streams(
    directory_pool: Pool, admin_broker: Client
) -> None:
    writer = await make_watched_corp(directory_pool)
    feed = ChangesFeed(directory_pool, PageTokens(b"key"))
    hub = ChangesHub(admin_broker, feed)
    watcher = (writer.corp_id, "somebody")
    held = [hub.watch(watcher, None) for _ in range(MAX_WATCHES)]
    for each in held:
        await anext(each)

    with pytest.raises(ResourceExhaustedError) as raised:
        await anext(hub.watch(watcher, None))
    await held.pop().aclose()
    await anext(hub.watch((writer.corp_id, "another"), None))
    freed = await anext(hub.watch(watcher, None))

    assert raised.value.reason == "TOO_MANY_WATCHES"
    assert len(freed.changes) == 1


async def test_slow_reader_is_sent_the_latest_state_once(
    directory_pool: Pool, admin_broker: Client
) -> None:
    writer = await make_watched_corp(directory_pool)
    hub = ChangesHub(admin_broker, ChangesFeed(directory_pool, PageTokens(b"key")))
    pages = hub.watch((writer.corp_id, "somebody"), None)
    await anext(pages)

    for name in ("a", "b", "c"):
        await writer.put_tag(1, name)
    hub.wake(writer.corp_id)
    page = await anext(pages)
    await pages.aclose()

    assert [change.tag.name for change in page.changes] == ["1 c"]
