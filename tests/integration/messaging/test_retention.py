"""Messages go by months; what other corps keep and what is held stays."""

import asyncio
from collections.abc import Callable

import asyncpg
import grpc
import pytest
from nats.aio.client import Client

from engines import Database
from fakes.eventually import eventually
from fakes.tokens import TestTokens
from integration.messaging.chat import Corp, Person, new_id
from integration.messaging.compliance import GROUP, LATER, Desk, count, read_audit
from tieline.api.messaging.v1 import compliance_service_pb2 as compliance_pb2
from tieline.api.messaging.v1 import compliance_service_pb2_grpc
from tieline.chassis.postgres import Pool, transaction
from tieline.client.errors import TielineError
from tieline.messaging.compliance.retention_upkeep import (
    apply_retention,
    forget_terms,
    remove_released,
)


@pytest.fixture
def auditor(replica_channels: list[grpc.aio.Channel], tokens: TestTokens) -> Callable[[Corp], Desk]:
    stub = compliance_service_pb2_grpc.ComplianceServiceStub(replica_channels[1])
    return lambda corp: Desk(stub, tokens.member(corp.corp_id, "auditor", roles=("auditor",)))


async def say(person: Person, conversation_id: str, count: int) -> None:
    for number in range(count):
        await person.send(conversation_id, f"message {number}")


async def refused(call: object) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call  # type: ignore[misc]
    return TielineError.from_rpc_error(raised.value).reason


async def test_expired_messages_go_and_all_others_stay(
    corp: Corp,
    new_corp: Callable[[], Corp],
    officer: Callable[[Corp], Desk],
    pool: Pool,
) -> None:
    li_wei, other = corp.member("li.wei"), new_corp().member("li.wei")
    group = await li_wei.create_group("zhang.san")
    pair = await li_wei.create_direct("zhang.san")
    elsewhere = await other.create_group("zhang.san")
    for person, conversation in ((li_wei, group), (li_wei, pair), (other, elsewhere)):
        await say(person, conversation, 3)
    kept = [await li_wei.list_messages(pair), await other.list_messages(elsewhere)]
    await officer(corp).keep(90)

    removed = await apply_retention(pool, at=LATER)

    assert removed == 3
    gone = await li_wei.list_messages(group)
    assert (list(gone.messages), gone.last_sequence, gone.kept_from_sequence) == ([], 3, 4)
    assert [await li_wei.list_messages(pair), await other.list_messages(elsewhere)] == kept


async def test_numbers_go_on_and_new_messages_say_from_where_they_are_kept(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 3)
    await officer(corp).keep(90)
    await apply_retention(pool, at=LATER)

    sent = await li_wei.send(group, "new")

    assert sent.sequence == 4
    listed = await li_wei.list_messages(group)
    assert list(listed.messages) == [sent]
    assert listed.kept_from_sequence == 4
    assert (await li_wei.list_messages(group, after=3)).kept_from_sequence == 0


