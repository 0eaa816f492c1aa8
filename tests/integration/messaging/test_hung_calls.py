"""Clients that close, vanish, or stay and read nothing: their devices are connected no more."""

import asyncio
import datetime as dt
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import grpc
import pytest
from nats.aio.client import Client
from pydantic import SecretStr

from engines import Database, build_settings
from fakes.eventually import eventually
from fakes.tokens import TestTokens
from fakes.webhook_inbox import SECRET, WebhookInbox
from integration.messaging.chat import TIMEOUT_S, Corp, Stub, new_id
from tieline.api.messaging.v1 import (
    messaging_service_pb2,
    push_service_pb2,
    push_service_pb2_grpc,
)
from tieline.chassis.grpc_server import PING_INTERVAL_MS
from tieline.chassis.postgres import Pool
from tieline.embedded.nats import EmbeddedNats
from tieline.messaging.app import role
from tieline.messaging.conversations.rules import member
from tieline.messaging.live import connected_devices
from tieline.messaging.live.subscribers import LiveHub
from tieline.messaging.push import rules as push_rules
from tieline.messaging.settings import MessagingSettings

# A client in a process of its own, which can be stopped: it says when it is subscribed.
_CLIENT = """
import sys
import grpc
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.api.messaging.v1 import messaging_service_pb2_grpc
stub = messaging_service_pb2_grpc.MessagingServiceStub(grpc.insecure_channel(sys.argv[1]))
metadata = (("authorization", f"Bearer {sys.argv[2]}"),)
for update in stub.Subscribe(messaging.SubscribeRequest(), metadata=metadata):
    print(update.WhichOneof("update"), flush=True)
"""

UntilOpen = Callable[[], Awaitable[None]]
"""Waits until the device's row says that its subscription is open."""

# The server's pings and their answers, of which a test can't wait for the real ones.
PING_MS = 500


@pytest.fixture
async def inbox() -> AsyncIterator[WebhookInbox]:
    inbox = WebhookInbox("session_id")
    async with inbox.serving():
        yield inbox


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have replicas note soon who is connected, and ping soon."""
    for name in ("PING_INTERVAL_MS", "PING_TIMEOUT_MS", "PING_ANSWER_TIMEOUT_MS"):
        monkeypatch.setattr(f"tieline.chassis.grpc_server.{name}", PING_MS)
    for module in (connected_devices, push_rules):
        monkeypatch.setattr(module, "CONNECTED_INTERVAL_S", 0.2)


@pytest.fixture
async def target(
    messaging_database: Database,
    messaging_nats: EmbeddedNats,
    replica_targets: list[str],
    inbox: WebhookInbox,
) -> AsyncIterator[str]:
    """Return where a replica listens that pushes."""
    settings = build_settings("messaging", messaging_database, messaging_nats)
    assert isinstance(settings, MessagingSettings)
    settings = settings.model_copy(
        update={
            "push_webhook_url": f"http://127.0.0.1:{inbox.port}/pushes",
            "push_webhook_secret": SecretStr(SECRET),
            "push_collapse_s": 0.2,
        }
    )
    async with role(settings):
        yield f"127.0.0.1:{settings.grpc_port}"


@asynccontextmanager
async def subscribed_process(target: str, token: str) -> AsyncIterator[Process]:
    """Have a client in a process of its own for the block, which begins with its ``started``."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CLIENT, target, token, stdout=PIPE
    )
    try:
        assert client.stdout is not None
        assert await client.stdout.readline() == b"started\n"
        yield client
    finally:
        client.kill()
        await client.wait()


def _subscribe(channel: grpc.aio.Channel, token: str) -> Any:
    return Stub(channel).Subscribe(
        messaging_service_pb2.SubscribeRequest(),
        metadata=(("authorization", f"Bearer {token}"),),
    )


async def register(channel: grpc.aio.Channel, corp: Corp, token: str) -> None:
    """Have the device of the token pushed to while it is not connected."""
    request = push_service_pb2.RegisterPushTargetRequest(
        corp_id=corp.corp_id, platform=push_service_pb2.PUSH_PLATFORM_OTHER, token=new_id()
    )
    await push_service_pb2_grpc.PushServiceStub(channel).RegisterPushTarget(
        request, metadata=(("authorization", f"Bearer {token}"),), timeout=TIMEOUT_S
    )


async def is_connected(pool: Pool, session_id: str) -> bool:
    """Tell whether the device's row says that a subscription of it is open."""
    async with pool.acquire() as connection:
        connected: bool = await connection.fetchval(
            "SELECT connected_time IS NOT NULL FROM messaging.push_targets WHERE session_id = $1",
            session_id,
        )
    return connected


async def is_gone(pool: Pool, session_id: str) -> bool:
    """Tell whether it says that none is."""
    return not await is_connected(pool, session_id)


def sign(tokens: TestTokens, corp: Corp, user_id: str, session_id: str) -> str:
    claims = {"kind": "member", "corp": corp.corp_id, "sub": user_id, "sid": session_id}
    return tokens.sign(claims)


@asynccontextmanager
async def _cancelled(target: str, token: str, until_open: UntilOpen) -> AsyncIterator[None]:
    """Subscribe and cancel the call; the connection stays open for the block."""
    async with grpc.aio.insecure_channel(target) as channel:
        call = _subscribe(channel, token)
        await call.read()
        await until_open()
        call.cancel()
        yield


@asynccontextmanager
async def _closed(target: str, token: str, until_open: UntilOpen) -> AsyncIterator[None]:
    """Subscribe and close the connection before the block."""
    async with grpc.aio.insecure_channel(target) as channel:
        await _subscribe(channel, token).read()
        await until_open()
    yield


