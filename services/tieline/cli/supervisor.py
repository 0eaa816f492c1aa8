"""Keeps child processes running: starts them in stages, restarts what crashes, stops backwards.

Knows nothing of what the children are. A stage is a group of children that need only earlier
stages; its children start and stop together. A child that ends before it was ready the first time
fails the start; one that ends later is started again, after a delay that doubles each time.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tieline.chassis.workers import HEALTHY_AFTER_S, restart_delay_s
from tieline.cli.child_process import ChildProcess, describe_status
from tieline.cli.errors import CommandError

READY_POLL_S = 0.05
# Longer than a service's start with cold caches and less than a person's patience.
READY_TIMEOUT_S = 60.0
# A child that is unwell this many times in a row is started again: one slow answer is no illness.
WELL_POLL_S = 5.0
MAX_UNWELL = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What to run and how to tell that it is well."""

    name: str
    command: Sequence[str]
    is_ready: Callable[[], Awaitable[bool]]
    is_well: Callable[[], Awaitable[bool]] | None = None
    """Asked again and again once it is ready; a child that stays unwell is started again."""

    well_poll_s: float = WELL_POLL_S
    """Seconds between the questions."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    is_shown: Callable[[str], bool] = lambda line: True
    """Tells which lines of its output are worth a person's attention."""

    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 25.0
    """Seconds from the stop signal to SIGKILL."""


class Supervisor:
    """The children of this process. ``inherited_files`` stay open in all of them."""

    def __init__(
        self,
        *,
        print_line: Callable[[str, str], None],
        note: Callable[[str], None],
        inherited_files: Sequence[int] = (),
    ) -> None:
        self.print_line = print_line
        self.note = note
        self.inherited_files = inherited_files
        self._stages: list[list[_Child]] = []

    async def start(self, *specs: ChildSpec) -> None:
        """Start a stage and return when all of it is ready; raise CommandError if it cannot be."""
        stage = [_Child(spec, self) for spec in specs]
        # Before they run: a failed start stops what was started.
        self._stages.append(stage)
        try:
            async with asyncio.TaskGroup() as group:
                for child in stage:
                    group.create_task(child.start())
        except BaseExceptionGroup as failures:
            # The first one; the others were cancelled because of it.
            raise failures.exceptions[0] from None

    async def stop(self) -> None:
        """Stop all children, the last stage first; a repeat changes nothing."""
        while self._stages:
            await asyncio.gather(*(child.stop() for child in self._stages[-1]))
            self._stages.pop()

    def kill(self) -> None:
        """End all children at once, without asking; a `stop` that waits for them returns."""
        for stage in self._stages:
            for child in stage:
                if child.process is not None:
                    child.process.kill()

    def process_ids(self) -> dict[str, int]:
        """Return the process id of each child that runs now."""
        return {
            child.spec.name: child.process.process_id
            for stage in self._stages
            for child in stage
            if child.process is not None and not child.process.has_ended
        }


class _Child:
    """One child over all its restarts."""

    def __init__(self, spec: ChildSpec, supervisor: Supervisor) -> None:
        self.spec = spec
        self.process: ChildProcess | None = None
        self._last_line = ""
        self._failures = 0
        self._supervisor = supervisor
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        process = await self._start_process()
        if not await self._become_ready(process):
            status = await process.wait()
            raise CommandError(
                f"{self.spec.name} ended with {describe_status(status)} before it was ready; its "
                f"last line: {self._last_line or '(none)'}"
            )
        self._watch = asyncio.create_task(self._keep_running(process))

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        if self.process is not None:
            await self.process.stop(self.spec.stop_signal, self.spec.stop_timeout_s)

    async def _start_process(self) -> ChildProcess:
        self.process = await ChildProcess.start(
            self.spec.command,
            self.spec.environment,
            print_line=self._print_line,
            inherited_files=self._supervisor.inherited_files,
        )
        return self.process

    async def _become_ready(self, process: ChildProcess) -> bool:
        """Wait until the child is ready; return False if it ended instead."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not process.has_ended:
            if await self._is(self.spec.is_ready):
                return True
            if time.monotonic() > deadline:
                raise CommandError(f"{self.spec.name} is not ready after {READY_TIMEOUT_S:.0f} s")
            await asyncio.sleep(READY_POLL_S)
        return False

    async def _keep_running(self, process: ChildProcess) -> None:
        ready_since: float | None = time.monotonic()
        while True:
            status = await self._wait_for_end(process)
            if ready_since is not None and time.monotonic() - ready_since > HEALTHY_AFTER_S:
                self._failures = 0
            process = await self._start_again(f"ended with {describe_status(status)}")
            ready_since = None
            if await self._is_ready_again(process):
                ready_since = time.monotonic()
                self._note("is healthy again")

    async def _start_again(self, why: str) -> ChildProcess:
        """Start it after the delay, and after a longer one each time that the system refuses."""
        while True:
            self._failures += 1
            delay_s = restart_delay_s(self._failures)
            self._note(f"{why}; starting again in {delay_s:g} s")
            await asyncio.sleep(delay_s)
            try:
                return await self._start_process()
            except OSError as error:
                why = f"can't be started ({error.strerror or error})"

    async def _wait_for_end(self, process: ChildProcess) -> int:
        """Wait until the child ends, by itself or because it is unwell; return its status."""
        end = asyncio.create_task(process.wait())
        try:
            unwell = 0
            while self.spec.is_well is not None and not end.done():
                await asyncio.wait([end], timeout=self.spec.well_poll_s)
                unwell = 0 if end.done() or await self._is(self.spec.is_well) else unwell + 1
                if unwell == MAX_UNWELL:
                    self._note("is unwell; stopping it")
                    await process.stop(self.spec.stop_signal, self.spec.stop_timeout_s)
            return await end
        finally:
            end.cancel()

    async def _is_ready_again(self, process: ChildProcess) -> bool:
        try:
            return await self._become_ready(process)
        except CommandError as error:
            # It runs, so it is left running: what it waits for may still come.
            self._supervisor.note(str(error))
            return False

    async def _is(self, question: Callable[[], Awaitable[bool]]) -> bool:
        # Whatever the question trips over, the child must not lose its supervision.
        try:
            return await question()
        except Exception:
            logger.debug("%s could not be asked", self.spec.name, exc_info=True)
            return False

    def _print_line(self, line: str) -> None:
        if self.spec.is_shown(line):
            self._last_line = line or self._last_line
            self._supervisor.print_line(self.spec.name, line)

    def _note(self, text: str) -> None:
        self._supervisor.note(f"{self.spec.name} {text}")
