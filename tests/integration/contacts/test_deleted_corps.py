"""A corp that identity says is gone: its codes lead nowhere, and nothing of it is left."""

import asyncpg

from calls import refusal
from engines import Database, connected
from fakes.eventually import eventually
from integration.contacts.corp import Corp
from tieline.api.contacts.v1 import contacts_service_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.health import Health
from tieline.chassis.ids import new_corp_id, new_uuid7
from tieline.chassis.message_headers import CORP_ID_HEADER, EVENT_ID_HEADER, KEY_HEADER
from tieline.chassis.postgres import create_pool
from tieline.contacts.corps_purge import purge
from tieline.contacts.repositories.deleted_corps import PURGED_TABLES
from tieline.embedded.nats import EmbeddedNats


async def count_rows(connection: asyncpg.Connection, corp_id: str) -> int:
    return sum(
        [
            await connection.fetchval(
                f"SELECT count(*) FROM contacts.{table} WHERE corp_id = $1", corp_id
            )
            for table in PURGED_TABLES
        ]
    )


async def test_codes_of_a_corp_that_is_gone_lead_nowhere_and_its_rows_are_deleted(
    corp: Corp, nats: EmbeddedNats, database: Database, admin_connection: asyncpg.Connection
) -> None:
    other = Corp(corp.contacts, corp.tokens, new_corp_id())
    kept = await other.add((await other.way()).code, other.customer())
    way, group = await corp.way(), await corp.group()
    join_way = await corp.join_way(group)
    await corp.add(way.code, corp.customer())
    await corp.join(join_way.code, corp.customer())
    before = await count_rows(admin_connection, corp.corp_id)
    headers = {CORP_ID_HEADER: corp.corp_id, KEY_HEADER: corp.corp_id}
    event = identity_pb2.CorpDeleted(corp_id=corp.corp_id)

    async with connected(nats, "identity") as identity:
        for _ in range(2):
            await identity.jetstream().publish(
                "tieline.identity.v1.corp_deleted",
                event.SerializeToString(),
                headers={**headers, EVENT_ID_HEADER: new_uuid7()},
            )

    async def is_known() -> bool:
        return bool(
            await admin_connection.fetchval(
                "SELECT true FROM contacts.deleted_corps WHERE corp_id = $1", corp.corp_id
            )
        )

    await eventually(is_known)
    added = await refusal(
        corp.contacts.AddContact,
        contacts_service_pb2.AddContactRequest(corp_id=corp.corp_id, code=way.code),
        corp.customer(),
    )
    joined = await refusal(
        corp.contacts.JoinCustomerGroup,
        contacts_service_pb2.JoinCustomerGroupRequest(corp_id=corp.corp_id, code=join_way.code),
        corp.customer(),
    )

    assert (added.reason, joined.reason) == ("CODE_NOT_FOUND", "CODE_NOT_FOUND")
    assert await count_rows(admin_connection, corp.corp_id) == before > 0

    # Calls that did not see that it is gone are over in a minute.
    await admin_connection.execute(
        "UPDATE contacts.deleted_corps SET delete_time = now() - interval '1 minute'"
        " WHERE corp_id = $1",
        corp.corp_id,
    )
    dsn = database.dsn("contacts")
    async with create_pool(dsn, service="contacts", max_size=1, health=Health()) as pool:

        async def nothing_is_left() -> bool:
            while await purge(pool, maximum_rows=2):
                pass
            return await count_rows(admin_connection, corp.corp_id) == 0

        await eventually(nothing_is_left)
    assert list((await other.list_contacts()).contacts) == [kept]
