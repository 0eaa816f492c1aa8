"""`tieline serve` as a cluster runs it: one service, several workers."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from e2e.platform_process import run_tieline, survivors
from engines import Database
from fakes.eventually import eventually
from integration.cli.served import serving
from tieline.cli.grpc_health import is_serving
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port

WORKERS = 2


@pytest.fixture
def settings(database: Database, nats: EmbeddedNats) -> dict[str, str]:
    return {
        "TIELINE_DATABASE_DSN": database.dsn("payments"),
        "TIELINE_NATS_URL": nats.url("payments"),
        "TIELINE_SECRET_KEY": "only-for-tests".ljust(32, "-"),
        "TIELINE_GRPC_PORT": str(find_free_port()),
        "TIELINE_SHUTDOWN_GRACE_S": "2",
    }


def is_listening(process: psutil.Process, port: int) -> bool:
    return any(each.laddr.port == port for each in process.net_connections("tcp"))


async def test_port_of_a_running_service_is_refused_in_one_line(
    settings: dict[str, str], tmp_path: Path
) -> None:
    async with serving(settings, tmp_path / "output"):
        for options in ([], ["--workers", "2"]):
            status, output = await run_tieline("serve", "payments", *options, **settings)

            assert status == 1
            assert output.splitlines()[-1].startswith("tieline: port ")
            assert "TIELINE_GRPC_PORT" in output


async def test_killed_worker_is_replaced_and_a_terminated_service_leaves_none_and_status_0(
    settings: dict[str, str], tmp_path: Path
) -> None:
    async with serving(settings, tmp_path / "output", "--workers", str(WORKERS)) as served:
        await eventually(lambda: len(served.workers()) == WORKERS)
        victim, survivor = served.workers()

        os.kill(victim.pid, signal.SIGKILL)

        await eventually(lambda: is_serving(served.port))
        await eventually(
            lambda: len(survivors(served.workers())) == WORKERS and victim not in served.workers()
        )
        assert survivor in served.workers()

        workers = served.workers()
        await eventually(lambda: all(is_listening(worker, served.port) for worker in workers))
        served.process.terminate()

        assert served.process.wait() == 0, served.output
        assert survivors(workers) == []


async def test_killed_service_leaves_no_worker(settings: dict[str, str], tmp_path: Path) -> None:
    async with serving(settings, tmp_path / "output", "--workers", str(WORKERS)) as served:
        await eventually(lambda: len(served.workers()) == WORKERS)
        workers = served.workers()

        served.process.kill()

        await eventually(lambda: not survivors(workers))
