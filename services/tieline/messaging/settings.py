"""Settings of messaging."""

from pydantic import Field, SecretStr

from tieline.chassis.settings import ServiceSettings


class MessagingSettings(ServiceSettings):
    """What messaging needs beyond the rest: where media lie."""

    grpc_port: int = Field(default=7103, ge=1, le=65535)
    """TCP port of the gRPC server."""

    media_store_url: str = ""
    """Where media lie: ``file:///a/folder`` on one machine or a share of all replicas,
    ``s3://bucket`` or ``s3://bucket/folder`` in S3-compatible storage. Empty refuses media.
    `tieline up` takes the folder ``media`` of its data."""

    media_store_endpoint: str = ""
    """URL of S3-compatible storage, such as ``https://minio.example:9000``; empty for Amazon's."""

    media_store_region: str = "us-east-1"
    """Region of the bucket; storage that is not Amazon's mostly takes any."""

    media_store_access_key_id: SecretStr = SecretStr("")
    """Access key of the bucket. Empty takes what the machine is given, such as a pod's role."""

    media_store_secret_access_key: SecretStr = SecretStr("")
    """Secret of the access key."""
