"""Stands for the operator's service that sends one-time codes."""

from dataclasses import dataclass

from pydantic import SecretStr

from fakes.eventually import eventually
from fakes.webhook_inbox import SECRET, WebhookInbox
from tieline.identity.settings import IdentitySettings


@dataclass
class CodeInbox(WebhookInbox):
    """The codes that have arrived."""

    key_field: str = "receiver"

    async def code_for(self, receiver: str, count: int = 1) -> str:
        """Return the receiver's latest code, once there are ``count``."""
        await eventually(lambda: len(self.posts_for(receiver)) >= count)
        code: str = self.posts_for(receiver)[-1]["code"]
        return code


def with_webhook(settings: IdentitySettings, inbox: CodeInbox) -> IdentitySettings:
    """Return settings by which one-time codes go to the inbox."""
    return settings.model_copy(
        update={
            "code_sender": "webhook",
            "code_webhook_url": f"http://127.0.0.1:{inbox.port}/codes",
            "code_webhook_secret": SecretStr(SECRET),
        }
    )
