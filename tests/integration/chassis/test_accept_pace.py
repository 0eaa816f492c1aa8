"""gRPC's server takes calls at the pace of refusals, and its C core refuses the rest."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tieline.chassis.admission.accept_pace import RefusalPace, build_paced_server

PENDING = 3
SERVICE = "tieline.test.Service"
LONGEST_WAIT_S = 0.05
TIMEOUT_S = 20


class _Server:
    """A server at a pace, and what of its calls Python saw."""

    def __init__(self, pace: RefusalPace) -> None:
        self.taken = 0
        options = [
            ("grpc.server.max_pending_requests", PENDING),
            ("grpc.server.max_pending_requests_hard_limit", PENDING),
        ]
        self._server = build_paced_server(pace, [], options)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        """Serve within the block, which gets what makes a call and returns how it ended."""
        handler: Any = grpc.unary_unary_rpc_method_handler(self._work)
        methods = {"Work": handler}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, methods),)
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary(f"/{SERVICE}/Work")

            async def one() -> str:
                try:
                    await call(b"", timeout=TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    return error.code().name
                return "OK"

            yield one
        await self._server.stop(0)

    async def _work(self, _: bytes, __: Any) -> bytes:
        self.taken += 1
        return b"done"


def _spent_pace() -> RefusalPace:
    pace = RefusalPace()
    pace.refusal_s = 1.0
    for _ in range(10):
        pace.spend()
    return pace


async def test_server_waits_before_it_takes_each_call() -> None:
    pace = _spent_pace()
    server = _Server(pace)
    async with server.serving() as call:
        begun_at = time.monotonic()
        assert [await call() for _ in range(5)] == ["OK"] * 5
        taken_s = time.monotonic() - begun_at
    # The wait for a sixth call has begun, and so may one before the first have.
    assert 0 < pace.held_up_s - 2 * LONGEST_WAIT_S <= taken_s


async def test_what_waits_beyond_the_limit_is_refused_before_python_sees_it() -> None:
    server = _Server(_spent_pace())
    async with server.serving() as call:
        assert await call() == "OK"
        ends = Counter(await asyncio.gather(*(call() for _ in range(60))))
    assert ends == {"OK": server.taken - 1, "CANCELLED": 61 - server.taken}
    assert ends["CANCELLED"] >= 60 // 2


async def test_where_nothing_was_refused_nothing_waits() -> None:
    pace = RefusalPace()
    server = _Server(pace)
    async with server.serving() as call:
        assert [await call() for _ in range(50)] == ["OK"] * 50
    assert pace.held_up_s == 0
