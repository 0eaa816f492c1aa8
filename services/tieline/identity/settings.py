"""Identity's settings."""

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from tieline.chassis.addresses import is_loopback, read_networks
from tieline.chassis.revocation_list import MAX_TOKEN_LIFETIME_S
from tieline.chassis.settings import ServiceSettings
from tieline.chassis.webhooks import is_webhook_url
from tieline.identity.passwords.hashing import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

DAY_S = 24 * 60 * 60


class IdentitySettings(ServiceSettings):
    """What identity needs beside every service's settings.

    ``secret_key`` also peppers the passwords and encrypts the signing keys: with another one,
    identity does not start on the same database.
    """

    grpc_port: int = Field(default=7101, ge=1, le=65535)
    """TCP port of the gRPC server."""

    access_token_lifetime_s: int = Field(default=15 * 60, ge=60, le=MAX_TOKEN_LIFETIME_S)
    """Seconds that an access token is good for. Services hear of an ended session within two
    seconds; while NATS is away, somebody whose session was ended keeps access for this long."""

    refresh_token_lifetime_s: int = Field(default=30 * DAY_S, ge=60, le=365 * DAY_S)
    """Seconds after which a device that was not used must sign in again."""

    session_max_age_s: int = Field(default=365 * DAY_S, ge=60, le=10 * 365 * DAY_S)
    """Seconds after a sign-in at which the device must sign in again, however much it was used."""

    signing_key_lifetime_s: int = Field(default=30 * DAY_S, ge=60 * 60, le=365 * DAY_S)
    """Seconds that a key signs access tokens before the next one takes its place. The next one is
    published ten minutes before, the last one for as long as tokens of it may be good."""

    password_time_cost: int = Field(default=2, ge=1, le=100)
    """Passes of Argon2id over its memory (OWASP: 2 with 19 MiB)."""

    password_memory_kib: int = Field(default=19 * 1024, ge=8 * 1024, le=1024 * 1024)
    """KiB that checking one password takes; ``password_threads`` are checked at the same time."""

    password_parallelism: int = Field(default=1, ge=1, le=16)
    """Lanes of Argon2id."""

    password_threads: int = Field(default=2, ge=1, le=64)
    """Passwords that are checked at the same time; about the cores that the replica may use. One
    core checks about 40 a second at the default cost."""

    password_queue_length: int = Field(default=200, ge=1, le=100_000)
    """Passwords that may wait to be checked. A further sign-in is told to come back: with the
    default cost and two threads it would wait more than two seconds."""

    corp_deletion_grace_days: int = Field(default=30, ge=1, le=365)
    """Days between the request to delete a corp and the deletion of its data, during which it can
    be called off. What was asked for before a change of this keeps its day."""

    audit_retention_days: int = Field(default=3 * 365, ge=180, le=10 * 365)
    """Days that the audit log goes back at least; months that are older are dropped as a whole."""

    code_sender: Literal["off", "development_log", "webhook"] = "off"
    """Who sends one-time codes. ``webhook`` posts each to ``code_webhook_url``; ``development_log``
    writes them into the log, and is refused unless ``grpc_host`` is a loopback address; ``off``
    refuses to make any. `tieline up` takes ``development_log`` where nothing is set."""

    code_webhook_url: str = ""
    """Where codes are posted as JSON: https, or http on a loopback address."""

    code_webhook_secret: SecretStr | None = Field(default=None, min_length=32)
    """At least 32 characters; signs what is posted (HMAC-SHA-256, header ``Tieline-Signature``)."""

    provider_networks: str = ""
    """Networks beside the public internet in which sign-in providers may be, such as
    ``10.20.0.0/16``. A loopback network here also allows plain http there. Corps' administrators
    choose the providers' addresses: name no network whose hosts trust whoever reaches them."""

    platform_administrator_password: SecretStr | None = Field(
        default=None, min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH
    )
    """Password of the platform administrator named ``platform``, who is created with it at the
    first start. Once there is an administrator this setting changes nothing, whatever it says:
    `tieline platform-administrators` does."""

    platform_second_factor_required: bool = False
    """Whether platform administrators must have a second factor: who has none enrols one at the
    next sign-in. One who has enrolled is asked for it either way; sessions that are open go on."""

    @field_validator("provider_networks")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        read_networks(value)
        return value

    @model_validator(mode="after")
    def _check_code_sender(self) -> Self:
        if self.code_sender == "development_log" and not is_loopback(self.grpc_host):
            raise ValueError(
                "code_sender development_log is for a service on a loopback address alone: "
                "set TIELINE_CODE_SENDER to webhook or off"
            )
        if self.code_sender == "webhook":
            self._check_webhook()
        return self

    def _check_webhook(self) -> None:
        if not is_webhook_url(self.code_webhook_url):
            raise ValueError(
                "code_sender webhook needs TIELINE_CODE_WEBHOOK_URL, an https URL "
                "or an http one on a loopback address"
            )
        if self.code_webhook_secret is None:
            raise ValueError("code_sender webhook needs TIELINE_CODE_WEBHOOK_SECRET")
