"""`tieline edge`: HAProxy in front of the services, until SIGTERM or Ctrl-C."""

import signal
import sys

import click

from tieline.chassis.logs import configure_logging
from tieline.chassis.process import run_role
from tieline.chassis.settings import SettingsError, load_settings
from tieline.cli.errors import CommandError
from tieline.edge import app
from tieline.embedded.child import dying_with_parent


@click.command()
def edge() -> None:
    """Run the edge: one address for all services, with limits, a short queue and priorities.

    Needs HAProxy 2.6 or newer (Debian: apt-get install haproxy). Everything is set by environment
    variables named TIELINE_EDGE_…; docs/edge.md explains them.

    \b
    Examples:
      TIELINE_EDGE_MESSAGING=127.0.0.1:7103 tieline edge
      TIELINE_EDGE_HOST=0.0.0.0 TIELINE_EDGE_IDENTITY=dns:tieline-identity:7101@7900 tieline edge
    """
    try:
        settings = load_settings(app.SETTINGS)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    configure_logging("edge", log_format=settings.log_format, log_level=settings.log_level)
    sys.exit(
        run_role(
            lambda: app.role(
                settings, launch=lambda command: dying_with_parent(command, signal.SIGTERM)
            )
        )
    )
