"""How commands for operators reach the engines: as administrators, by environment variables."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from tieline.chassis.settings import PREFIX, BrokerSettings, SettingsError, load_settings
from tieline.cli.errors import CommandError

MAX_REPLICAS = 5


class AdministrationSettings(BrokerSettings):
    """What `tieline migrate` and `tieline dead-letters` need to be told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    database_admin_dsn: SecretStr
    """PostgreSQL, as a role that may create schemas and roles."""

    nats_admin_url: SecretStr
    """NATS, as a user that may use the whole JetStream API."""

    nats_replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS)
    """NATS servers that hold each event; 3 in a cluster of three."""


def load_administration_settings() -> AdministrationSettings:
    """Read the environment; CommandError names what is missing or wrong."""
    try:
        return load_settings(AdministrationSettings)
    except SettingsError as error:
        raise CommandError(str(error)) from None
