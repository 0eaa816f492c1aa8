"""What can wait gives way to imports, but not for ever."""

import asyncio

from tieline.directory.imports.running import RunningImports

# Nothing here waits so long.
LONG_S = 60.0


async def test_nobody_waits_where_no_import_runs() -> None:
    imports = RunningImports()
    with imports.one():
        pass

    async with asyncio.timeout(1):
        await imports.give_way(LONG_S)


async def test_who_gives_way_goes_on_behind_the_last_import() -> None:
    imports = RunningImports()
    with imports.one():
        with imports.one():
            waiting = asyncio.create_task(imports.give_way(LONG_S))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()

    async with asyncio.timeout(1):
        await waiting


async def test_an_import_that_runs_on_is_not_waited_for_longer_than_that() -> None:
    imports = RunningImports()

    with imports.one():
        async with asyncio.timeout(1):
            await imports.give_way(0.01)
