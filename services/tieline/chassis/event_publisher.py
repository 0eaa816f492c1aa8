"""Publishes an outbox's rows to their stream: in order, many at a time.

Order per key, although hundreds of publishes are under way at the same time: within a batch each
one says which event the stream must hold last (``Nats-Expected-Last-Msg-Id``). When one is lost,
the server refuses all that follow it, and the relay begins again behind the last one stored. A
relay that lost its lock and does not know it yet can't disturb the order either. (A chain of
expected sequence numbers is not enough: one foreign message in between makes up for a lost one.)
"""

import asyncio
import json
import logging
from collections.abc import Sequence

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import PubAck

from tieline.chassis.broker import Broker
from tieline.chassis.message_headers import (
    CORP_ID_HEADER,
    EVENT_ID_HEADER,
    KEY_HEADER,
    MESSAGE_ID_HEADER,
)
from tieline.chassis.postgres import Record

_EXPECTED_MESSAGE_ID_HEADER = "Nats-Expected-Last-Msg-Id"

_ACK_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


class EventPublisher:
    """Publishes rows in order to one stream, many at a time."""

    def __init__(self, broker: Broker, stream: str, *, max_pending: int) -> None:
        self._broker = broker
        self._stream = stream
        self._max_pending = 2 * max_pending
        self._jetstream = self._build_jetstream()

    async def publish(self, rows: Sequence[Record]) -> list[Record]:
        """Publish the rows; return those that the stream is known to have."""
        if not rows or not self._broker.is_connected:
            return []
        acks: list[asyncio.Future[PubAck]] = []
        try:
            await self._send(rows, acks)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            logger.warning("can't publish to stream %s: %s", self._stream, _one_line(error))
            for ack in acks:
                _take_error(ack)
            # The publish that failed keeps its slot of those that may be pending, for ever.
            self._jetstream = self._build_jetstream()
            return []
        await asyncio.wait(acks, timeout=_ACK_TIMEOUT_S)
        errors = [_take_error(ack) for ack in acks]
        stored = [row for row, error in zip(rows, errors, strict=True) if error is None]
        if len(stored) < len(rows):
            first = next(error for error in errors if error is not None)
            logger.info(
                "stream %s stored %d of %d events: %s",
                self._stream,
                len(stored),
                len(rows),
                _one_line(first),
            )
        return stored

    def _build_jetstream(self) -> JetStreamContext:
        return self._broker.jetstream(
            publish_async_max_pending=self._max_pending, timeout=_ACK_TIMEOUT_S
        )

    async def _send(self, rows: Sequence[Record], acks: "list[asyncio.Future[PubAck]]") -> None:
        """Send the rows and add what will be their answers to ``acks``, even if one fails."""
        # The first one follows events that are all stored, so it may follow anything.
        expected: dict[str, str] = {}
        for row in rows:
            headers = {**_build_headers(row), **expected}
            ack = await self._jetstream.publish_async(
                row["subject"], row["payload"], wait_stall=_ACK_TIMEOUT_S, headers=headers
            )
            acks.append(ack)
            expected = {_EXPECTED_MESSAGE_ID_HEADER: row["event_id"]}


def _take_error(ack: "asyncio.Future[PubAck]") -> BaseException | None:
    if not ack.done():
        ack.cancel()
        return TimeoutError()
    return ack.exception()


def _build_headers(row: Record) -> dict[str, str]:
    return {
        **json.loads(row["headers"]),
        MESSAGE_ID_HEADER: row["event_id"],
        EVENT_ID_HEADER: row["event_id"],
        CORP_ID_HEADER: row["corp_id"],
        KEY_HEADER: row["key"],
    }


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
