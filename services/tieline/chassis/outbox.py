"""Events on their way out: committed with the change that they tell of, then sent to JetStream.

A service inserts its events in the transaction of the change. One relay per service, elected by a
session lock in the database, publishes them in the order of ``outbox_id`` and deletes what the
stream has stored. So an event is published if and only if its change is committed, at least once,
and once only within the stream's window for duplicates, by ``Nats-Msg-Id``.

Order per key is kept although hundreds of publishes are under way at a time: see
``event_publisher``.
"""

import asyncio
import json
import logging
import re
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import cache
from time import monotonic
from types import TracebackType
from typing import Self

import nats.errors
from google.protobuf.message import Message

from tieline.chassis.broker import Broker
from tieline.chassis.causes import read_headers
from tieline.chassis.errors import ServiceError
from tieline.chassis.event_publisher import EventPublisher
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox_lag import COUNT_AT_MOST, OutboxLag
from tieline.chassis.postgres import Connection, Pool, Record, wake_after_commit
from tieline.chassis.tasks import end_task

# Half of NATS' default limit for a message, so that headers always fit.
MAX_PAYLOAD_BYTES = 512 * 1024

# Large enough to hide a round trip, small enough that a lost one costs little to send again. At
# the largest payloads a batch is bounded by bytes instead.
_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 1024 * 1024

# Wakes come as core NATS messages, which may be lost; nobody waits longer than this for an event.
_POLL_INTERVAL_S = 1.0

# The first event after a pause goes out at once, those behind it in rounds: what a round costs
# beside its events (two statements, the wake-up of three processes) is then a few percent of a core
# at most, however small the transactions are.
_ROUND_INTERVAL_S = 0.02

# How soon another replica's relay takes over when the active one is gone.
_LOCK_POLL_INTERVAL_S = 0.5

_FLUSH_TIMEOUT_S = 3.0
_CANCEL_INTERVAL_S = 0.1
_FIRST_BACK_OFF_S = 0.1
_MAX_BACK_OFF_S = 5.0

_SUBJECT = re.compile(r"tieline\.([a-z_]+)\.v\d+\.[a-z_]+")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """A fact that other services may want to know."""

    subject: str
    """``tieline.<service>.v1.<event_in_snake_case>``"""

    corp_id: str
    """Empty for events of no corp."""

    key: str
    """Events of one key are delivered in order if whoever inserts one holds the lock of the row
    that the key names. One about several rows, all locked, is in order with every other event about
    any of them."""

    event_id: str
    payload: bytes
    """The serialized protobuf message; 512 KiB at most."""

    cause: Context | None = None
    """The context of the call that caused it (``causes``); None for whoever inserts it."""


def build_event(
    subject: str, corp_id: str, key: str, message: Message, *, cause: Context | None = None
) -> Event:
    """Return the event that tells ``message``.

    An empty field ``event_id`` of the message is filled in; one that is set names the event. A
    ``cause`` is given where a transaction commits for several callers.
    """
    assert _SUBJECT.fullmatch(subject), f"{subject!r} is no event's subject"
    event_id = getattr(message, "event_id", "") or new_uuid7()
    if "event_id" in message.DESCRIPTOR.fields_by_name:
        message.event_id = event_id  # type: ignore[attr-defined]
    payload = message.SerializeToString()
    assert len(payload) <= MAX_PAYLOAD_BYTES, f"{subject}: {len(payload)} bytes are too many"
    return Event(subject, corp_id, key, event_id, payload, cause)


async def insert_events(connection: Connection, schema: str, events: Sequence[Event]) -> None:
    """Put the events into the outbox, in this order, in the caller's transaction."""
    if not events:
        return
    await connection.execute(build_insert(schema, first_parameter=1), *insert_parameters(events))
    wake_after_commit(schema)


