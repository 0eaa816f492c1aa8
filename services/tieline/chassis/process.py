"""Runs a role as a process until it is told to stop.

SIGTERM or SIGINT    leave the role in good order: drain, flush, close; exit status 0
a second one         end at once, with 128 plus the signal's number
StartError           one line on stderr, exit status 1
anything else        the traceback, exit status 1
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvloop

from tieline.chassis.forks import pause_collection_in_forks

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Role = Callable[[], AbstractAsyncContextManager[Any]]
"""A role serves while its context is entered; what it entered last it leaves first."""


class StartError(Exception):
    """An expected reason why a role can't start: one line that names the thing and what to do.

    The command line prints it as ``tieline: <text>`` and exits with status 1; no traceback.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def run_role(role: Role, *, ends_with_stdin: bool = False) -> int:
    """Run the role on uvloop until a signal; return the exit status.

    ``ends_with_stdin`` also stops it when stdin ends: a child whose parent holds the other end of
    that pipe outlives it in no case, not even when the parent is killed.
    """
    pause_collection_in_forks()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(role, ends_with_stdin))
    except StartError as error:
        print(f"tieline: {error.text}", file=sys.stderr)
        return 1
    except Exception:
        logger.critical("the role failed", exc_info=True)
        return 1
    return 0


async def _run(role: Role, ends_with_stdin: bool) -> None:
    stop = asyncio.Event()
    holding = asyncio.create_task(_hold(role, stop))
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, _on_signal, number, stop)
    if ends_with_stdin:
        _stop_at_end_of_stdin(loop, stop)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([holding, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await holding


async def _hold(role: Role, stop: asyncio.Event) -> None:
    """Enter the role, stay until told to stop, leave it."""
    entering = asyncio.current_task()
    assert entering is not None, "this runs as a task"
    # Until the role is up there is nothing to drain: starting is broken off.
    breaking_off = asyncio.create_task(_cancel_at(stop, entering))
    try:
        async with role():
            breaking_off.cancel()
            # What is there now stays until the end. Python would look through all of it again and
            # again for what is no more in use, and meanwhile no call goes on: 80 ms in the
            # directory, which has the words of a dictionary in memory.
            gc.freeze()
            await stop.wait()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        logger.info("stopped while starting")
    finally:
        breaking_off.cancel()


async def _cancel_at(stop: asyncio.Event, task: "asyncio.Task[Any]") -> None:
    await stop.wait()
    task.cancel()


def _on_signal(number: signal.Signals, stop: asyncio.Event) -> None:
    if stop.is_set():
        # Whoever signals twice does not want to wait for anything, flushing included.
        os._exit(128 + number)
    logger.info("%s: stopping", number.name)
    stop.set()


def _stop_at_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    stdin_fd = sys.stdin.fileno()

    def on_readable() -> None:
        if not os.read(stdin_fd, 1024):
            loop.remove_reader(stdin_fd)
            stop.set()

    loop.add_reader(stdin_fd, on_readable)
