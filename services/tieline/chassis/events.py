"""Other services' events: take one, handle it in a transaction, settle it exactly one way.

    the handler returns              ack    its effect and its inbox row are committed together
    the event was handled before     ack    nothing is done again
    raises Poison                    term   a dead letter tells why; no further attempt
    raises UnavailableError          wait   tried again here until what it needs is back
    raises anything else             nak    delivered again after a delay that doubles each time;
                                            the eighth failure makes a dead letter

A stream's events are handled one at a time and in order, over all replicas of the service: the
durable lets one event be in hand (``streams.py``), and one that failed stays in hand, as far as
the server is concerned, until its next attempt.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from nats.aio.msg import Msg
from nats.js.errors import FetchTimeoutError
from opentelemetry import trace
from opentelemetry.metrics import get_meter

from tieline.chassis.admission.priorities import DEFAULT_PRIORITY, read_priority
from tieline.chassis.broker import Broker
from tieline.chassis.calls import Call, entered
from tieline.chassis.consumer_lag import ConsumerLag, reporting
from tieline.chassis.errors import UnavailableError
from tieline.chassis.event_pulls import (
    FETCH_HEARTBEAT_S,
    FETCH_WAIT_S,
    HANDLE_TIMEOUT_S,
    Subscription,
    pulling,
    when_available,
)
from tieline.chassis.ids import new_uuid7
from tieline.chassis.message_headers import (
    CORP_ID_HEADER,
    EVENT_ID_HEADER,
    KEY_HEADER,
    MESSAGE_ID_HEADER,
    PRIORITY_HEADER,
    REQUEST_ID_HEADER,
)
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.repeating import repeating
from tieline.chassis.streams import MAX_AGE_S, Durable
from tieline.chassis.telemetry import extract_context

MAX_DELIVERIES = 8

# Delays of 0.25, 0.5, … 16 s: what a retry can cure is cured within half a minute, and the events
# behind wait no longer than that.
_FIRST_DELAY_S = 0.25

# The stream delivers nothing older than its age limit; one day more covers clocks and delays.
_INBOX_AGE_S = MAX_AGE_S + 24 * 60 * 60
_PURGE_INTERVAL_S = 600.0
_PURGE_ROWS = 1000

M = TypeVar("M", bound=Message)

_tracer = trace.get_tracer("tieline.chassis")
_dead_letters = get_meter("tieline.chassis").create_counter(
    "dead_letters", unit="{event}", description="Events given up and kept as dead letters"
)
logger = logging.getLogger(__name__)


class Poison(Exception):
    """No attempt can ever handle this event; the text says why."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event of another service, as it was published."""

    subject: str
    corp_id: str
    key: str
    event_id: str
    payload: bytes
    headers: Mapping[str, str]
    deliveries: int
    """From 1 on."""

    def decode(self, message_type: type[M]) -> M:
        """Return the payload, or raise Poison."""
        try:
            return message_type.FromString(self.payload)
        except DecodeError as error:
            raise Poison(f"not a {message_type.DESCRIPTOR.full_name}") from error


EventHandler = Callable[[Connection, ReceivedEvent], Awaitable[None]]
"""Writes the event's effect in the transaction that also writes its inbox row."""


@asynccontextmanager
async def consuming(
    broker: Broker,
    pool: Pool,
    schema: str,
    durable: Durable,
    handlers: Mapping[str, EventHandler],
) -> AsyncIterator[None]:
    """Handle the durable's events, subject -> handler, until the block is left.

    An event that is in hand then is delivered again, to whoever is next.
    """
    missing = set(durable.subjects) - handlers.keys()
    assert not missing, f"no handler for {', '.join(sorted(missing))}"
    lag = ConsumerLag()
    consumer = _Consumer(pool, schema, lag, handlers)

    async def purge() -> None:
        await purge_handled_events(pool, schema)

    async with (
        pulling(broker, durable, consumer.take_turn),
        repeating(f"the purge of {schema}'s inbox", purge, interval_s=_PURGE_INTERVAL_S),
    ):
        with reporting(lag, schema, durable.stream):
            yield


