"""The senders of one-time codes: a webhook of the operator's, or for development the log."""

import logging

from tieline.chassis.webhooks import Webhook, WebhookError
from tieline.identity.one_time_codes.delivery import CodeMessage, DeliveryError

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
    ``code``, ``expire_time``; signed by the chassis. Answered by 2xx. The same ``delivery_id`` may
    come again. To be closed.
    """

    def __init__(self, url: str, secret: str) -> None:
        self._webhook = Webhook(url, secret)

    async def send(self, message: CodeMessage) -> None:
        """Post the code."""
        document = {
            "delivery_id": message.delivery_id,
            "corp_id": message.corp_id,
            "purpose": message.purpose.value,
            "receiver_kind": message.receiver.kind.value,
            "receiver": message.receiver.address,
            "code": message.code,
            "expire_time": message.expire_time.isoformat(),
        }
        try:
            await self._webhook.post(document)
        except WebhookError as error:
            raise DeliveryError(str(error), is_final=error.is_final) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._webhook.close()
