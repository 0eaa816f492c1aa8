"""A DNS server of a cluster: addresses of full names, over UDP, and nothing else."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_HEAD = struct.Struct("!6H")
_TYPE_A = 1
_TYPE_OPT = 41
_IS_ANSWER = 0x8400
_IS_TRUNCATED = 0x0200
_NO_SUCH_NAME = 3
_TTL_S = 5
_RECORD_BYTES = 16
# A client that names no size takes 512 bytes.
_SMALLEST_BYTES = 512


class NameServer(asyncio.DatagramProtocol):
    """Answers for ``records``: addresses by full names, in small letters, without a last dot."""

    def __init__(self, records: dict[str, list[str]], max_bytes: int) -> None:
        self.records = records
        self.asked: set[str] = set()
        self.questions = 0
        """Answered so far."""

        self.truncated = 0
        """Answers that had no room for all addresses."""

        self.max_bytes = max_bytes
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def address(self) -> str:
        """Where it listens, as ``HOST:PORT``."""
        assert self._transport is not None, "it has begun"
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question."""
        assert self._transport is not None, "it has begun"
        self._transport.sendto(self._answer(data), addr)

    def _answer(self, query: bytes) -> bytes:
        number, _, _, _, _, more = _HEAD.unpack_from(query)
        name, end = _read_name(query, _HEAD.size)
        (kind,) = struct.unpack_from("!H", query, end)
        question = query[_HEAD.size : end + 4]
        self.asked.add(name)
        self.questions += 1
        known = name in self.records
        addresses = self.records.get(name, []) if kind == _TYPE_A else []
        room = min(_payload_size(query[end + 4 :], more), self.max_bytes)
        answers = [_record(address) for address in addresses]
        fitting = answers[: (room - _HEAD.size - len(question)) // _RECORD_BYTES]
        flags = _IS_ANSWER | (0 if known else _NO_SUCH_NAME)
        if len(fitting) < len(answers):
            flags |= _IS_TRUNCATED
            self.truncated += 1
        head = _HEAD.pack(number, flags, 1, len(fitting), 0, 0)
        return head + question + b"".join(fitting)


@asynccontextmanager
async def name_server(
    records: dict[str, list[str]], *, max_bytes: int = 65_535
) -> AsyncIterator[NameServer]:
    """Answer on a port of loopback until the block is left; no answer is above ``max_bytes``."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(records, max_bytes), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()


def _read_name(message: bytes, start: int) -> tuple[str, int]:
    labels = []
    while length := message[start]:
        labels.append(message[start + 1 : start + 1 + length].decode().lower())
        start += 1 + length
    return ".".join(labels), start + 1


def _payload_size(rest: bytes, records: int) -> int:
    """Return how large an answer the asker takes, which its OPT record says."""
    if not records or len(rest) < 5 or rest[0]:
        return _SMALLEST_BYTES
    kind, size = struct.unpack_from("!HH", rest, 1)
    return max(size, _SMALLEST_BYTES) if kind == _TYPE_OPT else _SMALLEST_BYTES


def _record(address: str) -> bytes:
    # The name is the question's, which begins behind the head.
    name = struct.pack("!H", 0xC000 | _HEAD.size)
    return name + struct.pack("!HHIH", _TYPE_A, 1, _TTL_S, 4) + socket.inet_aton(address)
