"""Corps that identity says are gone: nobody writes them, and little by little nothing is left."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from nats.aio.client import Client

from engines import Database
from fakes.directory_corps import Corp, publish_corp_created, table
from fakes.directory_writers import Writer
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_pb2, directory_service_pb2, member_service_pb2
from tieline.api.identity.v1 import app_pb2, identity_pb2
from tieline.chassis.health import Health
from tieline.chassis.ids import new_uuid7
from tieline.chassis.message_headers import CORP_ID_HEADER, EVENT_ID_HEADER, KEY_HEADER
from tieline.chassis.postgres import Pool, create_pool, transaction
from tieline.directory.corps_purge import purge
from tieline.directory.repositories.corp_purge import PURGED_TABLES, lock_deleted_corp

KEPT_TABLES = {"corps", "outbox", "handled_events", "dead_letters"}


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    dsn = database.dsn("directory")
    async with create_pool(dsn, service="directory", max_size=2, health=Health()) as pool:
        yield pool


async def publish(broker: Client, name: str, event: Any, corp_id: str) -> None:
    headers = {EVENT_ID_HEADER: event.event_id, CORP_ID_HEADER: corp_id, KEY_HEADER: corp_id}
    subject = f"tieline.identity.v1.{name}"
    await broker.jetstream().publish(subject, event.SerializeToString(), headers=headers)


async def count_rows(pool: Pool, corp_id: str) -> dict[str, int]:
    async with pool.acquire() as connection:
        return {
            name: await connection.fetchval(
                f"SELECT count(*) FROM directory.{name} WHERE corp_id = $1", corp_id
            )
            for name in PURGED_TABLES
        }


async def is_handled(pool: Pool, event_id: str) -> bool:
    async with pool.acquire() as connection:
        return bool(
            await connection.fetchval(
                "SELECT true FROM directory.handled_events WHERE event_id = $1", event_id
            )
        )


async def is_purged(pool: Pool, corp_id: str) -> bool:
    # A corp that a replica is just purging is left to it.
    while await purge(pool, maximum_rows=7):
        pass
    return set((await count_rows(pool, corp_id)).values()) == {0}


async def test_nothing_is_left_of_a_corp_that_is_gone(
    owner: Writer, other_owner: Writer, corp: Corp, identity_broker: Client, pool: Pool
) -> None:
    await corp.import_file(table(*((f"u{n}", "U", f"a/b{n % 3}/c") for n in range(30))))
    leads = directory_pb2.MemberDepartment(department_id=2, leader=True)
    await owner.create_member("li", departments=[leads])
    tag = await owner.create_tag("Early")
    await owner.add_to_tag(tag.tag_id, ["li", "u1"], [2])
    await owner.delete_member("u1")
    await owner.refused(member_service_pb2.GetMemberIdByMobileRequest(mobile="13900000000"))
    others = await other_owner.get_member("boss")

    event = identity_pb2.CorpDeleted(event_id=new_uuid7(), corp_id=corp.corp_id)
    await publish(identity_broker, "corp_deleted", event, corp.corp_id)
    await eventually(lambda: is_handled(pool, event.event_id))
    error = await owner.refused(
        member_service_pb2.CreateMemberRequest(
            member=directory_pb2.Member(user_id="new", name="New")
        )
    )
    await eventually(lambda: is_purged(pool, corp.corp_id))
    assert error.reason == "CORP_NOT_READY"
    assert await other_owner.get_member("boss") == others
    assert (await count_rows(pool, other_owner.corp_id))["departments"] == 1
    created_again = new_uuid7()
    await publish_corp_created(identity_broker, corp.corp_id, event_id=created_again)
    await eventually(lambda: is_handled(pool, created_again))
    assert set((await count_rows(pool, corp.corp_id)).values()) == {0}


async def test_apps_of_a_corp_that_is_gone_leave_nothing_of_themselves(
    owner: Writer, corp: Corp, identity_broker: Client, pool: Pool
) -> None:
    """An event that comes late, and a token that is good for an hour more."""
    app = corp.tokens.app(corp.corp_id, "1000002", rights=("read_directory",))
    gone = identity_pb2.CorpDeleted(event_id=new_uuid7(), corp_id=corp.corp_id)
    await publish(identity_broker, "corp_deleted", gone, corp.corp_id)
    await eventually(lambda: is_handled(pool, gone.event_id))
    await eventually(lambda: is_purged(pool, corp.corp_id))

    late = app_pb2.AppChanged(
        event_id=new_uuid7(), app=app_pb2.App(corp_id=corp.corp_id, agent_id=1000001)
    )
    await publish(identity_broker, "app_changed", late, corp.corp_id)
    await eventually(lambda: is_handled(pool, late.event_id))
    listed = await owner.signed_in_as(app).send(directory_service_pb2.ListMembersRequest())

    assert list(listed.members) == []
    assert (await count_rows(pool, corp.corp_id))["app_ranges"] == 0


async def test_events_of_a_corp_that_is_gone_and_not_purged_are_done_with(
    owner: Writer, corp: Corp, identity_broker: Client, pool: Pool
) -> None:
    """It is gone from tomorrow on, so that the service's own purge leaves its rows there."""
    await owner.create_member("li")
    app = corp.tokens.app(corp.corp_id, "1000002", rights=("read_directory", "manage_directory"))
    await owner.signed_in_as(app).create_tag("Early")
    events: dict[str, Any] = {
        "member_activated": identity_pb2.MemberActivated(
            event_id=new_uuid7(), corp_id=corp.corp_id, user_id="li"
        ),
        "app_deleted": app_pb2.AppDeleted(
            event_id=new_uuid7(), corp_id=corp.corp_id, agent_id=1000002
        ),
    }

    async with pool.acquire() as connection:
        await connection.execute(
            """
            UPDATE directory.corps SET delete_time = now() + interval '1 day' WHERE corp_id = $1
            """,
            corp.corp_id,
        )
    for name, event in events.items():
        await publish(identity_broker, name, event, corp.corp_id)
        await eventually(partial(is_handled, pool, event.event_id))
    counts = await count_rows(pool, corp.corp_id)

    assert (counts["members"], counts["tags"]) == (2, 1)


