"""PostgreSQL from the wheel, as root or as whoever runs the tests."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from fakes.eventually import eventually
from tieline.embedded.errors import EngineError
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

PASSWORD = "only for tests: @/%"


def build_postgres(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "data", find_free_port(), superuser_password=PASSWORD)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory to copy from: initdb takes most of a second."""
    directory = tmp_path_factory.mktemp("initialised")
    build_postgres(directory).initialise()
    return directory / "data"


def copy_of(data: Path, directory: Path) -> EmbeddedPostgres:
    subprocess.run(["cp", "-a", str(data), str(directory / "data")], check=True)
    return build_postgres(directory)


async def fetch_setting(postgres: EmbeddedPostgres, name: str) -> str:
    connection = await asyncpg.connect(postgres.dsn())
    try:
        value: str = await connection.fetchval("SELECT current_setting($1)", name)
        return value
    finally:
        await connection.close()


async def test_started_server_is_utf8_durable_and_on_loopback_only(
    data: Path, tmp_path: Path
) -> None:
    postgres = copy_of(data, tmp_path)

    with postgres.running():
        assert await fetch_setting(postgres, "server_encoding") == "UTF8"
        assert await fetch_setting(postgres, "fsync") == "on"
        assert await fetch_setting(postgres, "listen_addresses") == "127.0.0.1"
        assert await fetch_setting(postgres, "unix_socket_directories") == ""


async def test_nobody_gets_in_without_the_password(data: Path, tmp_path: Path) -> None:
    postgres = copy_of(data, tmp_path)

    with postgres.running(), pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.dsn(password="another"))


async def test_data_are_found_again_after_a_stop(data: Path, tmp_path: Path) -> None:
    postgres = copy_of(data, tmp_path)
    with postgres.running():
        connection = await asyncpg.connect(postgres.dsn())
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS number")
        await connection.close()

    with postgres.running():
        connection = await asyncpg.connect(postgres.dsn())
        assert await connection.fetchval("SELECT number FROM kept") == 42
        await connection.close()


async def test_stop_does_not_wait_for_clients(data: Path, tmp_path: Path) -> None:
    postgres = copy_of(data, tmp_path)
    with postgres.running() as process_id:
        connection = await asyncpg.connect(postgres.dsn())

    assert not psutil.pid_exists(process_id)
    connection.terminate()


def test_initdb_that_was_killed_is_repeated_by_the_next_start(tmp_path: Path) -> None:
    leftover = tmp_path / ".data.new"
    (leftover / "data" / "base").mkdir(parents=True)

    build_postgres(tmp_path).initialise()

    assert (tmp_path / "data" / "PG_VERSION").exists()
    assert not leftover.exists()


def test_failed_initdb_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "unused")
    postgres = EmbeddedPostgres(tmp_path / "data", 1, superuser_password="")

    with pytest.raises(EngineError, match=r"cannot create PostgreSQL's data in .*/data: "):
        postgres.initialise()

    assert list(tmp_path.iterdir()) == []


def test_taken_port_is_an_error_with_the_servers_words(data: Path, tmp_path: Path) -> None:
    postgres = copy_of(data, tmp_path)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", postgres.port))
        listener.listen()

        words = r"PostgreSQL ended with status 1.*Address already in use"
        with pytest.raises(EngineError, match=words), postgres.running():
            pass


async def test_server_ends_when_its_parent_is_killed(data: Path, tmp_path: Path) -> None:
    postgres = copy_of(data, tmp_path)
    script = (
        "import signal, sys; from pathlib import Path\n"
        "from tieline.embedded.postgres import EmbeddedPostgres\n"
        "postgres = EmbeddedPostgres(Path(sys.argv[1]), int(sys.argv[2]), superuser_password='')\n"
        "with postgres.running() as pid: print(pid, flush=True); signal.pause()\n"
    )
    parent = subprocess.Popen(  # noqa: ASYNC220 -- starts, and does not wait
        [sys.executable, "-c", script, str(postgres.directory), str(postgres.port)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    with parent.stdout:
        server = psutil.Process(int(parent.stdout.readline()))
    family = [server, *server.children(recursive=True)]

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    await eventually(lambda: not any(process.is_running() for process in family))
