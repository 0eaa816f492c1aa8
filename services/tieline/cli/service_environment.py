"""Which of the caller's environment variables each child of `tieline up` gets."""

import importlib
from collections.abc import Iterable, Mapping

from tieline.chassis.settings import COMMAND_LINE_VARIABLES, PREFIX, ServiceSettings
from tieline.cli.errors import CommandError

# `up` gives these to the services itself.
_GIVEN = frozenset(
    {
        "TIELINE_AGENT_PORT",
        "TIELINE_DATABASE_DSN",
        # Ctrl-C ends all of them: there is nobody to whom calls could go instead.
        "TIELINE_DRAIN_S",
        "TIELINE_EDGE_HOST",
        "TIELINE_EDGE_PORT",
        "TIELINE_GRPC_HOST",
        "TIELINE_GRPC_PORT",
        "TIELINE_GRPC_PORT_SHARED",
        "TIELINE_METRICS_HOST",
        "TIELINE_METRICS_PORT",
        "TIELINE_NATS_URL",
        "TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD",
        "TIELINE_SECRET_KEY",
    }
)


def list_variables(service: str) -> frozenset[str]:
    """Return the variables that the service reads."""
    # Not through the service's app, which would import all of it.
    module = importlib.import_module(f"tieline.{service}.settings")
    settings: type[ServiceSettings] = getattr(module, f"{service.capitalize()}Settings")
    return frozenset(f"{PREFIX}{name.upper()}" for name in settings.model_fields)


def check_environment(environment: Mapping[str, str], services: Iterable[str]) -> None:
    """Refuse variables with our prefix that nothing here reads: they are misspelled."""
    known = COMMAND_LINE_VARIABLES.union(*(list_variables(service) for service in services))
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise CommandError(
            f"unknown setting {', '.join(unknown)}: remove it, or correct its name "
            "(docs/settings.md lists all of them)"
        )


def select_environment(
    environment: Mapping[str, str], variables: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Return what a child that reads these variables inherits: they and all that are not ours.

    So ``TIELINE_LOG_LEVEL=debug tieline up`` reaches every service, and a setting of one service
    does not stop the others.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(PREFIX) or name in variables - _GIVEN
    }
