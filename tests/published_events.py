"""What a service has published, for tests."""

from typing import Any

import nats as nats_client

from fakes.eventually import eventually
from tieline.chassis.message_headers import KEY_HEADER
from tieline.embedded.nats import EmbeddedNats


async def published_events(
    nats: EmbeddedNats, stream: str, key: str, count: int
) -> list[tuple[str, bytes]]:
    """Return subjects and payloads of a key's events, in order, once there are ``count``."""
    messages = await published_messages(nats, stream, key, count)
    return [(message.subject, message.data) for message in messages]


async def published_messages(nats: EmbeddedNats, stream: str, key: str, count: int) -> list[Any]:
    """The same, as the messages that NATS has."""
    broker = await nats_client.connect(nats.url("admin"))
    found: list[Any] = []

    async def collect(message: Any) -> None:
        if message.headers[KEY_HEADER] == key:
            found.append(message)

    try:
        await broker.jetstream().subscribe(
            f"tieline.{stream.lower()}.v1.>", stream=stream, cb=collect, ordered_consumer=True
        )
        await eventually(lambda: len(found) >= count)
    finally:
        await broker.close()
    return found
