"""Supervision with real, small children: shell scripts instead of engines and services."""

import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fakes.eventually import eventually
from tieline.cli.errors import CommandError
from tieline.cli.supervisor import ChildSpec, Supervisor


class Printed:
    """What a supervisor printed."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def print_line(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def has_note(self, *parts: str) -> bool:
        return any(all(part in note for part in parts) for note in self.notes)


@asynccontextmanager
async def supervising(printed: Printed) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(print_line=printed.print_line, note=printed.notes.append)
    try:
        yield supervisor
    finally:
        await supervisor.stop()


def shell(name: str, script: str, ready_file: Path, *, stop_timeout_s: float = 5) -> ChildSpec:
    """Return a child that is ready once its script has made the file."""

    async def is_ready() -> bool:
        return os.access(ready_file, os.F_OK)

    command: Sequence[str] = ["sh", "-c", script, name, str(ready_file)]
    return ChildSpec(name=name, command=command, is_ready=is_ready, stop_timeout_s=stop_timeout_s)


LONG_LIFE = 'touch "$1"; exec sleep 600'


async def test_stage_starts_only_when_the_one_before_is_ready(tmp_path: Path) -> None:
    first_is_ready = tmp_path / "first"
    check_first = f'test -e "{first_is_ready}" && touch "$1" && exec sleep 600'

    async with supervising(Printed()) as supervisor:
        await supervisor.start(shell("first", f"sleep 0.2; {LONG_LIFE}", first_is_ready))
        await supervisor.start(shell("second", check_first, tmp_path / "second"))


async def test_lines_of_both_outputs_are_printed_under_the_childs_name(tmp_path: Path) -> None:
    printed = Printed()
    script = f"echo to stdout; echo to stderr >&2; printf unfinished; {LONG_LIFE}"

    async with supervising(printed) as supervisor:
        await supervisor.start(shell("talker", script, tmp_path / "ready"))

    assert printed.lines == [
        ("talker", "to stdout"),
        ("talker", "to stderr"),
        ("talker", "unfinished"),
    ]


async def test_endless_line_is_printed_in_pieces_and_not_kept(tmp_path: Path) -> None:
    printed = Printed()
    script = f"head -c 300000 /dev/zero | tr '\\0' x; {LONG_LIFE}"

    async with supervising(printed) as supervisor:
        await supervisor.start(shell("talker", script, tmp_path / "ready"))

    assert "".join(line for _, line in printed.lines) == "x" * 300_000
    assert max(len(line) for _, line in printed.lines) <= 2 * 64 * 1024


async def test_child_that_ends_before_it_is_ready_fails_the_start_with_its_last_line(
    tmp_path: Path,
) -> None:
    async with supervising(Printed()) as supervisor:
        with pytest.raises(CommandError, match=r"broken ended with status 3.*no such database"):
            await supervisor.start(
                shell("broken", "echo no such database; exit 3", tmp_path / "never"),
                shell("well", LONG_LIFE, tmp_path / "well"),
            )
        await supervisor.stop()

        assert supervisor.process_ids() == {}


async def test_crashed_child_is_started_again_and_that_is_said(tmp_path: Path) -> None:
    printed = Printed()
    async with supervising(printed) as supervisor:
        await supervisor.start(shell("victim", LONG_LIFE, tmp_path / "ready"))
        first_pid = supervisor.process_ids()["victim"]

        os.kill(first_pid, signal.SIGKILL)
        await eventually(lambda: printed.has_note("victim is healthy again"))

        assert supervisor.process_ids()["victim"] != first_pid
        assert printed.has_note("victim ended with SIGKILL", "starting again in 0.5 s")


async def test_what_a_crashed_child_leaves_behind_is_ended_before_the_next_one(
    tmp_path: Path,
) -> None:
    printed = Printed()
    script = f"sleep 600 & echo $! ; {LONG_LIFE}"
    async with supervising(printed) as supervisor:
        await supervisor.start(shell("parent", script, tmp_path / "ready"))
        await eventually(lambda: bool(printed.lines))
        orphan = int(printed.lines[0][1])

        os.kill(supervisor.process_ids()["parent"], signal.SIGKILL)

        await eventually(lambda: not is_running(orphan))


async def test_stop_ends_the_last_stage_first(tmp_path: Path) -> None:
    printed = Printed()
    script = 'trap "echo stopping; exit 0" TERM; touch "$1"; while :; do sleep 0.05; done'
    async with supervising(printed) as supervisor:
        await supervisor.start(shell("engine", script, tmp_path / "engine"))
        await supervisor.start(shell("service", script, tmp_path / "service"))

        await supervisor.stop()

    assert printed.lines == [("service", "stopping"), ("engine", "stopping")]


async def test_child_that_ignores_the_stop_signal_is_killed_after_its_timeout(
    tmp_path: Path,
) -> None:
    script = 'trap "" TERM; touch "$1"; while :; do sleep 0.05; done'
    async with supervising(Printed()) as supervisor:
        await supervisor.start(shell("deaf", script, tmp_path / "ready", stop_timeout_s=0.2))
        process_id = supervisor.process_ids()["deaf"]
        started = time.monotonic()

        await supervisor.stop()

        assert not is_running(process_id)
        assert time.monotonic() - started < 5


async def test_stop_during_the_restart_delay_leaves_nothing_running(tmp_path: Path) -> None:
    printed = Printed()
    async with supervising(printed) as supervisor:
        await supervisor.start(shell("victim", LONG_LIFE, tmp_path / "ready"))
        os.kill(supervisor.process_ids()["victim"], signal.SIGKILL)
        await eventually(lambda: printed.has_note("starting again"))

        await supervisor.stop()

        assert supervisor.process_ids() == {}
        assert not printed.has_note("healthy again")


def is_running(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_child_that_stays_unwell_is_started_again(tmp_path: Path) -> None:
    is_ill = tmp_path / "ill"
    printed = Printed()

    async def is_well() -> bool:
        return not os.access(is_ill, os.F_OK)

    spec = replace(
        shell("patient", LONG_LIFE, tmp_path / "ready"), is_well=is_well, well_poll_s=0.01
    )
    async with supervising(printed) as supervisor:
        await supervisor.start(spec)
        first = supervisor.process_ids()["patient"]

        is_ill.touch()
        await eventually(lambda: printed.has_note("patient", "unwell"))
        is_ill.unlink()

        await eventually(lambda: printed.has_note("patient", "healthy again"))
        assert supervisor.process_ids()["patient"] != first


async def test_child_that_the_system_refuses_to_start_is_tried_again_until_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tieline.chassis.workers.FIRST_RESTART_DELAY_S", 0.01)
    program, ready_file = tmp_path / "program", tmp_path / "ready"
    install = f'#!/bin/sh\ntouch "{ready_file}"; exec sleep 600\n'
    program.write_text(install)
    program.chmod(0o700)
    printed = Printed()
    async with supervising(printed) as supervisor:
        await supervisor.start(replace(shell("victim", "", ready_file), command=[str(program)]))
        program.rename(tmp_path / "elsewhere")

        os.kill(supervisor.process_ids()["victim"], signal.SIGKILL)
        await eventually(lambda: printed.has_note("victim can't be started", "No such file"))
        (tmp_path / "elsewhere").rename(program)

        await eventually(lambda: printed.has_note("victim is healthy again"))


async def test_question_that_fails_is_answered_no(tmp_path: Path) -> None:
    printed = Printed()
    failures = 5

    async def fail_five_times() -> bool:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ValueError("cannot be asked")
        return True

    spec = replace(
        shell("patient", LONG_LIFE, tmp_path / "ready"),
        is_ready=fail_five_times,
        is_well=fail_five_times,
        well_poll_s=0.01,
    )
    async with supervising(printed) as supervisor:
        await supervisor.start(spec)
        failures = 3

        await eventually(lambda: printed.has_note("patient is unwell"))
        await eventually(lambda: printed.has_note("patient is healthy again"))
