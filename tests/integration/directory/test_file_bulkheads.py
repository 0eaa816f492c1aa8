"""Files that are long in coming or going leave members to be looked up."""

import asyncio
from contextlib import ExitStack
from typing import Any

import pytest

from fakes.directory_corps import Corp, config_message, table
from fakes.directory_files import Files
from fakes.directory_writers import Writer
from fakes.eventually import eventually
from tieline.api.directory.v1 import tag_service_pb2
from tieline.chassis.errors import ResourceExhaustedError
from tieline.chassis.postgres import Pool
from tieline.chassis.settings import ServiceSettings
from tieline.client.errors import TielineError
from tieline.directory.exports.servicer import MAX_EXPORTS
from tieline.directory.places import Places
from tieline.directory.servicer import MAX_IMPORT_STREAMS

POOL_CONNECTIONS: int = ServiceSettings.model_fields["database_pool_max_size"].default


async def test_import_streams_that_stand_still_are_so_many_and_members_are_found(
    corp: Corp, owner: Writer
) -> None:
    calls: list[Any] = []
    for _ in range(MAX_IMPORT_STREAMS):
        call = corp.begin_import()
        await call.write(config_message())
        calls.append(call)

    async def is_refused() -> bool:
        try:
            await corp.import_file(table(("li", "Li", "")))
        except TielineError as error:
            return error.reason == "TOO_MANY_IMPORT_STREAMS"
        return False

    await eventually(is_refused)
    found = await owner.get_member("boss")
    for call in calls:
        call.cancel()

    async def is_taken_again() -> bool:
        return not await is_refused()

    await eventually(is_taken_again)
    assert found.user_id == "boss"


def test_a_place_is_free_again_when_the_work_has_ended_however_it_did() -> None:
    places = Places(2, "TOO_MANY_EXPORTS", "exports")

    for _ in range(3):
        with ExitStack() as stack:
            stack.enter_context(places.one())
            stack.enter_context(places.one())
            with pytest.raises(ResourceExhaustedError, match="2 exports run"), places.one():
                pass
        with pytest.raises(ValueError, match="broken"), places.one():
            raise ValueError("broken")


async def test_exports_that_stand_still_leave_members_to_be_found(
    files: Files, owner: Writer, directory_pool: Pool
) -> None:
    async with directory_pool.acquire() as connection, connection.transaction():
        # Exports read it, lookups do not.
        await connection.execute("LOCK TABLE directory.attributes IN ACCESS EXCLUSIVE MODE")
        exports = [asyncio.create_task(files.export_members()) for _ in range(MAX_EXPORTS + 8)]

        async def are_refused() -> bool:
            return sum(each.done() for each in exports) == 8

        await eventually(are_refused)
        found = await owner.get_member("boss")
    ended = await asyncio.gather(*exports, return_exceptions=True)

    assert found.user_id == "boss"
    assert sum(isinstance(each, bytes) for each in ended) == MAX_EXPORTS
    assert {each.reason for each in ended if isinstance(each, TielineError)} == {"TOO_MANY_EXPORTS"}
    assert await files.export_members()


async def test_exports_take_no_connection_of_those_that_lookups_have(
    files: Files, owner: Writer, directory_pool: Pool
) -> None:
    async with directory_pool.acquire() as connection, connection.transaction():

        async def wait_for(table_name: str, count: int) -> None:
            async def are_waiting() -> bool:
                waiting = await connection.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass",
                    f"directory.{table_name}",
                )
                return bool(waiting == count)

            await eventually(are_waiting)

        await connection.execute("LOCK TABLE directory.attributes IN ACCESS EXCLUSIVE MODE")
        exports = [asyncio.create_task(files.export_members()) for _ in range(MAX_EXPORTS)]
        await wait_for("attributes", MAX_EXPORTS)
        # With those of the exports they would be all that lookups have.
        await connection.execute("LOCK TABLE directory.tags IN ACCESS EXCLUSIVE MODE")
        others = POOL_CONNECTIONS - MAX_EXPORTS
        request = tag_service_pb2.ListTagsRequest()
        lists = [asyncio.create_task(owner.send(request)) for _ in range(others)]
        await wait_for("tags", others)
        found = await owner.get_member("boss")

    await asyncio.gather(*exports, *lists)
    assert found.user_id == "boss"
