"""nats-server from the wheel."""

import asyncio
import socket
import urllib.error
import urllib.request
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.msg import Msg

from fakes.eventually import eventually
from tieline.chassis.streams import Permissions
from tieline.embedded.errors import EngineError
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port

ADMIN = User("admin", "a-password")
APP = User("app", "another_password", Permissions(("allowed.>",), ("_INBOX.>", "asked")))


def build_nats(directory: Path) -> EmbeddedNats:
    return EmbeddedNats(directory / "nats", find_free_port(), [ADMIN, APP])


async def test_stored_messages_are_found_again_after_a_stop(tmp_path: Path) -> None:
    engine = build_nats(tmp_path)
    with engine.running():
        client = await nats.connect(engine.url("admin"))
        await client.jetstream().add_stream(name="EVENTS", subjects=["events.>"])
        await client.jetstream().publish("events.first", b"kept")
        await client.close()

    with engine.running():
        client = await nats.connect(engine.url("admin"))
        message = await client.jetstream().get_msg("EVENTS", seq=1)
        assert message.data == b"kept"
        await client.close()


async def test_user_publishes_what_it_may_and_answers_what_it_is_asked(tmp_path: Path) -> None:
    engine = build_nats(tmp_path)
    refusals: list[Exception] = []

    async def answer_it(message: Msg) -> None:
        await message.respond(b"answer")

    async def on_error(error: Exception) -> None:
        refusals.append(error)

    with engine.running():
        admin = await nats.connect(engine.url("admin"))
        app = await nats.connect(engine.url("app"), error_cb=on_error)
        await app.subscribe("asked", cb=answer_it)
        heard = await admin.subscribe(">")
        await admin.flush()
        await app.flush()

        await app.publish("allowed.subject", b"heard")
        await app.publish("forbidden.subject", b"not heard")
        await eventually(lambda: any("forbidden.subject" in str(error) for error in refusals))
        answer = await admin.request("asked", b"", timeout=5)

        assert (await heard.next_msg(timeout=5)).subject == "allowed.subject"
        assert answer.data == b"answer"
        await app.close()
        await admin.close()


def test_monitoring_answers_only_who_knows_its_path(tmp_path: Path) -> None:
    port = find_free_port()
    engine = EmbeddedNats(tmp_path / "nats", find_free_port(), [ADMIN], monitoring_port=port)

    with engine.running():
        assert engine.is_well()
        for path in ("", "healthz", "varz", "connz?subs=1", "subsz", "jsz", "debug/vars"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5)
    assert not engine.is_well()


def test_taken_port_is_an_error_with_the_servers_words(tmp_path: Path) -> None:
    engine = build_nats(tmp_path)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", engine.port))
        listener.listen()

        words = r"NATS ended with status 1.*address already in use"
        with pytest.raises(EngineError, match=words), engine.running():
            pass


async def test_monitoring_that_answers_nonsense_is_unwell(tmp_path: Path) -> None:
    async def answer_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"nonsense\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer_nonsense, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = EmbeddedNats(tmp_path / "nats", find_free_port(), [ADMIN], monitoring_port=port)
    async with server:
        assert not await asyncio.to_thread(engine.is_well)
