"""A broker that loses, repeats and reorders what it carries, and subscribers at the hub itself."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from fakes.eventually import eventually
from integration.messaging.chat import Corp, Inbox
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.feeds import LiveSubscription
from tieline.messaging.live.subscriber import Delivery, Update
from tieline.messaging.live.subscribers import LiveHub

Receive = Callable[[Msg], Awaitable[None]]


class UnreliableBroker:
    """A real connection on which messages may be lost, come twice, or come late.

    Without ``chance`` only what comes while it is deaf is lost.
    """

    def __init__(self, broker: Client, chance: random.Random | None = None) -> None:
        self._broker = broker
        self._chance = chance
        self._late: list[tuple[Receive, Msg]] = []
        self.is_connected = True
        self.is_deaf = False
        self.reconnects = 0
        self.lost = 0
        self.before_flush: Callable[[], Awaitable[None]] | None = None

    @property
    def stats(self) -> dict[str, Any]:
        return {"reconnects": self.reconnects}

    async def subscribe(self, subject: str, *, cb: Receive) -> LiveSubscription:
        async def receive(message: Msg) -> None:
            await self._mistreat(cb, message)

        return await self._broker.subscribe(subject, cb=receive)

    async def publish(self, subject: str, payload: bytes, /) -> None:
        await self._broker.publish(subject, payload)

    async def flush(self, timeout_s: int, /) -> None:
        if self.before_flush is not None:
            await self.before_flush()
        await self._broker.flush(timeout_s)

    async def _mistreat(self, cb: Receive, message: Msg) -> None:
        if self.is_deaf:
            self.lost += 1
            return
        if self._chance is None:
            await cb(message)
            return
        fate = self._chance.random()
        if fate < 0.25:
            self.lost += 1
            return
        if fate < 0.5:
            self._late.append((cb, message))
            return
        await cb(message)
        if fate < 0.65:
            await cb(message)
        while self._late and self._chance.random() < 0.5:
            late_cb, late = self._late.pop(self._chance.randrange(len(self._late)))
            await late_cb(late)


def decode(delivery: Delivery) -> Update:
    """Return what a client makes of it."""
    return Update.FromString(delivery) if isinstance(delivery, bytes) else delivery


@asynccontextmanager
async def receiving(hub: LiveHub, corp: Corp, user_id: str) -> AsyncIterator[Inbox]:
    """Subscribe at the hub itself; the block begins when ``started`` has come."""
    inbox = Inbox()

    async def read() -> None:
        async for update in hub.subscribe((corp.corp_id, member(user_id))):
            inbox.updates.append(decode(update))

    reader = asyncio.create_task(read())
    await eventually(lambda: inbox.is_started or reader.done())
    try:
        yield inbox
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
