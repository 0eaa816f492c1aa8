"""How the tasks that follow a cluster end."""

import asyncio

import pytest

from tieline.operator.handlers import run_until_one_ends


async def _fail() -> None:
    raise ConnectionError("the watch was broken off")


async def _take_a_cancellation_for_a_broken_connection() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


def test_a_watch_that_takes_its_end_for_a_broken_connection_ends_with_the_others() -> None:
    """What had failed is raised, so that following begins anew."""

    async def follow() -> None:
        tasks = [
            asyncio.create_task(_take_a_cancellation_for_a_broken_connection()),
            asyncio.create_task(_fail()),
        ]
        # It waits already when the other one fails.
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await run_until_one_ends(tasks)

    with pytest.raises(ConnectionError, match="broken off"):
        asyncio.run(follow())
