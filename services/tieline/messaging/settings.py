"""Settings of messaging."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from tieline.chassis.settings import ServiceSettings
from tieline.chassis.webhooks import is_webhook_url


class MessagingSettings(ServiceSettings):
    """What messaging needs beyond the rest: where media lie, and who pushes to devices."""

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

    push_webhook_url: str = ""
    """Where pushes to devices that are not connected are posted as JSON (``docs/push.md``): https,
    or http on a loopback address. Empty turns offline push off."""

    push_webhook_secret: SecretStr | None = Field(default=None, min_length=32)
    """At least 32 characters; signs what is posted (HMAC-SHA-256, header ``Tieline-Signature``).
    Needed with ``push_webhook_url``."""

    push_webhook_timeout_s: float = Field(default=5.0, gt=0, le=20)
    """Seconds within which the webhook answers; later it counts as failed and is tried again."""

    push_collapse_s: float = Field(default=3.0, ge=0, le=60)
    """Seconds that a push waits for further messages of its conversation."""

    @model_validator(mode="after")
    def _check_push_webhook(self) -> Self:
        if not self.push_webhook_url:
            return self
        if not is_webhook_url(self.push_webhook_url):
            raise ValueError(
                "TIELINE_PUSH_WEBHOOK_URL must be an https URL or an http one on a loopback address"
            )
        if self.push_webhook_secret is None:
            raise ValueError("TIELINE_PUSH_WEBHOOK_URL needs TIELINE_PUSH_WEBHOOK_SECRET")
        return self
