"""The folder `.tieline/`: who holds it, the platform's secrets, and where it can be reached.

lock             held by the running platform: every process of it, so that the folder is free
                 only when the last one has gone; says who started it
secrets.json     made once, readable by its owner only
endpoints.json   addresses of the running platform; absent when it does not run
postgres/ nats/  the engines' data
media/           what was uploaded
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from tieline.cli.errors import CommandError

DEFAULT_DATA_DIRECTORY = Path(".tieline")
# 256 bits, in 43 letters that need no quoting in a URL.
SECRET_BYTES = 32
PASSWORD_BYTES = 18
# The rest of a killed platform: PostgreSQL writes its last checkpoint, services die at once.
RELEASE_TIMEOUT_S = 30.0
RELEASE_POLL_S = 0.05


def data_option(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option by which a command is told the folder, as ``data_path``."""
    return click.option(
        "--data",
        "data_path",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_DATA_DIRECTORY,
        show_default=True,
        envvar="TIELINE_DATA",
        show_envvar=True,
        help=text,
    )


@dataclass(frozen=True)
class ServiceSecrets:
    """What one service needs to be let in, and its own key."""

    database_password: str = field(repr=False)
    nats_password: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class PlatformSecrets:
    """All secrets of the platform on this machine."""

    postgres_password: str = field(repr=False)
    nats_password: str = field(repr=False)
    platform_administrator_password: str = field(repr=False)
    services: Mapping[str, ServiceSecrets]


class DataDirectory:
    """The folder and what is kept in it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.postgres = self.path / "postgres"
        self.nats = self.path / "nats"
        self.media = self.path / "media"
        self.secrets_file = self.path / "secrets.json"
        self._endpoints_file = self.path / "endpoints.json"
        self._lock_file = self.path / "lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """Create the folder and hold it; yield the lock's file, which children should inherit."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _open_lock(self._lock_file)
        try:
            self._acquire(descriptor)
            holder = {"pid": os.getpid(), "start_time": time.strftime("%Y-%m-%d %H:%M:%S")}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode(), 0)
            # Those of a platform that was killed lead nowhere.
            self._endpoints_file.unlink(missing_ok=True)
            yield descriptor
        finally:
            os.close(descriptor)

    def secrets(self, services: Sequence[str]) -> PlatformSecrets:
        """Return the platform's secrets; make those that are not there yet."""
        if self.secrets_file.exists():
            kept = self.read_secrets()
            if set(services) <= set(kept.services):
                return kept
            # Made by a version with fewer services.
            made = replace(kept, services={**_make_secrets(services).services, **kept.services})
            _write_privately(self.secrets_file, asdict(made))
            return made
        if self.postgres.exists():
            raise CommandError(
                f"{self.secrets_file} is missing, and only it opens the data beside it; restore it "
                "or give another --data directory"
            )
        made = _make_secrets(services)
        _write_privately(self.secrets_file, asdict(made))
        return made

    def read_secrets(self) -> PlatformSecrets:
        """Return the secrets of a platform that was started before."""
        try:
            content = json.loads(self.secrets_file.read_text())
            services = {
                name: ServiceSecrets(**entry) for name, entry in content.pop("services").items()
            }
            return PlatformSecrets(**content, services=services)
        except FileNotFoundError:
            raise CommandError(
                f"there is no platform in {self.path}; start one with `tieline up`, or give --data"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CommandError(
                f"{self.secrets_file} is damaged; restore it or give another --data directory"
            ) from None

    def write_endpoints(self, endpoints: Mapping[str, Any]) -> None:
        """Publish where the running platform is reached; removed by the next hold."""
        _write_privately(self._endpoints_file, endpoints)

    def remove_endpoints(self) -> None:
        """Withdraw the addresses; a repeat changes nothing."""
        self._endpoints_file.unlink(missing_ok=True)

    def read_endpoints(self) -> dict[str, Any]:
        """Return what `write_endpoints` was given by the platform that runs now."""
        try:
            content: dict[str, Any] = json.loads(self._endpoints_file.read_text())
        except FileNotFoundError:
            raise CommandError(
                f"no platform runs in {self.path}; start it with `tieline up`, or give --data"
            ) from None
        return content

    def _acquire(self, descriptor: int) -> None:
        deadline = time.monotonic() + RELEASE_TIMEOUT_S
        while not _try_lock(descriptor):
            # The lock outlives a killed `tieline up` until its last child has ended.
            holder = _read_holder(descriptor)
            if _is_alive(holder.get("pid")) or time.monotonic() > deadline:
                raise CommandError(
                    f"{self.path} is held by pid {holder.get('pid', '(unknown)')} since "
                    f"{holder.get('start_time', '(unknown)')}; stop it or give another --data "
                    "directory"
                )
            time.sleep(RELEASE_POLL_S)


def _make_secrets(services: Sequence[str]) -> PlatformSecrets:
    return PlatformSecrets(
        postgres_password=secrets.token_urlsafe(SECRET_BYTES),
        nats_password=secrets.token_urlsafe(SECRET_BYTES),
        platform_administrator_password=secrets.token_urlsafe(PASSWORD_BYTES),
        services={
            name: ServiceSecrets(
                database_password=secrets.token_urlsafe(SECRET_BYTES),
                nats_password=secrets.token_urlsafe(SECRET_BYTES),
                secret_key=secrets.token_urlsafe(SECRET_BYTES),
            )
            for name in services
        },
    )


def _write_privately(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file whole: a full disk leaves the old one, and never half of a new one."""
    staging = path.with_suffix(".new")
    staging.unlink(missing_ok=True)
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)


def _open_lock(path: Path) -> int:
    try:
        # What is opened is emptied: behind a link somebody could have put any file of ours.
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise CommandError(
            f"{path} is a symbolic link; remove it or give another --data directory"
        ) from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(descriptor: int) -> dict[str, Any]:
    try:
        holder: dict[str, Any] = json.loads(os.pread(descriptor, 1000, 0))
    except ValueError:
        # Between its locking and its writing; the next try finds it.
        return {}
    return holder


def _is_alive(process_id: object) -> bool:
    if not isinstance(process_id, int):
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
