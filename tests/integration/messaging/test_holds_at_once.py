"""Holds that are set while people leave and messages go: real transactions, in either order."""

import asyncio
from collections.abc import Callable

import pytest

from fakes.eventually import eventually
from integration.messaging.chat import Corp
from integration.messaging.compliance import LATER, Desk, count
from integration.messaging.groups import Groups
from integration.messaging.test_retention import say, waits
from tieline.api.messaging.v1 import compliance_service_pb2 as compliance_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Pool, transaction
from tieline.messaging.compliance.retention import HoldScope, NewHold
from tieline.messaging.compliance.retention_upkeep import apply_retention, remove_released
from tieline.messaging.conversations.rules import member
from tieline.messaging.repositories.groups import GroupRepository
from tieline.messaging.repositories.retention import RetentionRepository

MEMBER = compliance_pb2.LEGAL_HOLD_SCOPE_MEMBER
CORP = compliance_pb2.LEGAL_HOLD_SCOPE_CORP

OfficerOf = Callable[[Corp], Desk]


async def test_who_leaves_takes_no_hold_along(
    corp: Corp, officer: OfficerOf, groups: Groups, pool: Pool
) -> None:
    """Neither before the messages go nor after; and the hold's release still lets them go."""
    li_wei = corp.member("li.wei")
    before, after = [await li_wei.create_group("zhang.san") for _ in range(2)]
    for group in (before, after):
        await say(li_wei, group, 2)
    desk = officer(corp)
    hold = await desk.hold(MEMBER, "zhang.san")
    await desk.keep(90)

    await groups.remove(li_wei, before, "zhang.san")
    await apply_retention(pool, at=LATER)
    await groups.remove(li_wei, after, "zhang.san")
    await remove_released(pool)

    # With the note that he left.
    assert [await count(pool, "held_messages", group) for group in (before, after)] == [3, 2]
    await desk.release(hold.hold_id)
    await remove_released(pool)
    assert [await count(pool, "held_messages", group) for group in (before, after)] == [0, 0]


async def test_who_left_before_a_hold_is_not_held_there(
    corp: Corp, officer: OfficerOf, groups: Groups, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 2)
    desk = officer(corp)
    await groups.remove(li_wei, group, "zhang.san")
    await desk.hold(MEMBER, "zhang.san")
    await desk.keep(90)

    await apply_retention(pool, at=LATER)

    assert await count(pool, "held_messages", group) == 0


async def test_leave_that_comes_while_a_hold_is_set_waits_and_keeps_it(
    corp: Corp, officer: OfficerOf, groups: Groups, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 2)
    await officer(corp).keep(90)

    async with transaction(pool) as connection:
        hold = NewHold(HoldScope.MEMBER, "zhang.san", "case 8")
        await RetentionRepository(connection).insert_hold(corp.corp_id, new_uuid7(), hold)
        leaving = asyncio.create_task(groups.remove(li_wei, group, "zhang.san"))
        await eventually(lambda: waits(pool, "transactionid"))
    assert await leaving == ["zhang.san"]

    await apply_retention(pool, at=LATER)
    assert await count(pool, "held_messages", group) == 3  # the note that he left, too


async def test_hold_that_comes_while_its_member_leaves_is_acknowledged_once_he_has_left(
    corp: Corp, officer: OfficerOf, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 2)
    desk = officer(corp)
    await desk.keep(90)

    async with transaction(pool) as connection:
        await GroupRepository(connection).delete_participants(
            (corp.corp_id, group), [member("zhang.san")]
        )
        holding = asyncio.create_task(desk.hold(MEMBER, "zhang.san"))
        await eventually(lambda: waits(pool, "transactionid"))
        assert not holding.done()
    assert (await holding).hold_id

    await apply_retention(pool, at=LATER)
    assert await count(pool, "held_messages", group) == 0


@pytest.fixture
async def released(corp: Corp, officer: OfficerOf, pool: Pool) -> str:
    """Return a group whose 2 messages were held, and are to go."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 2)
    desk = officer(corp)
    hold = await desk.hold(CORP)
    await desk.keep(90)
    await apply_retention(pool, at=LATER)
    await desk.release(hold.hold_id)
    assert await count(pool, "held_messages", group) == 2
    return group


async def test_released_messages_stay_for_a_hold_that_is_just_being_set(
    corp: Corp, released: str, pool: Pool
) -> None:
    async with transaction(pool) as connection:
        hold = NewHold(HoldScope.CORP, "", "case 8")
        await RetentionRepository(connection).insert_hold(corp.corp_id, new_uuid7(), hold)
        removing = asyncio.create_task(remove_released(pool))
        await eventually(lambda: removing.done() or waits(pool, "legal_holds"))

    await removing
    assert await count(pool, "held_messages", released) == 2


async def test_hold_is_acknowledged_once_released_messages_that_just_go_are_gone(
    corp: Corp, released: str, officer: OfficerOf, pool: Pool
) -> None:
    async with transaction(pool) as connection:
        assert await RetentionRepository(connection).delete_released(maximum_rows=1000) == 2
        holding = asyncio.create_task(officer(corp).hold(CORP))
        await eventually(lambda: holding.done() or waits(pool, "legal_holds"))
        assert not holding.done()

    assert (await holding).hold_id
    assert await count(pool, "held_messages", released) == 0
