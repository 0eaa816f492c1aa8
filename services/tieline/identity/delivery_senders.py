"""The senders of one-time codes: a webhook of the operator's, or for development the log."""

import asyncio
import hmac
import json
import logging
import time

import httpx

from tieline.identity.delivery import CodeMessage, DeliveryError

_TIMEOUT_S = 5.0

# Answers that another attempt may change; other 4xx mean that the request itself is wrong.
_TRANSIENT_STATUSES = frozenset({408, 425, 429})

logger = logging.getLogger(__name__)


class DevelopmentLogSender:
    """Writes codes into the log, where whoever reads it can sign in as anybody.

    For one's own machine alone: the settings refuse it on any address but loopback.
    """

    async def send(self, message: CodeMessage) -> None:
        """Log the code."""
        logger.warning(
            "development: the one-time code for %s is %s (%s)",
            message.receiver.address,
            message.code,
            message.purpose,
        )


class WebhookSender:
    """Posts each code to the operator's own service, which sends the SMS or the e-mail.

    The body is JSON: ``delivery_id``, ``corp_id``, ``purpose``, ``receiver_kind``, ``receiver``,
    ``code``, ``expire_time``. ``Tieline-Signature`` is ``t=<seconds>,v1=<hex>``: HMAC-SHA-256 of
    ``<seconds>.<body>`` with the setting's secret. Answered by 2xx. The same ``delivery_id`` may
    come again. To be closed.
    """

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret.encode()
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False)

    async def send(self, message: CodeMessage) -> None:
        """Post the code."""
        body = json.dumps(
            {
                "delivery_id": message.delivery_id,
                "corp_id": message.corp_id,
                "purpose": message.purpose.value,
                "receiver_kind": message.receiver.kind.value,
                "receiver": message.receiver.address,
                "code": message.code,
                "expire_time": message.expire_time.isoformat(),
            }
        ).encode()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                response = await self._client.post(
                    self._url,
                    content=body,
                    headers={
                        "content-type": "application/json",
                        "tieline-signature": self._sign(body),
                    },
                )
        except (httpx.HTTPError, TimeoutError) as error:
            raise DeliveryError(f"the webhook does not answer ({type(error).__name__})") from error
        _check_status(response.status_code)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _sign(self, body: bytes) -> str:
        seconds = int(time.time())
        digest = hmac.digest(self._secret, f"{seconds}.".encode() + body, "sha256")
        return f"t={seconds},v1={digest.hex()}"


def _check_status(status: int) -> None:
    if 200 <= status < 300:
        return
    is_final = 400 <= status < 500 and status not in _TRANSIENT_STATUSES
    raise DeliveryError(f"the webhook answers {status}", is_final=is_final)