@asynccontextmanager
async def _killed(target: str, token: str, until_open: UntilOpen) -> AsyncIterator[None]:
    """Subscribe and be killed before the block."""
    async with subscribed_process(target, token):
        await until_open()
    yield


@pytest.mark.parametrize("left", [_cancelled, _closed, _killed])
async def test_device_that_closes_is_connected_no_more_before_any_ping(
    target: str,
    tokens: TestTokens,
    corp: Corp,
    pool: Pool,
    inbox: WebhookInbox,
    left: Callable[[str, str, UntilOpen], AbstractAsyncContextManager[None]],
) -> None:
    """Nobody has to say goodbye: what is stored from then on is pushed as soon as to any other."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    session_id = new_id()
    token = sign(tokens, corp, "zhang.san", session_id)
    async with grpc.aio.insecure_channel(target) as channel:
        await register(channel, corp, token)

    soon_s = PING_INTERVAL_MS / 1000 / 2

    async with left(target, token, lambda: eventually(lambda: is_connected(pool, session_id))):
        await eventually(lambda: is_gone(pool, session_id), timeout_s=soon_s)
        message = await li_wei.send(group)
        await eventually(lambda: inbox.posts_for(session_id), timeout_s=soon_s)

    assert [post["sequence"] for post in inbox.posts_for(session_id)] == [message.sequence]


@pytest.mark.usefixtures("soon")
async def test_device_whose_client_is_stopped_is_connected_no_more(
    target: str, tokens: TestTokens, corp: Corp, pool: Pool
) -> None:
    """Its kernel still takes all that is sent; it is the pings that are not answered."""
    session_id = new_id()
    token = sign(tokens, corp, "zhang.san", session_id)
    async with grpc.aio.insecure_channel(target) as channel:
        await register(channel, corp, token)
    async with subscribed_process(target, token) as client:
        await eventually(lambda: is_connected(pool, session_id))

        client.send_signal(signal.SIGSTOP)

        await eventually(lambda: is_gone(pool, session_id))


@pytest.mark.usefixtures("soon")
async def test_what_is_sent_to_a_stopped_client_is_pushed_and_to_one_that_is_there_is_not(
    target: str,
    tokens: TestTokens,
    corp: Corp,
    pool: Pool,
    inbox: WebhookInbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both count as connected when the message is stored; the stopped one until pings tell."""
    monkeypatch.setattr(push_rules, "PROVEN_AFTER", dt.timedelta(milliseconds=6 * PING_MS))
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    stopped_id, live_id = new_id(), new_id()
    stopped, live = [sign(tokens, corp, "zhang.san", each) for each in (stopped_id, live_id)]
    async with grpc.aio.insecure_channel(target) as channel:
        await register(channel, corp, stopped)
        await register(channel, corp, live)
    async with (
        subscribed_process(target, stopped) as client,
        subscribed_process(target, live),
    ):
        await eventually(lambda: is_connected(pool, stopped_id))
        await eventually(lambda: is_connected(pool, live_id))
        client.send_signal(signal.SIGSTOP)

        message = await li_wei.send(group)

        await eventually(lambda: inbox.posts_for(stopped_id))
        await eventually(lambda: is_settled(pool, live_id, message.sequence))
    assert [post["sequence"] for post in inbox.posts_for(stopped_id)] == [message.sequence]
    assert inbox.posts_for(live_id) == []


async def is_settled(pool: Pool, session_id: str, sequence: int) -> bool:
    """Tell whether nothing of the message is left to tell the device."""
    async with pool.acquire() as connection:
        found: bool | None = await connection.fetchval(
            "SELECT pushed_sequence >= $2 FROM messaging.pushes WHERE session_id = $1",
            session_id,
            sequence,
        )
    return bool(found)


@pytest.mark.usefixtures("soon")
async def test_device_whose_client_never_reads_is_connected_no_more(
    target: str, tokens: TestTokens, corp: Corp, pool: Pool
) -> None:
    """Its call hangs in a write for as long as the client answers pings."""
    li_wei = corp.member("li.wei")
    group = await li_wei.create_group("zhang.san")
    session_id = new_id()
    token = sign(tokens, corp, "zhang.san", session_id)
    # With it the client's window grows to some megabytes that nobody reads.
    options = [("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        await register(channel, corp, token)
        call = _subscribe(channel, token)
        await call.read()
        await eventually(lambda: is_connected(pool, session_id))

        # More than the queue and all buffers on the way hold: 2 KB each.
        for _ in range(10):
            await asyncio.gather(*(li_wei.send(group, "x" * 2048) for _ in range(150)))

        await eventually(lambda: is_gone(pool, session_id))
        assert not call.done()


async def test_subscriber_that_takes_nothing_is_let_go_though_little_waits(
    corp: Corp, pool: Pool, messaging_broker: Client
) -> None:
    """One update that is not taken for too long ends it; who waits for the next one stays."""
    left: list[str] = []
    async with LiveHub(pool, messaging_broker, stall_s=0.5) as hub:
        stalled = hub.subscribe(
            (corp.corp_id, member("stalled")), on_leave=lambda: left.append("stalled")
        )
        reading = hub.subscribe(
            (corp.corp_id, member("reading")), on_leave=lambda: left.append("reading")
        )
        async with aclosing(stalled), aclosing(reading):
            await anext(reading)
            waiting = asyncio.ensure_future(anext(reading))
            await anext(stalled)

            await eventually(lambda: left)

            assert left == ["stalled"]
            assert not waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    assert left == ["stalled", "reading"]
