"""Posts JSON to an address of the operator's, signed so that it knows who posts.

``Tieline-Signature`` is ``t=<seconds>,v1=<hex>``: HMAC-SHA-256 of ``<seconds>.<body>`` with the
webhook's secret. A receiver refuses seconds that are minutes away from its own.
"""

import asyncio
import hmac
import json
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from tieline.chassis.addresses import is_loopback

TIMEOUT_S = 5.0

# Answers that another attempt may change; other 4xx mean that the request itself is wrong.
_TRANSIENT_STATUSES = frozenset({408, 425, 429})


# What is longer costs the connection instead.
_MAX_ANSWER_BYTES = 64 * 1024


class WebhookError(Exception):
    """It was not taken; the text says why and holds nothing of what was posted."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        super().__init__(text)
        self.status = status
        """What was answered; 0 for nothing."""

    @property
    def is_final(self) -> bool:
        """Whether another attempt would end the same way."""
        return 400 <= self.status < 500 and self.status not in _TRANSIENT_STATUSES


class Webhook:
    """One address; to be closed."""

    def __init__(self, url: str, secret: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._secret = secret.encode()
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False)

    async def post(self, document: Mapping[str, object]) -> None:
        """Post it; return once it was answered by 2xx, or raise WebhookError."""
        body = json.dumps(document).encode()
        headers = {
            "content-type": "application/json",
            "tieline-signature": sign(self._secret, int(time.time()), body),
        }
        try:
            # Of the whole exchange: httpx's own limits begin anew with each part of an answer.
            async with asyncio.timeout(self._timeout_s):
                async with self._client.stream(
                    "POST", self._url, content=body, headers=headers
                ) as response:
                    status = response.status_code
                    await _skip(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise WebhookError(f"the webhook does not answer ({type(error).__name__})") from error
        if not 200 <= status < 300:
            raise WebhookError(f"the webhook answers {status}", status=status)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _skip(response: httpx.Response) -> None:
    """Read what nobody wants to know, so that the connection can be used again."""
    size_bytes = 0
    async for part in response.aiter_raw():
        size_bytes += len(part)
        if size_bytes > _MAX_ANSWER_BYTES:
            return


def sign(secret: bytes, seconds: int, body: bytes) -> str:
    """Return the header's value."""
    digest = hmac.digest(secret, f"{seconds}.".encode() + body, "sha256")
    return f"t={seconds},v1={digest.hex()}"


def is_webhook_url(text: str) -> bool:
    """Tell whether secrets may be posted there: over https, or on this machine."""
    try:
        url = urlsplit(text)
        host = url.hostname
    except ValueError:
        return False
    if not host:
        return False
    return url.scheme == "https" or (url.scheme == "http" and is_loopback(host))
