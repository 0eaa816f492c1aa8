"""Clients that find the replicas by a name: what joins it is called, what leaves it no more.

As in a cluster: a headless Service's addresses change, all replicas listen on one port, and a
connection that reaches its age has the client ask for the addresses anew. The age is half a second
here and 300 s by default: how soon a new replica is called follows from it.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest

from fakes.eventually import eventually
from fakes.guarded_calls import SERVICE, guarded_server, unary
from fakes.name_server import NameServer, name_server
from tieline.chassis.grpc_server import Transport
from tieline.chassis.interceptors.access import AccessRule
from tieline.client.connection import _open_channel
from tieline.embedded.ports import find_free_port

NAME = "tieline-messaging.connect.svc.cluster.local"
FIRST, SECOND = "127.0.0.1", "127.0.0.2"

# A client asks for a name once in 5 s, with the age of a connection before it.
ASKED_WITHIN_S = 10.0

# Once the answer is there: what goes to the other replica until the new one is connected.
SOON = 200


class Replicas:
    """Replicas on one port, each at an address of its own, and calls to their name."""

    def __init__(self, dns: NameServer, port: int, channel: grpc.aio.Channel) -> None:
        self.calls: Counter[str] = Counter()
        """By address."""
        self._dns = dns
        self._port = port
        self._call: Any = channel.unary_unary(f"/{SERVICE}/Call")

    def serving(self, host: str) -> AbstractAsyncContextManager[object]:
        async def count(request: Any, _: Any) -> Any:
            self.calls[host] += 1
            return request

        return guarded_server(
            {"Call": unary(count)},
            access=AccessRule(anonymous=True),
            transport=Transport(connection_age_s=0.5),
            host=host,
            port=self._port,
        )

    async def resolve_to(self, *hosts: str) -> None:
        """Have the name stand for these; return once the client, which calls on, has asked."""
        self._dns.records[NAME] = list(hosts)
        asked = self._dns.questions
        await eventually(lambda: self._has_asked_since(asked), timeout_s=ASKED_WITHIN_S)

    async def call_until(self, host: str) -> int:
        """Return how many calls it took until one reached this replica."""
        before = self.calls[host]
        for count in range(1, SOON + 1):
            await self._reach()
            if self.calls[host] > before:
                return count
        raise AssertionError(f"none of {SOON} calls reached {host}")

    async def homes(self, count: int) -> set[str]:
        """Return the replicas that so many calls reach."""
        self.calls.clear()
        for _ in range(count):
            await self._reach()
        return set(self.calls)

    async def _reach(self) -> None:
        """Call, and again as the library does where the connection's age ended the call unread."""
        try:
            await self._call(b"", timeout=10)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await self._call(b"", timeout=10)

    async def _has_asked_since(self, asked: int) -> bool:
        await self._reach()
        return self._dns.questions > asked


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    port = find_free_port()
    async with (
        name_server({NAME: [FIRST]}) as dns,
        _open_channel(f"dns://{dns.address}/{NAME}:{port}", tls=False, roots=None) as channel,
    ):
        yield Replicas(dns, port, channel)


async def test_a_replica_whose_address_appears_is_called_soon_and_one_whose_left_no_more(
    replicas: Replicas,
) -> None:
    async with replicas.serving(FIRST):
        assert await replicas.homes(20) == {FIRST}
        async with replicas.serving(SECOND):
            assert await replicas.homes(20) == {FIRST}

            await replicas.resolve_to(FIRST, SECOND)
            await replicas.call_until(SECOND)
            assert await replicas.homes(100) == {FIRST, SECOND}

            await replicas.resolve_to(SECOND)
            await eventually(lambda: has_left(replicas, FIRST))
            # It goes on serving, and nobody comes.
            assert await replicas.homes(100) == {SECOND}


async def has_left(replicas: Replicas, host: str) -> bool:
    return host not in await replicas.homes(10)
