"""How the tasks that follow a cluster end."""

import asyncio
import threading
from collections.abc import Coroutine

import pytest

from tieline.operator.handlers import run_until_one_ends

WATCH = "watcher for surgepolicies.v1alpha1.scaling.tieline.dev@default"


async def _fail() -> None:
    raise ConnectionError("the watch was broken off")


async def _follow(watch: Coroutine[None, None, None]) -> None:
    """Run a watch that waits already when another one fails, as that one failed."""
    watching = asyncio.create_task(watch, name=WATCH)
    failing = asyncio.create_task(_fail())
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(30):
            await run_until_one_ends([failing], threading.Event())
    finally:
        assert watching.done()


def test_a_watch_that_takes_its_end_for_a_broken_connection_ends_with_the_others() -> None:
    """What had failed is raised, so that following begins anew."""

    async def watch() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    with pytest.raises(ConnectionError, match="broken off"):
        asyncio.run(_follow(watch()))


def test_a_watch_has_the_tasks_that_it_stands_on_until_it_has_ended() -> None:
    """kopf's watch waits for its scheduler's tasks, and for good where they ended before it."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def answer() -> None:
        await asked.wait()
        answered.set()

    async def watch() -> None:
        answering = asyncio.create_task(answer())
        try:
            await asyncio.Event().wait()
        finally:
            asked.set()
            await answering

    with pytest.raises(ConnectionError, match="broken off"):
        asyncio.run(_follow(watch()))
    assert answered.is_set()
