"""The directory's settings: those that every service has, with its own port."""

from pydantic import Field

from tieline.chassis.settings import ServiceSettings


class DirectorySettings(ServiceSettings):
    """Settings of the role ``directory``."""

    grpc_port: int = Field(default=7102, ge=1, le=65535)
    """TCP port of the gRPC server."""
