"""What is read of a stream whose call is refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tieline.chassis.interceptors.request_stream import RequestStream

KIB = 1024
MIB = 1024 * KIB


@pytest.mark.parametrize(
    ("is_stranger", "sizes", "read"),
    [
        (True, [10] * 3, 3),
        (True, [10] * 1000, 64),
        (True, [MIB] * 10, 2),
        (True, [4 * MIB] * 10, 1),
        (False, [10] * 1000, 1000),
        (False, [MIB] * 10, 10),
    ],
)
async def test_of_strangers_little_is_read_and_all_that_is_read_is_charged(
    is_stranger: bool, sizes: list[int], read: int
) -> None:
    async def arriving() -> AsyncIterator[bytes]:
        for size in sizes:
            yield bytes(size)

    charged: list[None] = []
    stream = RequestStream(arriving())
    await stream.drain(lambda: charged.append(None), is_stranger=is_stranger)
    await stream.close()
    assert len(charged) == read


async def test_a_stream_on_which_nothing_comes_is_left() -> None:
    async def waiting() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    charged: list[None] = []
    stream = RequestStream(waiting())
    async with asyncio.timeout(4):
        await stream.drain(lambda: charged.append(None), is_stranger=False)
    await stream.close()
    assert len(charged) == 1