async def test_applying_again_changes_nothing_until_another_month_is_due(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await officer(corp).keep(90)
    await apply_retention(pool, at=LATER)
    await li_wei.send(group, "of a month that is done")

    assert await apply_retention(pool, at=LATER) == 0
    assert (await li_wei.list_messages(group)).last_sequence == 1
    policies = {each.conversation_kind: each for each in await officer(corp).policies()}
    assert policies[GROUP].HasField("applied_until_time")


async def test_policy_holds_a_day_after_it_was_set_and_longer_ones_later(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 2)
    await officer(corp).keep(365)

    assert await apply_retention(pool, at=LATER) == 0
    assert await apply_retention(pool) == 0

    assert len((await li_wei.list_messages(group)).messages) == 2


@pytest.mark.parametrize("scope", ["corp", "conversation", "sender", "reader"])
async def test_held_messages_are_kept_from_going_and_not_shown(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool, scope: str
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    other = await li_wei.create_group("wang.fang")
    await say(li_wei, group, 3)
    await say(corp.member("wang.fang"), other, 2)
    targets = {
        "corp": (compliance_pb2.LEGAL_HOLD_SCOPE_CORP, "", 3, 2),
        "conversation": (compliance_pb2.LEGAL_HOLD_SCOPE_CONVERSATION, group, 3, 0),
        "sender": (compliance_pb2.LEGAL_HOLD_SCOPE_MEMBER, "Wang.Fang", 0, 2),
        "reader": (compliance_pb2.LEGAL_HOLD_SCOPE_MEMBER, "zhang.san", 3, 0),
    }
    kind, target_id, of_group, of_other = targets[scope]
    desk = officer(corp)
    hold = await desk.hold(kind, target_id)
    await desk.keep(90)

    assert await apply_retention(pool, at=LATER) == 5

    assert await count(pool, "held_messages", group) == of_group
    assert await count(pool, "held_messages", other) == of_other
    assert list((await li_wei.list_messages(group)).messages) == []

    assert await remove_released(pool) == 0
    await desk.release(hold.hold_id)
    await remove_released(pool)
    assert await count(pool, "held_messages", group) == 0
    assert await count(pool, "held_messages", other) == 0


async def waits(pool: Pool, what: str) -> bool:
    """Tell whether somebody waits for an advisory lock, or for a table of that name."""
    async with pool.acquire() as connection:
        found: bool = await connection.fetchval(
            """
            SELECT EXISTS (
                SELECT
                  FROM pg_locks
                  LEFT JOIN pg_class ON pg_class.oid = relation
                 WHERE NOT granted AND (locktype = $1 OR relname = $1)
            )
            """,
            what,
        )
    return found


async def test_hold_that_is_acknowledged_before_messages_go_keeps_them(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 2)
    desk = officer(corp)
    await desk.keep(90)

    async with transaction(pool) as connection:
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('tieline.messaging.message_parts', 0))"
        )
        removing = asyncio.create_task(apply_retention(pool, at=LATER))
        await eventually(lambda: waits(pool, "advisory"))
        await desk.hold(compliance_pb2.LEGAL_HOLD_SCOPE_CORP)

    assert await removing == 2
    assert await count(pool, "held_messages", group) == 2


async def test_hold_that_comes_while_messages_go_is_acknowledged_once_they_are_gone(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 2)
    desk = officer(corp)
    await desk.keep(90)

    async with transaction(pool) as connection:
        part = await connection.fetchval(
            "SELECT tableoid::regclass::text FROM messaging.stored_messages"
            " WHERE conversation_id = $1",
            group,
        )
        await connection.execute(f"LOCK TABLE {part} IN ROW EXCLUSIVE MODE")
        removing = asyncio.create_task(apply_retention(pool, at=LATER))
        await eventually(lambda: waits(pool, part.removeprefix("messaging.")))
        holding = asyncio.create_task(desk.hold(compliance_pb2.LEGAL_HOLD_SCOPE_CORP))
        await eventually(lambda: waits(pool, "legal_holds"))
        assert not holding.done()

    assert await removing == 2
    assert (await holding).hold_id
    assert await count(pool, "held_messages", group) == 0


async def test_two_replicas_at_once_remove_once(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 3)
    await officer(corp).keep(90)

    removed = await asyncio.gather(*(apply_retention(pool, at=LATER) for _ in range(3)))

    assert sum(removed) == 3


