"""Settings of payments."""

from pydantic import Field

from tieline.chassis.settings import ServiceSettings


class PaymentsSettings(ServiceSettings):
    """What payments can be told."""

    grpc_port: int = Field(default=7105, ge=1, le=65535)
    """TCP port of the gRPC server."""
