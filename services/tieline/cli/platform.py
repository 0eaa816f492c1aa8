"""What `tieline up` starts: two engines, their preparation, five services, in this order."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tieline.chassis.derived_keys import derive_key
from tieline.chassis.streams import EDGE, OPERATOR, SERVICES, permissions_of
from tieline.cli.data_directory import DataDirectory, PlatformSecrets
from tieline.cli.grpc_health import is_listening, is_serving
from tieline.cli.port_plan import PortPlan
from tieline.cli.preparation import create_database, migrate_and_declare, set_role_passwords
from tieline.cli.service_environment import list_variables, select_environment
from tieline.cli.supervisor import ChildSpec, Supervisor
from tieline.embedded import nats as embedded_nats
from tieline.embedded import postgres as embedded_postgres
from tieline.embedded.child import dying_with_parent
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import LOOPBACK
from tieline.embedded.postgres import EmbeddedPostgres

DATABASE = "tieline"
NATS_ADMINISTRATOR = "administrator"
PLATFORM_ADMINISTRATOR = "platform"
# A person waits for Ctrl-C; the calls of a laptop's clients are short.
SHUTDOWN_GRACE_S = 5
STOP_TIMEOUT_S = SHUTDOWN_GRACE_S + 10.0


class Platform:
    """The whole platform on this machine, not yet started."""

    def __init__(self, data: DataDirectory, secrets: PlatformSecrets, ports: PortPlan) -> None:
        self._data = data
        self._secrets = secrets
        self._ports = ports
        self._postgres = EmbeddedPostgres(
            data.postgres, ports.postgres, superuser_password=secrets.postgres_password
        )
        self._nats = EmbeddedNats(
            data.nats, ports.nats, self._nats_users(), monitoring_port=ports.nats_monitoring
        )

    async def start(self, supervisor: Supervisor, note: Callable[[str], None]) -> None:
        """Return when everything is healthy, or raise CommandError or EngineError."""
        await asyncio.to_thread(self._postgres.initialise)
        self._nats.initialise()
        await supervisor.start(self._postgres_spec(), self._nats_spec())
        await self._prepare(note)
        # Together: each waits longer for its imports than for anything of the others.
        await supervisor.start(*(self._service_spec(service) for service in SERVICES))
        if self._ports.edge is not None:
            await supervisor.start(self._edge_spec(self._ports.edge))
        self._data.write_endpoints(self.endpoints())

    def endpoints(self) -> dict[str, Any]:
        """Return the addresses, without any secret."""
        edge = {} if self._ports.edge is None else {"edge": f"{LOOPBACK}:{self._ports.edge}"}
        return {
            **edge,
            "services": {name: f"{LOOPBACK}:{port}" for name, port in self._ports.grpc.items()},
            "metrics": {
                name: f"http://{LOOPBACK}:{port}/metrics"
                for name, port in self._ports.metrics.items()
            },
            "postgres": f"{LOOPBACK}:{self._ports.postgres}",
            "nats": f"{LOOPBACK}:{self._ports.nats}",
        }

    async def _prepare(self, note: Callable[[str], None]) -> None:
        await create_database(self._postgres.dsn(), DATABASE)
        admin_dsn = self._postgres.dsn(database=DATABASE)
        await migrate_and_declare(
            admin_dsn,
            self._nats.url(NATS_ADMINISTRATOR),
            SERVICES,
            # No other code's services run on this folder.
            contract=True,
            report=lambda name: note(f"migrated {name}"),
        )
        await set_role_passwords(
            admin_dsn,
            {
                database_role(service): self._secrets.services[service].database_password
                for service in SERVICES
            },
        )

    def _postgres_spec(self) -> ChildSpec:
        return ChildSpec(
            name="postgres",
            command=self._postgres.command(),
            is_ready=lambda: asyncio.to_thread(self._postgres.is_ready),
            environment=select_environment(os.environ),
            is_shown=is_postgres_line_shown,
            stop_signal=embedded_postgres.STOP_SIGNAL,
        )

    def _nats_spec(self) -> ChildSpec:
        return ChildSpec(
            name="nats",
            command=self._nats.command(),
            is_ready=lambda: asyncio.to_thread(self._nats.is_ready),
            # A stream that met a full disk stays unusable until the server starts again.
            is_well=lambda: asyncio.to_thread(self._nats.is_well),
            environment=select_environment(os.environ),
            is_shown=is_nats_line_shown,
            stop_signal=embedded_nats.STOP_SIGNAL,
        )

    def _service_spec(self, service: str) -> ChildSpec:
        port = self._ports.grpc[service]
        return ChildSpec(
            name=service,
            command=tieline_command("serve", service),
            is_ready=lambda: is_serving(port),
            environment=self._service_environment(service),
            stop_timeout_s=STOP_TIMEOUT_S,
        )

    def _edge_spec(self, port: int) -> ChildSpec:
        replicas = {
            f"TIELINE_EDGE_{service.upper()}": (
                f"{LOOPBACK}:{self._ports.grpc[service]}@{self._ports.agents[service]}"
            )
            for service in SERVICES
        }
        return ChildSpec(
            name=EDGE,
            command=tieline_command("edge"),
            is_ready=lambda: asyncio.to_thread(is_listening, port),
            environment={
                "TIELINE_LOG_FORMAT": "console",
                "TIELINE_SHUTDOWN_GRACE_S": str(SHUTDOWN_GRACE_S),
                **select_environment(os.environ, list_variables(EDGE)),
                **replicas,
                "TIELINE_EDGE_PORT": str(port),
                "TIELINE_NATS_URL": self._nats.url(EDGE),
            },
            stop_timeout_s=STOP_TIMEOUT_S,
        )

    def _service_environment(self, service: str) -> Mapping[str, str]:
        own = self._secrets.services[service]
        environment = {
            "TIELINE_LOG_FORMAT": "console",
            # Nobody collects traces here, and a line for each sampled call would hide the others.
            "TIELINE_TRACE_SAMPLE_RATIO": "0",
            "TIELINE_SHUTDOWN_GRACE_S": str(SHUTDOWN_GRACE_S),
            # Here calls wait for what else the machine does, which refusing them would not mend.
            "TIELINE_ADMISSION": "false",
            **select_environment(os.environ, list_variables(service)),
            "TIELINE_DATABASE_DSN": self._postgres.dsn(
                database_role(service), own.database_password, DATABASE
            ),
            "TIELINE_NATS_URL": self._nats.url(service),
            "TIELINE_SECRET_KEY": own.secret_key,
            "TIELINE_GRPC_PORT": str(self._ports.grpc[service]),
            "TIELINE_METRICS_PORT": str(self._ports.metrics[service]),
        }
        if self._ports.edge is not None:
            environment["TIELINE_AGENT_PORT"] = str(self._ports.agents[service])
            environment.setdefault("TIELINE_TRUSTED_PROXIES", f"{LOOPBACK}/32")
        if service == "identity":
            environment["TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD"] = (
                self._secrets.platform_administrator_password
            )
            # One-time codes work at once on one's own machine: they stand in the log.
            environment.setdefault("TIELINE_CODE_SENDER", "development_log")
        if service == "messaging":
            environment.setdefault("TIELINE_MEDIA_STORE_URL", self._data.media.as_uri())
        return environment

    def _nats_users(self) -> list[User]:
        users = [User(NATS_ADMINISTRATOR, self._secrets.nats_password)]
        for service in SERVICES:
            password = self._secrets.services[service].nats_password
            users.append(User(service, password, permissions_of(service)))
        for name in (OPERATOR, EDGE):
            password = derive_nats_password(self._secrets, name)
            users.append(User(name, password, permissions_of(name)))
        return users


def derive_nats_password(secrets: PlatformSecrets, user: str) -> str:
    """Return the password of a NATS user that is no service, such as ``EDGE``."""
    return derive_key(secrets.nats_password, user).hex()


def database_role(service: str) -> str:
    """Return the role that the service's migrations made for it."""
    return f"tieline_{service}"


def is_postgres_line_shown(line: str) -> bool:
    """Leave out what the server says of its normal life, and to probes that come early."""
    return not line.startswith("LOG:") and "the database system is starting up" not in line


def is_nats_line_shown(line: str) -> bool:
    """Leave out normal life; the passwords are in a file that only its owner reads."""
    return "[INF]" not in line and "Plaintext passwords detected" not in line


def tieline_command(*arguments: str) -> list[str]:
    """Return the argv of another `tieline` command that ends when this process dies.

    It is killed: what it acknowledged is committed, and a drain would meet engines that end too.
    """
    command = [sys.executable, "-m", "tieline.cli.main", *arguments]
    return dying_with_parent(command, signal.SIGKILL)
