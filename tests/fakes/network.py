"""A way to a server on which connections fall silent.

For good, as when a machine vanishes without a word, or for a while; or pass on a byte now and then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_READ_BYTES = 64 * 1024


class Network:
    """Passes bytes on between its own port and a server's."""

    def __init__(self, server_port: int, delay_s: float) -> None:
        self._server_port = server_port
        self._delay_s = delay_s
        self._cut = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._byte_interval_s = 0.0
        self._writers: list[asyncio.StreamWriter] = []
        self._passing: set[asyncio.Task[None]] = set()
        self.port = 0

    def swallow(self) -> None:
        """Pass nothing on any more over today's connections, nor their end; new ones work."""
        self._cut.set()
        self._cut = asyncio.Event()

    def pause(self) -> None:
        """Hold back all that is under way, and new connections too, until it goes on."""
        self._flowing.clear()

    def go_on(self) -> None:
        """Pass on what was held back, in its order, and all that comes."""
        self._flowing.set()

    def trickle(self, interval_s: float) -> None:
        """Pass on one byte at a time, and the next so much later; 0 ends it."""
        self._byte_interval_s = interval_s

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a client's connection."""
        cut = self._cut
        self._writers.append(writer)
        await asyncio.sleep(self._delay_s)
        await self._flowing.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.close()
            return
        self._writers.append(far_writer)
        ways = ((reader, far_writer), (far_reader, writer))
        self._passing |= {asyncio.create_task(self._pass_on(*way, cut)) for way in ways}

    async def close(self) -> None:
        """End all connections."""
        self.go_on()
        self.trickle(0)
        for writer in self._writers:
            writer.close()
        # A loop with open handles can't be closed.
        ended = (writer.wait_closed() for writer in self._writers)
        await asyncio.gather(*self._passing, *ended, return_exceptions=True)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        try:
            while chunk := await reader.read(_READ_BYTES):
                await self._flowing.wait()
                while self._byte_interval_s and len(chunk) > 1:
                    writer.write(chunk[:1])
                    chunk = chunk[1:]
                    await asyncio.sleep(self._byte_interval_s)
                if not cut.is_set():
                    writer.write(chunk)
        except OSError:
            pass  # the same as an end
        await self._flowing.wait()
        if not cut.is_set():
            writer.close()


@asynccontextmanager
async def network_to(server_port: int, *, delay_s: float = 0) -> AsyncIterator[Network]:
    """Listen on a port of loopback until the block is left.

    A connection's first byte is passed on ``delay_s`` after the connection was made.
    """
    network = Network(server_port, delay_s)
    server = await asyncio.start_server(network.connect, "127.0.0.1", 0)
    network.port = server.sockets[0].getsockname()[1]
    try:
        yield network
    finally:
        server.close()
        await network.close()
        await server.wait_closed()
