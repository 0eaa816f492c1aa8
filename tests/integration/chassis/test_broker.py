"""The connection to NATS at its two ends: a start that gives up, a close when nobody is there."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from engines import Engine
from fakes.eventually import eventually
from tieline.chassis.broker import Broker, BrokerClient, connect_admin, connect_broker
from tieline.chassis.health import Health
from tieline.chassis.process import StartError
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port


async def test_what_waits_for_a_dead_server_does_not_hinder_closing(tmp_path: Path) -> None:
    server = Engine(
        EmbeddedNats(tmp_path / "nats", find_free_port(), [User("admin", "only-for-tests")])
    )
    server.start()
    try:
        broker = BrokerClient()
        await broker.connect(server.server.url("admin"), max_reconnect_attempts=-1)  # type: ignore[union-attr]  # it is NATS
    finally:
        server.kill()
    await eventually(lambda: not broker.is_connected)
    await broker.publish("anything", b"waits for the server")

    await broker.close()

    assert broker.is_closed


async def test_flushes_that_are_given_up_leave_the_connection_hearing(nats: EmbeddedNats) -> None:
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    async with connect_broker(nats.url("admin"), name="admin", health=Health()) as broker:
        await broker.subscribe("anything", cb=hear)
        # One of them at least is given up between its PING and the PONG.
        for turns in range(10):
            flushing = asyncio.create_task(broker.flush())
            for _ in range(turns):
                await asyncio.sleep(0)
            flushing.cancel()
            await asyncio.gather(flushing, return_exceptions=True)

        await broker.publish("anything", b"heard")

        await eventually(lambda: heard == [b"heard"])


async def die_unnoticed(broker: Broker) -> None:
    """Close the socket as if the server were killed, and keep the client from reading its end."""
    transport: Any = broker._transport
    assert broker._reading_task is not None, "the broker is connected"
    broker._reading_task.cancel()
    transport.close()
    await transport.wait_closed()
    assert broker.is_connected


async def test_a_connection_that_died_unnoticed_is_left_in_good_order(nats: EmbeddedNats) -> None:
    async with connect_broker(nats.url("identity"), name="identity", health=Health()) as broker:
        await broker.subscribe("_INBOX.identity.anything")
        await broker.flush()
        await die_unnoticed(broker)

    assert broker.is_closed


async def test_sending_over_a_connection_that_died_unnoticed_is_a_lost_connection(
    nats: EmbeddedNats,
) -> None:
    async with connect_broker(nats.url("identity"), name="identity", health=Health()) as broker:
        subscription = await broker.subscribe("_INBOX.identity.anything")
        await broker.flush()
        flusher = broker._flusher_task
        assert flusher is not None, "the broker is connected"
        await die_unnoticed(broker)
        await broker.publish("_INBOX.identity.anything", b"ends the client's flusher")
        await eventually(flusher.done)

        with pytest.raises(ConnectionResetError, match="the connection is lost"):
            await subscription.unsubscribe()


async def test_closing_ends_also_when_the_connection_dies_under_it(nats: EmbeddedNats) -> None:
    broker = BrokerClient()
    await broker.connect(nats.url("identity"), inbox_prefix=b"_INBOX.identity")

    async def die() -> None:
        # Behind the closing's first look at the socket.
        transport: Any = broker._transport
        transport.close()
        await broker._send_command(b"PING\r\n")

    await asyncio.gather(broker.close(), die())

    assert broker.is_closed
    assert not broker._pending


async def test_closing_ends_also_when_its_wait_for_the_socket_was_cancelled(
    nats: EmbeddedNats,
) -> None:
    broker = BrokerClient()
    await broker.connect(nats.url("identity"), inbox_prefix=b"_INBOX.identity")
    transport: Any = broker._transport
    # As the reconnecting does, which closing cancels.
    waiting = asyncio.ensure_future(transport.wait_closed())
    await broker.flush()
    waiting.cancel()

    await broker.close()

    assert broker.is_closed


async def test_a_closing_that_is_cancelled_is_cancelled(nats: EmbeddedNats) -> None:
    broker = BrokerClient()
    await broker.connect(nats.url("identity"), inbox_prefix=b"_INBOX.identity")
    transport: Any = broker._transport
    closing = asyncio.create_task(broker.close())
    asyncio.get_running_loop().call_soon(closing.cancel)

    with pytest.raises(asyncio.CancelledError):
        await closing
    transport.close()
    await transport.wait_closed()


async def test_start_gives_up_whatever_its_last_attempt_is_doing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tieline.chassis.broker._RECONNECT_WAIT_S", 0.001)
    unheard: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: unheard.append(context))
    try:
        # A refused attempt takes about as long.
        for timeout_us in range(50, 1500, 10):
            monkeypatch.setattr("tieline.chassis.broker._START_TIMEOUT_S", timeout_us / 1e6)
            with pytest.raises(StartError):
                async with connect_broker("nats://127.0.0.1:1", name="identity", health=Health()):
                    pytest.fail("nobody listens there")
        gc.collect()
    finally:
        loop.set_exception_handler(None)

    assert unheard == []


async def greet_as_an_old_server(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Speak as much of NATS as a client needs to be connected."""
    writer.write(b'INFO {"version":"2.10.27","max_payload":1048576,"headers":true}\r\n')
    async for line in reader:
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")
    writer.close()


@pytest.mark.parametrize("is_administration", [False, True])
async def test_start_refuses_a_server_that_is_too_old(is_administration: bool) -> None:
    server = await asyncio.start_server(greet_as_an_old_server, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"nats://identity:hunter2@127.0.0.1:{port}"
    connecting = (
        connect_admin(url)
        if is_administration
        else connect_broker(url, name="identity", health=Health())
    )

    async with server:
        with pytest.raises(StartError) as raised:
            async with connecting:
                pytest.fail("the server is too old")

    assert raised.value.text == (
        f"NATS at 127.0.0.1:{port} is version 2.10.27, Tieline needs 2.11 or newer: upgrade the "
        "server, or name another one"
    )
