"""Connections to NATS as one of the platform's users."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client

from tieline.embedded.nats import EmbeddedNats


@asynccontextmanager
async def connected(server: EmbeddedNats, user: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """A connection of the user, and the errors that the server sends it."""
    errors: list[str] = []

    async def remember(error: Exception) -> None:
        errors.append(str(error))

    client = await nats.connect(server.url(user), inbox_prefix=f"_INBOX.{user}", error_cb=remember)
    try:
        yield client, errors
    finally:
        await client.close()
