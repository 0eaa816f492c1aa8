"""`tieline serve` as a process."""

import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from e2e.platform_process import environment, tieline_command
from fakes.eventually import eventually
from tieline.cli.grpc_health import is_serving


class Served:
    """A running `tieline serve`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self.process = process
        self.port = port
        self._output = output

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self._output.read_text()

    def workers(self) -> list[psutil.Process]:
        """Return the processes of its workers."""
        return psutil.Process(self.process.pid).children()


@asynccontextmanager
async def serving(
    settings: dict[str, str],
    output: Path,
    *options: str,
    service: str = "payments",
    program: Sequence[str] = (),
) -> AsyncIterator[Served]:
    """Run it within the block, which begins once the service's health check says that it serves.

    ``program`` stands in the place of the ``tieline`` of these sources.
    """
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: ASYNC220 -- starts, and does not wait
            [*(program or tieline_command()), "serve", service, *options],
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    served = Served(process, int(settings["TIELINE_GRPC_PORT"]), output)
    try:
        await eventually(lambda: is_serving(served.port))
        yield served
    finally:
        process.terminate()
        process.wait()
