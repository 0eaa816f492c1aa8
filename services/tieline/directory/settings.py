"""The directory's settings."""

from pydantic import Field

from tieline.chassis.settings import ServiceSettings


class DirectorySettings(ServiceSettings):
    """Settings of the role ``directory``."""

    grpc_port: int = Field(default=7102, ge=1, le=65535)
    """TCP port of the gRPC server."""

    removal_retention_days: int = Field(default=30, ge=7)
    """Days for which the feed of changes still knows what was removed. A client that was away for
    longer has to take a snapshot."""
