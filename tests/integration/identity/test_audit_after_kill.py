"""Identity is killed while it works: every committed act is in the log, and nothing else is."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import grpc
import pytest

from e2e.platform_process import environment, tieline_command
from engines import Database, build_nats
from fakes.eventually import eventually
from integration.identity.world import PLATFORM_PASSWORD, TIMEOUT_S, bearer, corp_request
from tieline.api.identity.v1 import identity_service_pb2, identity_service_pb2_grpc
from tieline.chassis import streams
from tieline.cli.grpc_health import is_serving
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port

ACKNOWLEDGED_BEFORE_THE_KILL = 30
CLIENTS = 8


@asynccontextmanager
async def identity_process(
    database: Database, nats: EmbeddedNats, output: Path
) -> AsyncIterator[tuple[subprocess.Popen[bytes], int]]:
    port = find_free_port()
    settings = {
        "TIELINE_DATABASE_DSN": database.dsn("identity"),
        "TIELINE_NATS_URL": nats.url("identity"),
        "TIELINE_SECRET_KEY": "only-for-tests".ljust(32, "-"),
        "TIELINE_GRPC_PORT": str(port),
        "TIELINE_SHUTDOWN_GRACE_S": "2",
        "TIELINE_PASSWORD_MEMORY_KIB": "8192",
        "TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD": PLATFORM_PASSWORD,
        # Other tests want the same two cores: before the kill, nothing shall be refused.
        "TIELINE_ADMISSION": "false",
    }
    with output.open("ab") as file:
        process = subprocess.Popen(  # noqa: ASYNC220 -- starts, and does not wait
            tieline_command("serve", "identity"),
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        await eventually(lambda: is_serving(port))
        yield process, port
    finally:
        process.kill()
        process.wait()


async def create_corps_until_killed(port: int, kill: subprocess.Popen[bytes]) -> set[str]:
    """Create corps from several clients, kill identity among them; return what was acknowledged."""
    acknowledged: set[str] = set()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = identity_service_pb2_grpc.IdentityServiceStub(channel)
        signed_in = await stub.SignInPlatformAdministrator(
            identity_service_pb2.SignInPlatformAdministratorRequest(
                name="platform", password=PLATFORM_PASSWORD
            ),
            timeout=TIMEOUT_S,
        )

        async def create_some() -> None:
            try:
                while True:
                    created = await stub.CreateCorp(
                        corp_request(), metadata=bearer(signed_in.session), timeout=TIMEOUT_S
                    )
                    acknowledged.add(created.corp.corp_id)
                    if len(acknowledged) >= ACKNOWLEDGED_BEFORE_THE_KILL:
                        kill.kill()
            except grpc.aio.AioRpcError:
                # Before the kill, nothing is refused.
                if len(acknowledged) < ACKNOWLEDGED_BEFORE_THE_KILL:
                    raise

        await asyncio.gather(*(create_some() for _ in range(CLIENTS)))
    return acknowledged


async def test_every_committed_act_is_in_the_log_after_a_kill(
    empty_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The event that the killed one had in hand is delivered again after this.
    monkeypatch.setattr("tieline.chassis.streams.ACK_WAIT_S", 1)
    nats = build_nats(tmp_path / "nats")
    connection = await asyncpg.connect(empty_database.admin_dsn)

    async def ids(query: str) -> list[str]:
        return [row["corp_id"] for row in await connection.fetch(query)]

    async def is_settled() -> bool:
        return not await connection.fetchval("SELECT count(*) FROM identity.outbox") and len(
            await ids("SELECT corp_id FROM identity.audit_entries WHERE corp_id <> ''")
        ) >= len(await ids("SELECT corp_id FROM identity.corps"))

    try:
        with nats.running():
            await streams.declare(nats.url("admin"))
            output = tmp_path / "output"
            async with identity_process(empty_database, nats, output) as (process, port):
                acknowledged = await create_corps_until_killed(port, process)
            async with identity_process(empty_database, nats, output):
                await eventually(is_settled)
        corps = await ids("SELECT corp_id FROM identity.corps ORDER BY 1")
        entries = await ids(
            """
            SELECT corp_id
              FROM identity.audit_entries
             WHERE corp_id <> '' AND action = 'identity.corp.create'
             ORDER BY 1
            """
        )
    finally:
        await connection.close()

    assert entries == corps
    assert acknowledged <= set(corps)
    assert len(acknowledged) >= ACKNOWLEDGED_BEFORE_THE_KILL
