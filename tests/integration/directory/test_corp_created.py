"""New corps arrive by identity's event."""

import asyncpg
from nats.aio.client import Client

from engines import Database
from fakes.directory_corps import Corp, publish_corp_created
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_service_pb2
from tieline.chassis.ids import new_uuid7


async def count_handled(database: Database, event_id: str) -> int:
    connection = await asyncpg.connect(database.dsn("directory"))
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM directory.handled_events WHERE event_id = $1", event_id
        )
        return count
    finally:
        await connection.close()


async def test_new_corp_has_a_root_department_with_its_owner(corp: Corp) -> None:
    [root] = await corp.list_departments()
    members = await corp.list_members()

    assert (root.department_id, root.parent_department_id, root.path) == (1, 0, "")
    assert (root.name, root.member_count) == ("Jinyu Jewellery", 1)
    assert [(m.user_id, m.name, m.department_id) for m in members.values()] == [
        ("boss", "Zhao Min", 1)
    ]


async def test_event_that_comes_again_under_another_id_changes_nothing(
    corp: Corp, identity_broker: Client, database: Database
) -> None:
    before = await corp.list_members()
    event_id = new_uuid7()

    await publish_corp_created(
        identity_broker, corp.corp_id, owner_user_id="BOSS", event_id=event_id
    )

    await eventually(lambda: count_handled(database, event_id))
    assert await corp.list_members() == before
    assert len(await corp.list_departments()) == 1


async def test_event_does_not_take_back_what_an_import_changed(
    corp: Corp, identity_broker: Client, database: Database
) -> None:
    await corp.import_file(b"user_id,name,department\nboss,Li Na,East\n")
    event_id = new_uuid7()

    await publish_corp_created(identity_broker, corp.corp_id, event_id=event_id)

    await eventually(lambda: count_handled(database, event_id))
    response = await corp.stub.GetMember(
        directory_service_pb2.GetMemberRequest(user_id="boss"), metadata=corp.metadata
    )
    assert (response.member.name, response.member.department_id) == ("Li Na", 2)
