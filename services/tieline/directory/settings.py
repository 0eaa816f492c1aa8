"""The directory's settings."""

from pydantic import Field

from tieline.chassis.settings import ServiceSettings


class DirectorySettings(ServiceSettings):
    """Settings of the role ``directory``."""

    grpc_port: int = Field(default=7102, ge=1, le=65535)
    """TCP port of the gRPC server."""

    import_max_bytes: int = Field(default=20_000_000, ge=1, le=200_000_000)
    """Bytes that the file of an import may have, other than UTF-8 CSV that is imported while it
    arrives. Each file that is worked on takes as much of the temporary folder."""

    removal_retention_days: int = Field(default=30, ge=7)
    """Days for which the feed of changes still knows what was removed. A client that was away for
    longer has to take a snapshot."""