class _Consumer:
    def __init__(
        self, pool: Pool, schema: str, lag: ConsumerLag, handlers: Mapping[str, EventHandler]
    ) -> None:
        # Without a first value the first dead letter would be no increase.
        _dead_letters.add(0, {"service": schema})
        self._pool = pool
        self._schema = schema
        self._lag = lag
        self._handlers = handlers

    async def take_turn(self, subscription: Subscription) -> None:
        try:
            [message] = await subscription.fetch(
                1, timeout=FETCH_WAIT_S, heartbeat=FETCH_HEARTBEAT_S
            )
        except FetchTimeoutError:
            self._lag.note_nothing()
            return
        metadata = message.metadata
        self._lag.note_delivery(metadata.num_pending, metadata.timestamp.timestamp())
        event = read_event(message)
        await when_available([message], lambda: self._handle_or_give_up(message, event))

    async def _handle_or_give_up(self, message: Msg, event: ReceivedEvent) -> None:
        try:
            await self._handle(event)
        except UnavailableError:
            raise
        except Poison as error:
            await self._give_up(message, event, str(error))
        except Exception as error:
            if event.deliveries >= MAX_DELIVERIES:
                logger.exception("%s %s failed for good", event.subject, event.event_id)
                await self._give_up(message, event, _describe(error))
            else:
                _log_failure(event, error)
                await message.nak(delay=_FIRST_DELAY_S * 2 ** (event.deliveries - 1))
        else:
            await message.ack()
            self._lag.note_settled()

    async def _handle(self, event: ReceivedEvent) -> None:
        handler = self._handlers.get(event.subject)
        if handler is None:
            raise Poison("no handler for this subject")
        with (
            entered(_build_call(event)),
            _tracer.start_as_current_span(
                event.subject, extract_context(event.headers), trace.SpanKind.CONSUMER
            ),
        ):
            async with (
                asyncio.timeout(HANDLE_TIMEOUT_S),
                transaction(self._pool) as connection,
            ):
                if await _claim_event(connection, self._schema, event):
                    await handler(connection, event)

    async def _give_up(self, message: Msg, event: ReceivedEvent, reason: str) -> None:
        async with transaction(self._pool) as connection:
            await connection.execute(
                _sql(self._schema).insert_dead_letter,
                event.corp_id,
                event.event_id,
                event.subject,
                event.payload,
                json.dumps(dict(event.headers)),
                reason,
                event.deliveries,
            )
        await message.term()
        self._lag.note_settled()
        _dead_letters.add(1, {"service": self._schema})
        logger.error("%s %s is a dead letter: %s", event.subject, event.event_id, reason)


def read_event(message: Msg) -> ReceivedEvent:
    """Return the event that a JetStream message carries."""
    headers = message.headers or {}
    metadata = message.metadata
    return ReceivedEvent(
        subject=message.subject,
        corp_id=headers.get(CORP_ID_HEADER, ""),
        key=headers.get(KEY_HEADER, ""),
        event_id=headers.get(EVENT_ID_HEADER)
        or headers.get(MESSAGE_ID_HEADER)
        or f"{metadata.stream}-{metadata.sequence.stream}",
        payload=message.data,
        headers=headers,
        deliveries=metadata.num_delivered,
    )


async def purge_handled_events(pool: Pool, schema: str) -> int:
    """Delete inbox rows of events that no stream holds any more; return how many."""
    deleted = 0
    while True:
        async with transaction(pool) as connection:
            rows = await connection.fetch(_sql(schema).list_old, _INBOX_AGE_S, _PURGE_ROWS)
            await connection.execute(
                _sql(schema).delete_handled,
                [row["corp_id"] for row in rows],
                [row["event_id"] for row in rows],
            )
        deleted += len(rows)
        if len(rows) < _PURGE_ROWS:
            return deleted


async def _claim_event(connection: Connection, schema: str, event: ReceivedEvent) -> bool:
    claimed = await connection.fetchval(_sql(schema).claim, event.corp_id, event.event_id)
    return claimed is True


def _build_call(event: ReceivedEvent) -> Call:
    return Call(
        method=event.subject,
        request_id=event.headers.get(REQUEST_ID_HEADER) or new_uuid7(),
        priority=read_priority(event.headers.get(PRIORITY_HEADER)) or DEFAULT_PRIORITY,
        traceparent=event.headers.get("traceparent", ""),
        tracestate=event.headers.get("tracestate", ""),
    )


def _log_failure(event: ReceivedEvent, error: Exception) -> None:
    logger.warning(
        "%s %s failed, attempt %d of %d",
        event.subject,
        event.event_id,
        event.deliveries,
        MAX_DELIVERIES,
        exc_info=error,
    )


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


class _Statements:
    """The statements for one schema."""

    def __init__(self, schema: str) -> None:
        self.claim = f"""
            INSERT INTO {schema}.handled_events (corp_id, event_id)
            VALUES ($1, $2)
            ON CONFLICT ON CONSTRAINT handled_events_pkey DO NOTHING
            RETURNING true
        """  # noqa: S608 -- schemas are named by the code
        self.insert_dead_letter = f"""
            INSERT INTO {schema}.dead_letters
                   (corp_id, event_id, subject, payload, headers, reason, deliveries)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT ON CONSTRAINT dead_letters_pkey
            DO UPDATE SET reason = excluded.reason, deliveries = excluded.deliveries
        """  # noqa: S608 -- schemas are named by the code
        self.list_old = f"""
            SELECT corp_id, event_id
              FROM {schema}.handled_events
             WHERE handle_time < now() - make_interval(secs => $1)
             ORDER BY handle_time
             LIMIT $2
        """  # noqa: S608 -- schemas are named by the code
        self.delete_handled = f"""
            DELETE FROM {schema}.handled_events
             USING unnest($1::text[], $2::text[]) AS old (corp_id, event_id)
             WHERE handled_events.corp_id = old.corp_id
               AND handled_events.event_id = old.event_id
        """  # noqa: S608 -- schemas are named by the code


_sql = cache(_Statements)
