"""Several processes of one role on one port: the parent starts, watches and restarts them.

Workers are new processes and no forks, since gRPC's threads do not survive a fork. They share the
port by SO_REUSEPORT; the kernel spreads connections over them.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

# A worker that crashes at once is tried again after 0.5, 1, 2, … seconds, at most 30.
FIRST_RESTART_DELAY_S = 0.5
MAX_RESTART_DELAY_S = 30.0

# After a minute of work the next crash is a new one.
HEALTHY_AFTER_S = 60.0

# What a worker has beyond its calls' grace for flushing and closing; then it is killed.
LEAVE_AFTER_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How to start a worker. It must end when its stdin does: see ``process.run_role``."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the parent's environment, such as a metrics port of the worker's own."""


async def run_workers(
    build_command: Callable[[int], WorkerCommand], count: int, *, grace_s: float
) -> int:
    """Keep ``count`` workers (0 to count - 1) running until a signal; return the exit status.

    SIGTERM and SIGINT go on to the workers; a worker that ends unasked is started again, after a
    delay that doubles. One that fails in its first start (exit status 1) is not: its message says
    why, and a second try would meet the same. Returns when all are gone: 0 if they were told to go.
    """
    supervisor = _Supervisor(grace_s)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop, number)
    try:
        statuses = await asyncio.gather(
            *(supervisor.keep(index, build_command(index)) for index in range(count))
        )
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return 0 if supervisor.is_stopping else max(statuses)


def restart_delay_s(failures: int) -> float:
    """Return the seconds to wait after this many crashes in a row, the first one being 1."""
    return min(MAX_RESTART_DELAY_S, FIRST_RESTART_DELAY_S * 2.0 ** min(failures - 1, 16))


class _Supervisor:
    """The workers that run now, and whether they are told to go."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self, number: signal.Signals) -> None:
        """Pass the signal on; the second one ends the workers at once, by their own rule."""
        self._stopping.set()
        for process in self._running.values():
            if process.returncode is None:
                process.send_signal(number)

    async def keep(self, index: int, command: WorkerCommand) -> int:
        """Run the worker, again and again; return its last exit status."""
        failures = 0
        is_first = True
        while True:
            started_at = time.monotonic()
            status = await self._run_once(index, command)
            if self.is_stopping or status == 0 or (is_first and status == 1):
                return status
            is_first = False
            if time.monotonic() - started_at > HEALTHY_AFTER_S:
                failures = 0
            failures += 1
            delay_s = restart_delay_s(failures)
            logger.error("worker %d %s; starting it again in %.1f s", index, _how(status), delay_s)
            if await self._is_stopped_within(delay_s):
                return status

    async def _run_once(self, index: int, command: WorkerCommand) -> int:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            env={**os.environ, **command.environment},
            # The worker ends when this pipe does, and it does whatever becomes of this process.
            stdin=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal reaches the whole group; passed on as well it would be the
            # second signal, which ends a worker at once.
            process_group=0,
        )
        self._running[index] = process
        logger.info("worker %d started, process %d", index, process.pid)
        if self.is_stopping:
            process.terminate()
        try:
            return await self._wait(process)
        finally:
            del self._running[index]

    async def _wait(self, process: asyncio.subprocess.Process) -> int:
        """Wait for the end; past the grace after a stop, bring it about."""
        ending = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([ending, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        done, _ = await asyncio.wait([ending], timeout=self._grace_s + LEAVE_AFTER_GRACE_S)
        if not done:
            logger.error("process %d did not end in time; killing it", process.pid)
            process.kill()
        return await ending

    async def _is_stopped_within(self, delay_s: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), delay_s)
        except TimeoutError:
            return False
        return True


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
