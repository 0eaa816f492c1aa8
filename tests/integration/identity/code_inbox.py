"""Stands for the operator's service that sends one-time codes: takes what the webhook posts."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from fakes.eventually import eventually
from tieline.embedded.ports import find_free_port
from tieline.identity.settings import IdentitySettings

SECRET = "webhook-secret-only-for-tests-000"


@dataclass
class CodeInbox:
    """What has arrived, and how to answer."""

    port: int = field(default_factory=find_free_port)
    received: list[Mapping[str, Any]] = field(default_factory=list)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """Receiver -> what to answer its next posts with; 204 when that is used up."""

    async def code_for(self, receiver: str, count: int = 1) -> str:
        """Return the receiver's latest code, once there are ``count``."""
        await eventually(lambda: len(self.posts_for(receiver)) >= count)
        code: str = self.posts_for(receiver)[-1]["code"]
        return code

    def posts_for(self, receiver: str) -> list[Mapping[str, Any]]:
        """Return what was posted for the receiver, whatever was answered."""
        return [post for post in self.received if post["receiver"] == receiver]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer on loopback."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        is_genuine = _is_signed(headers["tieline-signature"], body)
        post = json.loads(body)
        self.received.append(post)
        waiting = self.statuses.get(post["receiver"], [])
        status = waiting.pop(0) if waiting else (204 if is_genuine else 400)
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()


def with_webhook(settings: IdentitySettings, inbox: CodeInbox) -> IdentitySettings:
    """Return settings by which one-time codes go to the inbox."""
    return settings.model_copy(
        update={
            "code_sender": "webhook",
            "code_webhook_url": f"http://127.0.0.1:{inbox.port}/codes",
            "code_webhook_secret": SecretStr(SECRET),
        }
    )


def _is_signed(signature: str, body: bytes) -> bool:
    seconds, _, digest = signature.removeprefix("t=").partition(",v1=")
    expected = hmac.digest(SECRET.encode(), f"{seconds}.".encode() + body, "sha256").hex()
    return hmac.compare_digest(expected, digest)
