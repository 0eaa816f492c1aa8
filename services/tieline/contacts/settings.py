"""Settings of contacts."""

from pydantic import Field

from tieline.chassis.settings import ServiceSettings


class ContactsSettings(ServiceSettings):
    """What contacts can be told."""

    grpc_port: int = Field(default=7104, ge=1, le=65535)
    """TCP port of the gRPC server."""
