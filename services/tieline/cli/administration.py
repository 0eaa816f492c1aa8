"""How commands for operators reach the engines: as administrators, by environment variables."""

from typing import TypeVar

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from tieline.chassis.settings import PREFIX, BrokerSettings, SettingsError, load_settings
from tieline.cli.errors import CommandError

MAX_REPLICAS = 5


class BrokerAdministrationSettings(BrokerSettings):
    """What `tieline streams` needs to be told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    nats_admin_url: SecretStr
    """NATS, as a user that may use the whole JetStream API."""


class AdministrationSettings(BrokerAdministrationSettings):
    """What `tieline migrate` and `tieline dead-letters` need to be told."""

    database_admin_dsn: SecretStr
    """PostgreSQL, as a role that may create schemas and roles."""

    nats_replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS)
    """NATS servers that hold each event; 3 in a cluster of three."""


S = TypeVar("S", bound=BrokerAdministrationSettings)


def load_administration_settings() -> AdministrationSettings:
    """Read the environment; CommandError names what is missing or wrong."""
    return _load(AdministrationSettings)


def load_broker_administration_settings() -> BrokerAdministrationSettings:
    """Read the environment; CommandError names what is missing or wrong."""
    return _load(BrokerAdministrationSettings)


def _load(settings_type: type[S]) -> S:
    try:
        return load_settings(settings_type)
    except SettingsError as error:
        raise CommandError(str(error)) from None
