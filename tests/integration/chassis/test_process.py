"""Roles as real processes: signals, start errors, workers."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from fakes.eventually import eventually

# A role that tells on stdout what happens to it. What it does at its end is the first argument.
ROLE = """
import asyncio, gc, os, signal, sys
from contextlib import asynccontextmanager
from tieline.chassis.process import StartError, run_role

@asynccontextmanager
async def role():
    if sys.argv[1] == "start error":
        raise StartError("the database is away: start it")
    if sys.argv[1] == "fault":
        raise RuntimeError("a fault")
    if sys.argv[1] == "hang at start":
        print("starting", flush=True)
        await asyncio.Event().wait()
    print("up", flush=True)
    yield
    print("leaving", flush=True)
    if sys.argv[1] == "count":
        # Objects of before the role was up, and those that a collection looks through.
        print(gc.get_freeze_count() > 1000 > len(gc.get_objects()), flush=True)
    if sys.argv[1] == "hang at end":
        await asyncio.Event().wait()

sys.exit(run_role(role, ends_with_stdin=sys.argv[1] == "child"))
"""

# A parent of two workers, each of which appends its process id to a file when it is up.
PARENT = """
import asyncio, sys
from tieline.chassis.logs import configure_logging
from tieline.chassis.workers import WorkerCommand, run_workers

configure_logging("test", log_format="json")
command = lambda index: WorkerCommand([sys.executable, "-c", sys.argv[1], str(index), sys.argv[2]])
sys.exit(asyncio.run(run_workers(command, 2, grace_s=5)))
"""

WORKER = """
import os, sys
from contextlib import asynccontextmanager
from tieline.chassis.process import run_role

@asynccontextmanager
async def role():
    with open(sys.argv[2], "a") as file:
        file.write(f"{sys.argv[1]} {os.getpid()}\\n")
    yield

sys.exit(run_role(role, ends_with_stdin=True))
"""

FAILING_WORKER = "import sys; print('cannot start', file=sys.stderr); sys.exit(1)"


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None, "it is piped"
    return (await process.stdout.readline()).decode().strip()


def read_workers(path: Path) -> dict[str, list[int]]:
    """Return the process ids of each worker index, oldest first."""
    workers: dict[str, list[int]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        index, pid = line.split()
        workers.setdefault(index, []).append(int(pid))
    return workers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_first_signal_leaves_the_role_in_good_order(number: signal.Signals) -> None:
    async with running(ROLE, "") as process:
        assert await read_line(process) == "up"

        process.send_signal(number)

        assert await read_line(process) == "leaving"
        assert await process.wait() == 0


async def test_what_is_there_once_a_role_is_up_is_not_looked_through_again() -> None:
    async with running(ROLE, "count") as process:
        assert await read_line(process) == "up"
        process.terminate()
        assert await read_line(process) == "leaving"

        assert await read_line(process) == "True"


async def test_second_signal_ends_it_at_once() -> None:
    async with running(ROLE, "hang at end") as process:
        await read_line(process)
        process.terminate()
        assert await read_line(process) == "leaving"

        process.terminate()

        assert await process.wait() == 128 + signal.SIGTERM


async def test_signal_while_starting_breaks_the_start_off() -> None:
    async with running(ROLE, "hang at start") as process:
        await read_line(process)

        process.terminate()

        assert await process.wait() == 0


async def test_child_ends_with_its_parents_pipe() -> None:
    async with running(ROLE, "child") as process:
        await read_line(process)
        assert process.stdin is not None

        process.stdin.close()

        assert await read_line(process) == "leaving"
        assert await process.wait() == 0


async def test_start_error_is_one_line_and_status_1() -> None:
    async with running(ROLE, "start error") as process:
        _, stderr = await process.communicate()

    assert process.returncode == 1
    assert stderr.decode() == "tieline: the database is away: start it\n"


async def test_fault_while_starting_shows_its_traceback() -> None:
    async with running(ROLE, "fault") as process:
        _, stderr = await process.communicate()

    assert process.returncode == 1
    assert "RuntimeError: a fault" in stderr.decode()


async def test_killed_worker_is_started_again_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "workers"
    async with running(PARENT, WORKER, str(path)) as parent:
        await eventually(lambda: len(read_workers(path)) == 2)
        before = read_workers(path)
        os.kill(before["0"][0], signal.SIGKILL)
        await eventually(lambda: len(read_workers(path)["0"]) == 2)
        after = read_workers(path)

        parent.terminate()
        _, stderr = await parent.communicate()

    assert after["1"] == before["1"]
    assert parent.returncode == 0
    assert not any(psutil.pid_exists(pid) for pids in after.values() for pid in pids)
    messages = [json.loads(line)["message"] for line in stderr.decode().splitlines() if "{" in line]
    assert "worker 0 was ended by SIGKILL; starting it again in 0.5 s" in messages


async def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "workers"
    async with running(PARENT, WORKER, str(path)) as parent:
        await eventually(lambda: len(read_workers(path)) == 2)
        pids = [pid for pids in read_workers(path).values() for pid in pids]

        parent.kill()

        await eventually(lambda: not any(_is_running(pid) for pid in pids))


async def test_workers_that_fail_in_their_first_start_are_not_tried_again() -> None:
    async with running(PARENT, FAILING_WORKER, "") as parent:
        _, stderr = await parent.communicate()

    assert parent.returncode == 1
    assert stderr.decode().count("cannot start") == 2


def _is_running(pid: int) -> bool:
    """Tell whether the process runs; a zombie that nobody waits for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
