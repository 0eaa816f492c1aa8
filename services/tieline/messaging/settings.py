"""Settings of messaging."""

from pydantic import Field

from tieline.chassis.settings import ServiceSettings


class MessagingSettings(ServiceSettings):
    """What messaging needs: nothing beyond the rest."""

    grpc_port: int = Field(default=7103, ge=1, le=65535)
    """TCP port of the gRPC server."""