async def test_part_that_took_the_place_is_like_every_other(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool, messaging_database: Database
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    await say(li_wei, group, 1)
    await officer(corp).keep(90)
    await apply_retention(pool, at=LATER)

    connection = await asyncpg.connect(messaging_database.admin_dsn)
    try:
        parts = await connection.fetch(
            """
            SELECT part.relname, pg_get_expr(part.relpartbound, part.oid) AS bounds,
                   pg_get_userbyid(part.relowner) AS owner,
                   has_table_privilege('tieline_messaging', part.oid, 'INSERT') AS usable,
                   (SELECT count(*) FROM pg_index WHERE indrelid = part.oid) AS indexes,
                   (SELECT count(*) FROM pg_trigger
                     WHERE tgrelid = part.oid AND tgname = 'stored_messages_keep_version') AS kept,
                   (SELECT count(*) FROM pg_constraint
                     WHERE conrelid = part.oid AND conname = 'within_bounds') AS checks
              FROM pg_inherits
              JOIN pg_class AS part ON part.oid = inhrelid
             WHERE inhparent = 'messaging.stored_messages'::regclass
             ORDER BY part.relname
            """
        )
    finally:
        await connection.close()
    young = next(part for part in parts if part["relname"].startswith("stored_messages_2"))
    replaced = [part for part in parts if part["relname"].startswith("stored_messages_to_")]
    assert replaced
    for part in replaced:
        assert (part["owner"], part["usable"]) == (young["owner"], True)
        assert (part["indexes"], part["kept"], part["checks"]) == (young["indexes"], 1, 0)


async def test_repeated_settings_change_nothing(
    corp: Corp, officer: Callable[[Corp], Desk]
) -> None:
    desk = officer(corp)
    request_id = new_id()

    assert await desk.keep(90) == await desk.keep(90)
    first, again = [
        await desk.hold(compliance_pb2.LEGAL_HOLD_SCOPE_CORP, request_id=request_id)
        for _ in range(2)
    ]
    assert again == first
    released = await desk.release(first.hold_id)
    assert await desk.release(first.hold_id) == released
    assert (await desk.keep(0)).keep_days == (await desk.keep(0)).keep_days == 0
    assert [each.keep_days for each in await desk.policies()] == [0, 0, 0, 0]


async def test_holds_are_listed_the_newest_first(
    corp: Corp, officer: Callable[[Corp], Desk], auditor: Callable[[Corp], Desk]
) -> None:
    desk = officer(corp)
    made = [await desk.hold(compliance_pb2.LEGAL_HOLD_SCOPE_CORP) for _ in range(3)]

    first = await auditor(corp).holds(page_size=2)
    rest = await auditor(corp).holds(page_size=2, page_token=first.next_page_token)

    assert [*first.holds, *rest.holds] == made[::-1]
    assert rest.next_page_token == ""


async def test_who_may_what(
    corp: Corp,
    auditor: Callable[[Corp], Desk],
    replica_channels: list[grpc.aio.Channel],
    tokens: TestTokens,
) -> None:
    stub = compliance_service_pb2_grpc.ComplianceServiceStub(replica_channels[0])
    nobody = Desk(stub, tokens.member(corp.corp_id, "li.wei"))
    limited = Desk(
        stub,
        tokens.limited_administrator(
            corp.corp_id, rights=["manage_compliance", "read_compliance"], departments=[2]
        ),
    )

    assert len(await auditor(corp).policies()) == 4
    assert await refused(auditor(corp).keep(90)) == "CALLER_NOT_ALLOWED"
    assert await refused(nobody.policies()) == "CALLER_NOT_ALLOWED"
    assert await refused(limited.keep(90)) == "OUT_OF_RANGE"
    assert await refused(limited.policies()) == "OUT_OF_RANGE"


async def test_what_is_done_stands_in_the_audit_log(
    corp: Corp, officer: Callable[[Corp], Desk], admin_broker: Client
) -> None:
    desk = officer(corp)
    await desk.keep(90)
    hold = await desk.hold(compliance_pb2.LEGAL_HOLD_SCOPE_CORP)
    await desk.release(hold.hold_id)

    entries = await read_audit(admin_broker, corp.corp_id, 3)

    assert [(each.action, each.resource) for each in entries] == [
        ("messaging.retention_policy.set", "retentionPolicies/group"),
        ("messaging.legal_hold.create", f"legalHolds/{hold.hold_id}"),
        ("messaging.legal_hold.release", f"legalHolds/{hold.hold_id}"),
    ]


async def test_unknown_hold_and_conversation_are_not_found(
    corp: Corp, new_corp: Callable[[], Corp], officer: Callable[[Corp], Desk]
) -> None:
    elsewhere = new_corp()
    foreign = await officer(elsewhere).hold(compliance_pb2.LEGAL_HOLD_SCOPE_CORP)
    conversation = await elsewhere.member("li.wei").create_group("zhang.san")
    desk = officer(corp)

    for hold_id in (foreign.hold_id, new_id(), "x"):
        assert await refused(desk.release(hold_id)) == "LEGAL_HOLD_NOT_FOUND"
    scope = compliance_pb2.LEGAL_HOLD_SCOPE_CONVERSATION
    assert await refused(desk.hold(scope, conversation)) == "CONVERSATION_NOT_FOUND"


async def test_what_is_gone_leaves_no_words_to_be_found_by(
    corp: Corp, officer: Callable[[Corp], Desk], pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    pair = await li_wei.create_direct("zhang.san")
    for conversation in (group, pair):
        await say(li_wei, conversation, 2)

    async def are_searchable() -> bool:
        return (
            await count(pool, "searchable_messages", pair)
            == 2
            == await count(pool, "searchable_messages", group)
        )

    await eventually(are_searchable)
    await officer(corp).keep(90)
    await apply_retention(pool, at=LATER)

    await forget_terms(pool)

    assert await count(pool, "searchable_messages", group) == 0
    assert await count(pool, "searchable_messages", pair) == 2