@cache
def build_insert(schema: str, *, first_parameter: int, condition: str = "true") -> str:
    """Return the statement that inserts events, for a hot path's own statement to have as a part.

    Its parameters are those of :func:`insert_parameters`, from ``$first_parameter`` on; where the
    ``condition`` is not true it inserts none. Whoever runs it calls ``wake_after_commit(schema)``.
    """
    corp_ids, event_ids, keys, subjects, payloads, headers = (
        f"${first_parameter + index}" for index in range(6)
    )
    return f"""
        INSERT INTO {schema}.outbox (corp_id, event_id, key, subject, payload, headers)
        SELECT corp_id, event_id, key, subject, payload, headers::jsonb
          FROM unnest({corp_ids}::text[], {event_ids}::text[], {keys}::text[], {subjects}::text[],
                      {payloads}::bytea[], {headers}::text[])
               WITH ORDINALITY
               AS event (corp_id, event_id, key, subject, payload, headers, position)
         WHERE {condition}
         ORDER BY position
    """  # noqa: S608 -- schemas are named by the code


def insert_parameters(events: Sequence[Event]) -> tuple[object, ...]:
    """Return the parameters of :func:`build_insert`, with what each event carries of its call."""
    own = json.dumps(read_headers(None))
    return (
        [event.corp_id for event in events],
        [event.event_id for event in events],
        [event.key for event in events],
        [event.subject for event in events],
        [event.payload for event in events],
        [own if event.cause is None else json.dumps(read_headers(event.cause)) for event in events],
    )


