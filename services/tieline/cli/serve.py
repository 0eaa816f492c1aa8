"""`tieline serve SERVICE`: one service as one process, or as several on one port."""

import asyncio
import importlib
import sys
from types import ModuleType

import click

from tieline.chassis.grpc_server import check_port_is_free
from tieline.chassis.logs import configure_logging
from tieline.chassis.process import StartError, run_role
from tieline.chassis.settings import ServiceSettings, SettingsError, load_settings
from tieline.chassis.streams import SERVICES
from tieline.chassis.workers import WorkerCommand, run_workers
from tieline.cli.errors import CommandError

MAX_WORKERS = 64


@click.command()
@click.argument("service", type=click.Choice(SERVICES))
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    default=1,
    show_default=True,
    help="Processes that share the port; one uses one core.",
)
@click.option("--as-worker", is_flag=True, hidden=True)
def serve(service: str, workers: int, as_worker: bool) -> None:
    """Run one service until SIGTERM or Ctrl-C; then finish the calls in flight.

    Everything else is set by environment variables named TIELINE_…; docs/settings.md lists them.

    \b
    Examples:
      tieline serve messaging
      TIELINE_GRPC_PORT=9000 tieline serve identity --workers 4
    """
    app = importlib.import_module(f"tieline.{service}.app")
    settings = _load_settings(app)
    configure_logging(service, log_format=settings.log_format, log_level=settings.log_level)
    if workers > 1:
        sys.exit(_serve_with_workers(service, settings, workers))
    sys.exit(run_role(lambda: app.role(settings), ends_with_stdin=as_worker))


def _load_settings(app: ModuleType) -> ServiceSettings:
    settings_type: type[ServiceSettings] = app.SETTINGS
    try:
        return load_settings(settings_type)
    except SettingsError as error:
        raise CommandError(str(error)) from None


def _serve_with_workers(service: str, settings: ServiceSettings, count: int) -> int:
    try:
        # The workers share the port with each other, and must not share it with a stranger.
        check_port_is_free(settings.grpc_host, settings.grpc_port)
    except StartError as error:
        raise CommandError(error.text) from None

    def build_command(index: int) -> WorkerCommand:
        metrics_port = settings.metrics_port + index if settings.metrics_port else 0
        return WorkerCommand(
            [sys.executable, "-m", "tieline.cli.main", "serve", service, "--as-worker"],
            {"TIELINE_METRICS_PORT": str(metrics_port), "TIELINE_GRPC_PORT_SHARED": "true"},
        )

    grace_s = settings.drain_s + settings.shutdown_grace_s
    return asyncio.run(run_workers(build_command, count, grace_s=grace_s))
