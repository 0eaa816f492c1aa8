"""The connection to NATS at its two ends: a start that gives up, a close when nobody is there."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from engines import Engine
from fakes.eventually import eventually
from tieline.chassis.broker import BrokerClient, connect_broker
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