class OutboxRelay:
    """Publishes the schema's outbox while entered; of several replicas' relays one is active."""

    def __init__(self, pool: Pool, broker: Broker, schema: str) -> None:
        self._pool = pool
        self._broker = broker
        self._schema = schema
        self._has_events = asyncio.Event()
        self._is_active = False
        self._wake_task: asyncio.Task[None] | None = None
        self._wake_again = False
        self._is_empty = asyncio.Event()
        self._lag = OutboxLag(schema)

    async def __aenter__(self) -> Self:
        self._lag.report()
        subject = f"wake.{self._schema}"
        self._subscription = await self._broker.subscribe(subject, cb=self._on_wake)
        self._pool.listen_for_wakes(self._schema, self._wake)
        self._task = asyncio.create_task(self._run(), name=f"outbox-relay-{self._schema}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_active:
            await self._flush()
        # Each publish that waits may take a cancellation for a stall.
        await end_task(self._task, again_s=_CANCEL_INTERVAL_S)
        await self._unsubscribe()
        if self._wake_task is not None:
            await asyncio.gather(self._wake_task, return_exceptions=True)
        self._lag.withdraw()

    @property
    def is_active(self) -> bool:
        """Whether this relay is the one that publishes."""
        return self._is_active

    @property
    def lag(self) -> OutboxLag:
        """What the metrics tell of what waits."""
        return self._lag

    async def _flush(self) -> None:
        """Give what is committed the time to get out; the rest waits for the next relay."""
        self._is_empty.clear()
        self._has_events.set()
        try:
            async with asyncio.timeout(_FLUSH_TIMEOUT_S):
                await self._is_empty.wait()
        except TimeoutError:
            logger.info("events of %s stay in the outbox for the next relay", self._schema)

    async def _unsubscribe(self) -> None:
        try:
            await self._subscription.unsubscribe()
        except nats.errors.Error:
            logger.debug("the broker's connection was closed before the relay")

    async def _on_wake(self, _: object) -> None:
        self._has_events.set()

    def _wake(self) -> None:
        """Wake the active relay: this one directly, another replica's by a message."""
        self._has_events.set()
        if self._is_active:
            return
        self._wake_again = True
        if self._wake_task is None or self._wake_task.done():
            self._wake_task = asyncio.create_task(self._send_wakes(), name="outbox-wake")

    async def _send_wakes(self) -> None:
        # The flush is a round trip: however many commits there are, one message is under way. The
        # commits during it share one more: the other relay may have looked before them.
        try:
            while self._wake_again and self._broker.is_connected:
                self._wake_again = False
                await self._broker.publish(f"wake.{self._schema}")
                await self._broker.flush()
        except (OSError, nats.errors.Error):
            logger.debug("a wake was lost; the relay's poll makes up for it")

    async def _run(self) -> None:
        while True:
            try:
                async with self._pool.connect() as connection:
                    await self._wait_for_lock(connection)
                    self._is_active = True
                    await self._relay(connection)
            except ServiceError as error:
                logger.info("the outbox relay of %s pauses: %s", self._schema, error.text)
                self._note_failure()
            except Exception:
                self._note_failure()
                logger.exception("the outbox relay of %s failed and begins again", self._schema)
            finally:
                self._is_active = False
            await asyncio.sleep(_POLL_INTERVAL_S)

    def _note_failure(self) -> None:
        if self._is_active:
            self._lag.note_stuck()

    async def _wait_for_lock(self, connection: Connection) -> None:
        # Asked again and again instead of waited for: a waiting statement holds a snapshot, which
        # would keep vacuum from clearing the outbox for as long as the other relay lives.
        key = f"tieline.outbox.{self._schema}"
        while not await connection.fetchval(
            "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", key
        ):
            self._lag.note_empty()
            await asyncio.sleep(_LOCK_POLL_INTERVAL_S)

    async def _relay(self, connection: Connection) -> None:
        publisher = EventPublisher(self._broker, self._schema.upper(), max_pending=_BATCH_ROWS)
        back_off_s = _FIRST_BACK_OFF_S
        while True:
            next_round_at = monotonic() + _ROUND_INTERVAL_S
            self._has_events.clear()
            rows = await connection.fetch(_sql(self._schema).fetch, _BATCH_ROWS)
            self._lag.note_head(rows[0]["age_s"] if rows else None)
            batch = _within_bytes(rows)
            stored = await publisher.publish(batch)
            if stored:
                await _delete(connection, self._schema, stored)
            if len(stored) < len(batch):
                self._lag.note_stuck()
                await self._count(connection)
                await asyncio.sleep(back_off_s)
                back_off_s = min(2 * back_off_s, _MAX_BACK_OFF_S)
                continue
            back_off_s = _FIRST_BACK_OFF_S
            self._lag.note_moving()
            if not rows:
                self._is_empty.set()
            if len(rows) > len(batch) or len(rows) == _BATCH_ROWS:
                await self._count(connection)
            else:
                self._lag.note_empty()
                await self._wait_for_events()
                await asyncio.sleep(max(0.0, next_round_at - monotonic()))

    async def _wait_for_events(self) -> None:
        try:
            async with asyncio.timeout(_POLL_INTERVAL_S):
                await self._has_events.wait()
        except TimeoutError:
            return

    async def _count(self, connection: Connection) -> None:
        if self._lag.wants_count:
            self._lag.note_count(await connection.fetchval(_sql(self._schema).count, COUNT_AT_MOST))


def _within_bytes(rows: Sequence[Record]) -> Sequence[Record]:
    total = 0
    for count, row in enumerate(rows):
        total += len(row["payload"])
        if total > _BATCH_BYTES and count > 0:
            return rows[:count]
    return rows


async def _delete(connection: Connection, schema: str, rows: Sequence[Record]) -> None:
    await connection.execute(
        _sql(schema).delete,
        [row["corp_id"] for row in rows],
        [row["outbox_id"] for row in rows],
    )


class _Statements:
    """The statements for one schema."""

    def __init__(self, schema: str) -> None:
        self.fetch = f"""
            SELECT corp_id, outbox_id, event_id, key, subject, payload, headers,
                   extract(epoch FROM clock_timestamp() - create_time)::float8 AS age_s
              FROM {schema}.outbox
             ORDER BY outbox_id
             LIMIT $1
        """  # noqa: S608 -- schemas are named by the code
        self.delete = f"""
            DELETE FROM {schema}.outbox
             USING unnest($1::text[], $2::bigint[]) AS published (corp_id, outbox_id)
             WHERE outbox.corp_id = published.corp_id
               AND outbox.outbox_id = published.outbox_id
        """  # noqa: S608 -- schemas are named by the code
        # By the index, whose dead entries the fetch has just marked: the table itself begins with
        # all that was published since the last vacuum.
        self.count = f"""
            SELECT count(*)
              FROM (SELECT FROM {schema}.outbox ORDER BY outbox_id LIMIT $1) AS counted
        """  # noqa: S608 -- schemas are named by the code


_sql = cache(_Statements)
