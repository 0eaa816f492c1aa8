"""The entry point: finds the command, and turns expected failures into one line and status 1.

A command's module is imported when the command is run or its help is asked for, so that
`tieline version` does not wait for gRPC.
"""

import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import click

from tieline.cli.errors import CommandError, describe_os_error
from tieline.embedded.errors import EngineError

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "up": ("tieline.cli.up", "Run the whole platform on this machine."),
        "demo": ("tieline.cli.demo", "A working day of a retailer on the running platform."),
        "serve": ("tieline.cli.serve", "Run one service."),
        "surge": ("tieline.cli.surge", "Many times the load on a running platform."),
        "observe": ("tieline.cli.observe", "Run Prometheus on the platform of this machine."),
        "edge": ("tieline.cli.edge", "Run the edge: HAProxy in front of the services."),
        "operator": ("tieline.cli.operator", "Run the surge operator, or try a scaling policy."),
        "migrate": ("tieline.cli.migrate", "Bring databases and streams to this version."),
        "streams": ("tieline.cli.streams", "Back the event streams up, and restore them."),
        "dead-letters": ("tieline.cli.dead_letters", "Events that could not be handled."),
        "platform-administrators": (
            "tieline.cli.platform_administrators",
            "Who runs the deployment, and their passwords.",
        ),
        "calibrate-passwords": (
            "tieline.cli.calibrate_passwords",
            "Settings for passwords that suit this machine.",
        ),
        "version": ("tieline.cli.version", "Print the version."),
    }
)


# kopf needs aiohttp.
_USES_AIOHTTP = "operator"


class _LazyGroup(click.Group):
    """Knows its commands by name and imports them on use."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module_name, _ = COMMANDS[name]
        command = getattr(importlib.import_module(module_name), name.replace("-", "_"))
        assert isinstance(command, click.Command), f"{module_name} has no command {name}"
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def tieline() -> None:
    """Tieline, an open enterprise connector.

    \b
    Examples:
      tieline up --demo           everything on this machine, and a day's work on it
      tieline serve messaging     one service, as a cluster runs it
      tieline COMMAND --help      more about one command
    """


def main() -> None:
    """Run the command that the arguments name, in a process of its own."""
    _end_on_sigterm()
    if is_without_aiohttp(sys.argv[1:]):
        # nats-py would import it, an eighth of a service's start, for WebSockets that nothing here
        # speaks. With None in its place the import fails, as where it is not installed.
        sys.modules.setdefault("aiohttp", None)  # type: ignore[arg-type]
    # What gRPC does around a fork for children that go on using it kills some of those that don't:
    # of 1,500 started while calls were under way 50 died before they ran.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    run()


def _end_on_sigterm() -> None:
    """Have SIGTERM end this process also where it is number 1, as in a container.

    The kernel gives number 1 only the signals that it has handlers for: one that was told to stop
    while it imports, or migrates, would go on until SIGKILL. A role has a handler of its own.

    Number 1 also inherits the children of what has ended. Here nobody waits for those, since there
    are none that stay: a role's programs are its own children, and HAProxy's workers are waited for
    by HAProxy, without which the edge ends too.
    """
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))


def run() -> None:
    """Run the command; what may be expected to go wrong is one line and status 1."""
    try:
        tieline(prog_name="tieline")
    except (CommandError, EngineError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(describe_os_error(error))


def is_without_aiohttp(arguments: Sequence[str]) -> bool:
    """Tell whether the command that these arguments name has no use for aiohttp."""
    return bool(arguments) and arguments[0] in COMMANDS and arguments[0] != _USES_AIOHTTP


def _fail(text: str) -> None:
    # One line, whatever the text was made of.
    click.echo(f"tieline: {' '.join(text.split())}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
