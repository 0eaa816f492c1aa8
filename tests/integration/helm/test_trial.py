"""What the trial gives PostgreSQL and nats-server, in the real ones."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import nats
import pytest
from nats.aio.client import Client

from fakes.eventually import eventually
from rendered_chart import component, example_values, of_kind, render
from tieline.chassis import streams
from tieline.embedded.child import running_child
from tieline.embedded.nats import STOP_SIGNAL, binary
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import binaries

PASSWORD = "p4ss-of_the-trial"
MANIFESTS = render(example_values("trial"))


def configuration() -> dict[str, str]:
    (config_map,) = of_kind(MANIFESTS, "ConfigMap")
    data: dict[str, str] = config_map["data"]
    return data


def environment(engine: str) -> dict[str, str]:
    """The variables of the engine's container, each password of its own."""
    (stateful_set,) = (
        each for each in of_kind(MANIFESTS, "StatefulSet") if component(each) == engine
    )
    (container,) = stateful_set["spec"]["template"]["spec"]["containers"]
    given: dict[str, str] = {
        each["name"]: each.get("value", f"{PASSWORD}-{each['name']}") for each in container["env"]
    }
    return given


@pytest.fixture(scope="module")
def nats_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A nats-server with the trial's configuration, but for addresses and folder."""
    folder: Path = tmp_path_factory.mktemp("trial")
    port = find_free_port()
    text = configuration()["nats.conf"]
    for rendered, ours in {
        '"0.0.0.0:4222"': f'"127.0.0.1:{port}"',
        'http: "0.0.0.0:8222"': "",
        "/data": str(folder),
    }.items():
        assert text.count(rendered) == 1
        text = text.replace(rendered, ours)
    (folder / "nats.conf").write_text(text)
    settings = [f"{name}={value}" for name, value in environment("nats").items()]
    with running_child(
        ["/usr/bin/env", *settings, str(binary()), "--config", str(folder / "nats.conf")],
        name="NATS",
        log_file=folder / "nats.log",
        stop_signal=STOP_SIGNAL,
        is_ready=lambda: "Server is ready" in (folder / "nats.log").read_text(),
    ):
        yield port


def url(port: int, user: str) -> str:
    variable = "MIGRATIONS" if user == "admin" else user.upper()
    return f"nats://{user}:{PASSWORD}-{variable}_PASSWORD@127.0.0.1:{port}"


@asynccontextmanager
async def connected(port: int, user: str) -> AsyncIterator[tuple[Client, list[str]]]:
    errors: list[str] = []

    async def remember(error: Exception) -> None:
        errors.append(str(error).lower())

    client = await nats.connect(url(port, user), inbox_prefix=f"_INBOX.{user}", error_cb=remember)
    try:
        yield client, errors
    finally:
        await client.close()


async def test_admin_declares_the_streams_twice(nats_port: int) -> None:
    await streams.declare(url(nats_port, "admin"))
    await streams.declare(url(nats_port, "admin"))


@pytest.mark.parametrize("user", streams.NATS_USERS)
async def test_user_publishes_its_own_load_reports_or_none(nats_port: int, user: str) -> None:
    is_allowed = user != streams.OPERATOR
    async with connected(nats_port, user) as (client, errors):
        await client.publish(f"load.{user}.r1", b"")
        await client.flush()

        if is_allowed:
            assert errors == []
        else:
            await eventually(lambda: "permissions violation" in " ".join(errors))


@pytest.mark.parametrize("user", [each for each in streams.NATS_USERS if each != "payments"])
async def test_nobody_publishes_an_event_of_payments(nats_port: int, user: str) -> None:
    async with connected(nats_port, user) as (client, errors):
        await client.publish("tieline.payments.v1.red_packet_opened", b"")
        await client.flush()

        await eventually(lambda: "permissions violation" in " ".join(errors))


async def test_nobody_is_let_in_without_a_password(nats_port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", nats_port)
    try:
        greeting = await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()

    assert b'"auth_required":true' in greeting


async def test_roles_of_the_trial_have_their_passwords_and_no_powers(
    postgres_admin_dsn: str, tmp_path: Path
) -> None:
    # Roles belong to the server, which is shared: those of this test have names of their own.
    suffix = secrets.token_hex(4)
    script = configuration()["10-roles.sh"].replace("tieline_", f"t{suffix}_")
    script = script.replace("--username postgres --dbname 'tieline'", '--dbname "$DSN"')
    assert script.count("$DSN") == len(streams.SERVICES)
    (tmp_path / "roles.sh").write_text(script)

    await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", str(tmp_path / "roles.sh")],
        check=True,
        env={
            **environment("postgresql"),
            "DSN": postgres_admin_dsn,
            "PATH": f"{binaries()}:{os.environ['PATH']}",
        },
    )

    address: Any = urlsplit(postgres_admin_dsn)
    for service in streams.SERVICES:
        connection = await asyncpg.connect(
            host=address.hostname,
            port=address.port,
            user=f"t{suffix}_{service}",
            password=f"{PASSWORD}-{service.upper()}_PASSWORD",
            database=address.path.lstrip("/"),
        )
        try:
            assert not await connection.fetchval(
                "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = $1",
                f"t{suffix}_{service}",
            )
        finally:
            await connection.close()
