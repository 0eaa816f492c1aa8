"""`tieline up`: the whole platform on this machine, until Ctrl-C."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tieline.chassis.process import StartError
from tieline.chassis.streams import EDGE, SERVICES
from tieline.cli.child_process import ChildProcess
from tieline.cli.data_directory import DataDirectory, data_option
from tieline.cli.errors import CommandError, describe_os_error
from tieline.cli.platform import PLATFORM_ADMINISTRATOR, Platform, tieline_command
from tieline.cli.port_plan import MAX_BASE_PORT, plan_ports
from tieline.cli.service_environment import check_environment
from tieline.cli.supervisor import Supervisor
from tieline.cli.terminal import Terminal
from tieline.edge.haproxy import find_binary
from tieline.embedded.ports import find_free_port, is_port_free

DEMO_STOP_TIMEOUT_S = 5.0


@click.command()
@data_option("Folder of everything that the platform keeps.")
@click.option(
    "--base-port",
    type=click.IntRange(1024, MAX_BASE_PORT),
    envvar="TIELINE_BASE_PORT",
    show_envvar=True,
    help="Ports start here: gRPC at +101 to +105, metrics at +201 to +205, NATS at +222 and +223, "
    "PostgreSQL at +432. Without it 7000, and a taken port is replaced by a free one.",
)
@click.option(
    "--edge", is_flag=True, help="Put the edge in front, at +100; needs HAProxy (docs/edge.md)."
)
@click.option("--demo", is_flag=True, help="Run `tieline demo` when everything is healthy.")
def up(data_path: Path, base_port: int | None, edge: bool, demo: bool) -> None:
    """Run PostgreSQL, NATS and the five services on this machine, until Ctrl-C.

    The services listen on the loopback address only. Their data stay in the --data folder and are
    found again. A service that crashes is started again.

    \b
    Examples:
      tieline up
      tieline up --demo
      tieline up --edge
      tieline up --data /srv/tieline --base-port 17000
    """
    check_environment(os.environ, (*SERVICES, EDGE))
    if edge:
        check_edge_can_run()
    terminal = Terminal(Console())
    data = DataDirectory(data_path)
    # Before the event loop: it waits for the rest of a killed platform.
    try:
        with data.held() as lock:
            status = asyncio.run(_run(data, base_port, edge, demo, terminal, lock))
    except OSError as error:
        raise CommandError(describe_os_error(error, place=data.path)) from None
    sys.exit(status)


def check_edge_can_run() -> None:
    """Raise CommandError that names the package where HAProxy is missing."""
    try:
        find_binary()
    except StartError as error:
        raise CommandError(error.text) from None


def print_welcome(
    terminal: Terminal, platform: Platform, data: DataDirectory, password: str
) -> None:
    """Print the addresses, and the first password where only a person sees it."""
    endpoints = platform.endpoints()
    table = Table(title="Tieline is up")
    for heading in ("service", "gRPC", "metrics"):
        table.add_column(heading)
    for service in SERVICES:
        table.add_row(service, endpoints["services"][service], endpoints["metrics"][service])
    if "edge" in endpoints:
        table.add_row("edge (all of them)", endpoints["edge"], "")
    table.add_row("PostgreSQL", endpoints["postgres"], "")
    table.add_row("NATS", endpoints["nats"], "")
    console = terminal.console
    console.print(table)
    # Output that is no terminal is a file or a log collector, where a password must not be.
    if console.is_terminal:
        console.print(f"platform administrator: {PLATFORM_ADMINISTRATOR}   password: ", end="")
        console.print(password, markup=False, highlight=False)
    else:
        terminal.note(f"the platform administrator's password is in {data.secrets_file}")
    terminal.note("serving; Ctrl-C stops everything")


async def _run(
    data: DataDirectory,
    base_port: int | None,
    edge: bool,
    demo: bool,
    terminal: Terminal,
    lock: int,
) -> int:
    """Serve until a signal or the demo's failure; return the exit status."""
    supervisor = Supervisor(
        print_line=terminal.child_line, note=terminal.note, inherited_files=[lock]
    )
    stop = _stop_on_signals(supervisor, terminal)
    serving = asyncio.create_task(
        _serve(data, base_port, edge, demo, terminal, supervisor), name="serving"
    )
    stopping = asyncio.create_task(stop.wait(), name="stopping")
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return serving.result() if serving.done() else 0
    finally:
        stopping.cancel()
        serving.cancel()
        await asyncio.wait({serving})
        data.remove_endpoints()
        await supervisor.stop()
        terminal.note("stopped")


def _stop_on_signals(supervisor: Supervisor, terminal: Terminal) -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.kill()
            return
        terminal.note("stopping; again to stop at once")
        stop.set()

    # SIGHUP: the terminal was closed.
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signal_number, on_signal)
    return stop


async def _serve(
    data: DataDirectory,
    base_port: int | None,
    edge: bool,
    demo: bool,
    terminal: Terminal,
    supervisor: Supervisor,
) -> int:
    """Start everything and stay; return only when the demo failed."""
    secrets = data.secrets(SERVICES)
    ports = plan_ports(
        SERVICES, base_port, is_free=is_port_free, find_free=find_free_port, with_edge=edge
    )
    for text in ports.notes:
        terminal.note(text)
    platform = Platform(data, secrets, ports)
    started = time.monotonic()
    terminal.note(f"starting on {data.path}")
    await platform.start(supervisor, terminal.note)
    terminal.note(f"everything is healthy after {time.monotonic() - started:.1f} s")
    print_welcome(terminal, platform, data, secrets.platform_administrator_password)
    if demo:
        status = await _run_demo(data)
        if status != 0:
            terminal.note("the demo failed")
            return abs(status)
    await asyncio.Event().wait()
    raise AssertionError("nothing sets the event")


async def _run_demo(data: DataDirectory) -> int:
    """Run it with our own standard output, so that its progress bars work; return its status."""
    demo = await ChildProcess.start(
        tieline_command("demo"),
        {**os.environ, "TIELINE_DATA": str(data.path)},
        print_line=None,
        inherited_files=[],
    )
    try:
        return await demo.wait()
    finally:
        await demo.stop(signal.SIGTERM, DEMO_STOP_TIMEOUT_S)
