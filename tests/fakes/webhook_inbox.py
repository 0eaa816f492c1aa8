"""Stands for the operator's service behind a webhook: takes what is posted, over real HTTP."""

import asyncio
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tieline.embedded.ports import find_free_port

SECRET = "webhook-secret-only-for-tests-000"


@dataclass
class WebhookInbox:
    """What has arrived, and how to answer."""

    key_field: str
    """Of what is posted; tells one receiver's posts from the others'."""

    port: int = field(default_factory=find_free_port)
    received: list[Mapping[str, Any]] = field(default_factory=list)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """Receiver -> what to answer its next posts with, 0 to never answer; 204 when that is used up,
    400 for what is not signed."""

    def posts_for(self, receiver: str) -> list[Mapping[str, Any]]:
        """Return what was posted for the receiver, whatever was answered."""
        return [post for post in self.received if post[self.key_field] == receiver]

    def let_go(self) -> None:
        """Answer what was never to be answered."""
        self._over.set()

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Answer on loopback."""
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port, ssl=tls)
        async with server:
            try:
                yield
            finally:
                self._over.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:
            writer.close()
            return
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        is_genuine = _is_signed(headers["tieline-signature"], body)
        post = json.loads(body)
        self.received.append(post)
        waiting = self.statuses.get(post[self.key_field], [])
        status = waiting.pop(0) if waiting else (204 if is_genuine else 400)
        if not status:
            await self._over.wait()
            status = 204
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        writer.close()


def _is_signed(signature: str, body: bytes) -> bool:
    seconds, _, digest = signature.removeprefix("t=").partition(",v1=")
    expected = hmac.digest(SECRET.encode(), f"{seconds}.".encode() + body, "sha256").hex()
    return hmac.compare_digest(expected, digest)
