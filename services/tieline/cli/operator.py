"""`tieline operator`: the surge operator."""

import sys

import click

from tieline.chassis.logs import configure_logging
from tieline.chassis.process import run_role
from tieline.chassis.settings import SettingsError, load_settings
from tieline.cli.errors import CommandError
from tieline.cli.simulate import simulate


@click.group()
def operator() -> None:
    """The surge operator: gives each service the replicas that its load asks for.

    \b
    Examples:
      tieline operator run
      tieline operator simulate step     how it would meet a tenfold step
    """


@operator.command()
def run() -> None:
    """Follow the custom resources of a namespace and scale its Deployments, until SIGTERM.

    In a pod it speaks as its service account, elsewhere as KUBECONFIG says. Several may run: one
    writes, the others take over. Everything else is set by environment variables named TIELINE_…;
    docs/settings.md lists them.

    \b
    Examples:
      TIELINE_NATS_URL=nats://operator:…@nats:4222 TIELINE_NAMESPACE=tieline tieline operator run
    """
    # Not before it is asked for: the other commands need neither kopf nor a Kubernetes client.
    from tieline.operator.app import SETTINGS, role

    try:
        settings = load_settings(SETTINGS)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    configure_logging("operator", log_format=settings.log_format, log_level=settings.log_level)
    sys.exit(run_role(lambda: role(settings)))


operator.add_command(simulate)