async def test_two_replicas_purge_different_corps(
    owner: Writer, other_owner: Writer, pool: Pool
) -> None:
    gone = {owner.corp_id, other_owner.corp_id}
    async with pool.acquire() as connection:
        await connection.execute(
            "UPDATE directory.corps SET delete_time = to_timestamp(0) WHERE corp_id = ANY ($1)",
            list(gone),
        )

    async with transaction(pool) as one, transaction(pool) as other:
        found = [await lock_deleted_corp(one), await lock_deleted_corp(other)]

    # None where the service's own purge was faster.
    assert set(found) <= {*gone, None}
    assert None in found or found[0] != found[1]


async def test_purge_knows_every_table_that_has_a_corps_rows(pool: Pool) -> None:
    async with pool.acquire() as connection:
        records = await connection.fetch(
            """
            SELECT table_name
              FROM information_schema.columns
             WHERE table_schema = 'directory' AND column_name = 'corp_id'
            """
        )

    assert {record["table_name"] for record in records} == {*PURGED_TABLES, *KEPT_TABLES}


async def test_owner_who_stays_is_the_one_that_identity_names(
    owner: Writer, identity_broker: Client, pool: Pool
) -> None:
    await owner.create_member("li")
    event = identity_pb2.CorpUpdated(
        event_id=new_uuid7(),
        corp=identity_pb2.Corp(corp_id=owner.corp_id, owner_user_id="Li"),
    )

    await publish(identity_broker, "corp_updated", event, owner.corp_id)
    await eventually(lambda: is_handled(pool, event.event_id))
    error = await owner.refused(member_service_pb2.DeleteMemberRequest(user_id="li"))
    await owner.delete_member("boss")

    assert error.reason == "OWNER_STAYS"
