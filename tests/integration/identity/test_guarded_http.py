"""What providers answer is read over real HTTP, as far as there is room for it."""

import asyncio
import gzip
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tieline.identity.providers.guarded_http import (
    MAX_RESPONSE_BYTES,
    GuardedClient,
    RefusedError,
)

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


@dataclass
class Answerer:
    """A server that answers each request with the same bytes."""

    headers: str
    body: bytes
    url: str = ""
    heads: list[str] = field(default_factory=list)
    """Of the requests."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer on loopback."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(f"HTTP/1.1 200 OK\r\nconnection: close\r\n{self.headers}\r\n".encode())
        writer.write(self.body)
        writer.close()


async def fetch(answerer: Answerer) -> Any:
    client = GuardedClient([LOOPBACK])
    try:
        async with answerer.serving():
            return await client.get_json(answerer.url)
    finally:
        await client.close()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "identity, gzip"])
async def test_a_compressed_answer_is_refused_before_it_is_decompressed(encoding: str) -> None:
    """The bound is of what comes in: a thousandth of what may come out."""
    answerer = Answerer(f"content-encoding: {encoding}\r\n", gzip.compress(b"{}"))

    with pytest.raises(RefusedError, match="encoded"):
        await fetch(answerer)


@pytest.mark.parametrize("headers", ["", "content-encoding: Identity\r\n"])
async def test_an_answer_is_asked_for_as_it_is(headers: str) -> None:
    answerer = Answerer(headers, b'{"a": 1}')

    assert await fetch(answerer) == {"a": 1}
    assert "\r\naccept-encoding: identity\r\n" in answerer.heads[0]


async def test_an_answer_has_as_many_bytes_as_there_is_room_for() -> None:
    fits = Answerer("", b'"' + b"x" * (MAX_RESPONSE_BYTES - 2) + b'"')
    does_not = Answerer("", b'"' + b"x" * (MAX_RESPONSE_BYTES - 1) + b'"')

    assert len(await fetch(fits)) == MAX_RESPONSE_BYTES - 2
    with pytest.raises(RefusedError, match="too long"):
        await fetch(does_not)
