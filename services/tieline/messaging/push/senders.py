"""The port of offline push, and its sender: a webhook of the operator's."""

from collections.abc import Mapping
from typing import Protocol

from tieline.chassis.webhooks import Webhook, WebhookError

# 410: the device is not there any more.
_GONE = 410


class PushError(Exception):
    """The push was not taken; the text says why and holds nothing of it."""

    def __init__(self, text: str, *, is_final: bool = False, is_target_gone: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final
        """Whether another attempt would end the same way."""

        self.is_target_gone = is_target_gone
        """Whether the device's token is no good any more."""


class PushSender(Protocol):
    """Brings pushes to devices."""

    async def send(self, document: Mapping[str, object]) -> None:
        """Send what ``rules.build_document`` made, within seconds, or raise PushError."""


class WebhookPushSender:
    """Posts each push to the operator's own service, which knows the platforms. To be closed."""

    def __init__(self, url: str, secret: str, *, timeout_s: float) -> None:
        self._webhook = Webhook(url, secret, timeout_s=timeout_s)

    async def send(self, document: Mapping[str, object]) -> None:
        """Post the push."""
        try:
            await self._webhook.post(document)
        except WebhookError as error:
            raise PushError(
                str(error), is_final=error.is_final, is_target_gone=error.status == _GONE
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._webhook.close()
