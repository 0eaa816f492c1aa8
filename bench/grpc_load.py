"""What the gRPC benchmarks share: a server process of their own, load on it, its CPU time.

The server runs in another process, so that its CPU time is its own; rates are told per second of
that time, since the client needs as much again.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from typing import Protocol, Self

import grpc
import psutil

IN_FLIGHT = 64
WARM_UP_S = 0.2

# One connection is one HTTP/2 flow for gRPC's core; several keep it from being the limit.
CHANNELS = 4

NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})

Work = Callable[[grpc.aio.Channel], AsyncGenerator[None, None]]
"""Works on a channel for ever and yields after each piece of it."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a server did in a measurement."""

    per_second: float
    per_cpu_second: float
    """Per second of the server's utime + stime."""


class Server(Protocol):
    """What load is put on."""

    @property
    def target(self) -> str:
        """``host:port``."""

    def cpu_s(self) -> float:
        """Return the CPU time that it has used, in seconds."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server of a benchmark, as its own process."""

    pid: int
    target: str
    token: str
    """An access token that the server accepts; empty where it asks for none."""

    def cpu_s(self) -> float:
        """Return the CPU time it has used."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


@asynccontextmanager
async def server_process(
    module: str, kind: str, environment: Mapping[str, str] = NO_ENVIRONMENT
) -> AsyncIterator[ServerProcess]:
    """Run ``python -m module kind`` until the block ends; it calls :func:`announce`.

    ``environment`` is added to this process's own.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        kind,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None, "it is piped"
    assert process.stdout is not None, "it is piped"
    try:
        announced = json.loads(await process.stdout.readline())
        yield ServerProcess(process.pid, f"127.0.0.1:{announced['port']}", announced["token"])
    finally:
        process.stdin.close()
        await process.wait()


async def announce(server: grpc.aio.Server, token: str = "") -> None:
    """In the server's process: open a port, tell it, and serve until stdin ends."""
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"port": port, "token": token}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1.0)


class Load:
    """Keeps ``loops`` loops of work on a server going, within an ``async with`` block."""

    def __init__(self, server: Server, work: Work, *, loops: int = IN_FLIGHT) -> None:
        self._server = server
        self._work = work
        self._loop_count = loops
        self._channels: list[grpc.aio.Channel] = []
        self._loops: list[asyncio.Task[None]] = []
        self._is_on = asyncio.Event()
        self._is_over = False
        self._count = 0

    async def __aenter__(self) -> Self:
        # A pool of its own each: gRPC would otherwise put equal channels on one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [
            grpc.aio.insecure_channel(self._server.target, options=options) for _ in range(CHANNELS)
        ]
        self._loops = [
            asyncio.create_task(self._loop(self._channels[index % CHANNELS]))
            for index in range(self._loop_count)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        self._is_on.set()
        await asyncio.gather(*self._loops)
        for channel in self._channels:
            await channel.close()

    async def measure(self, seconds: float) -> Rate:
        """Let the loops run for a while; return what the server did in it."""
        self._is_on.set()
        await asyncio.sleep(WARM_UP_S)
        begun_at, cpu_s, count = perf_counter(), self._server.cpu_s(), self._count
        await asyncio.sleep(seconds)
        count = self._count - count
        cpu_s = self._server.cpu_s() - cpu_s
        duration_s = perf_counter() - begun_at
        self._is_on.clear()
        return Rate(count / duration_s, count / cpu_s)

    async def _loop(self, channel: grpc.aio.Channel) -> None:
        async with aclosing(self._work(channel)) as steps:
            async for _ in steps:
                self._count += 1
                await self._is_on.wait()
                if self._is_over:
                    return
