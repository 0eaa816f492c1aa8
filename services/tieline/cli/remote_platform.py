"""A platform that runs elsewhere, such as in a cluster: where it is, its TLS, and the way in."""

import os
from dataclasses import dataclass
from pathlib import Path

from tieline.cli.errors import CommandError
from tieline.client import ClientCertificate, Endpoints
from tieline.demo.story import Platform

PASSWORD_VARIABLE = "TIELINE_ADMINISTRATOR_PASSWORD"  # noqa: S105 -- no password

TARGET_HELP = (
    "Call all services at this address, such as a cluster's edge, instead of those of --data; "
    "{service} in it stands for each service's name. "
    f"The platform administrator's password comes from {PASSWORD_VARIABLE}."
)


@dataclass(frozen=True, slots=True)
class Tls:
    """What the options say of TLS."""

    is_on: bool | None
    """None: except to this machine itself."""

    ca: Path | None
    server_name: str | None
    certificate: Path | None
    key: Path | None


def read_administrator_password(purpose: str) -> str:
    """Return what the environment has; CommandError says what it is needed for."""
    password = os.environ.get(PASSWORD_VARIABLE)
    if not password:
        raise CommandError(f"{PASSWORD_VARIABLE} is missing: {purpose}")
    return password


def remote_platform(target: str, tls: Tls, purpose: str) -> Platform:
    """Return the platform at a target; CommandError says what is missing."""
    if (tls.certificate is None) != (tls.key is None):
        raise CommandError("--tls-certificate and --tls-key go together")
    return Platform(
        endpoints=Endpoints.from_target(target),
        administrator_password=read_administrator_password(purpose),
        tls=tls.is_on,
        root_certificates=tls.ca.read_bytes() if tls.ca else None,
        client_certificate=ClientCertificate(tls.certificate.read_bytes(), tls.key.read_bytes())
        if tls.certificate and tls.key
        else None,
        server_name=tls.server_name,
        advice="check the address, and whether TLS is spoken there (--tls, --tls-ca)",
    )
