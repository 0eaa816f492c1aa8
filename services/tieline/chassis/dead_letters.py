"""What operators do with dead letters: see them, and send them again once the cause is cured."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from nats.js import JetStreamContext

from tieline.chassis.broker import Broker
from tieline.chassis.ids import new_uuid7
from tieline.chassis.message_headers import (
    CORP_ID_HEADER,
    EVENT_ID_HEADER,
    KEY_HEADER,
    MESSAGE_ID_HEADER,
    REQUEST_ID_HEADER,
)
from tieline.chassis.postgres import Connection

# Nobody reads more in a terminal; the oldest ones come first.
LIST_LIMIT = 1000

_KEPT_HEADERS = (CORP_ID_HEADER, KEY_HEADER, REQUEST_ID_HEADER, "traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a service gave up."""

    corp_id: str
    event_id: str
    subject: str
    reason: str
    deliveries: int
    create_time: datetime


async def list_dead_letters(connection: Connection, service: str) -> list[DeadLetter]:
    """Return the consuming service's dead letters, oldest first, 1000 at most."""
    rows = await connection.fetch(
        f"""
        SELECT corp_id, event_id, subject, reason, deliveries, create_time
          FROM {service}.dead_letters
         ORDER BY create_time, event_id
         LIMIT $1
        """,  # noqa: S608 -- services are named by the code
        LIST_LIMIT,
    )
    return [DeadLetter(**row) for row in rows]


async def replay_dead_letters(
    connection: Connection, broker: Broker, service: str, letters: Iterable[DeadLetter]
) -> int:
    """Publish the letters to their subjects again and delete them; return how many.

    ``broker`` is a user that may publish any event. Every consumer of a subject gets the event;
    those that handled it before know its event id. A letter that is given up again comes back.
    """
    jetstream = broker.jetstream()
    count = 0
    for letter in letters:
        async with connection.transaction():
            count += await _replay(connection, jetstream, service, letter)
    return count


async def _replay(
    connection: Connection, jetstream: JetStreamContext, service: str, letter: DeadLetter
) -> int:
    # Deleted before it is sent, committed after: two replays at once send it once, and when
    # sending fails the row stays.
    row = await connection.fetchrow(
        f"""
        DELETE FROM {service}.dead_letters
         WHERE corp_id = $1 AND event_id = $2
        RETURNING payload, headers::text AS headers
        """,  # noqa: S608 -- services are named by the code
        letter.corp_id,
        letter.event_id,
    )
    if row is None:
        return 0
    headers = _build_headers(letter, json.loads(row["headers"]))
    await jetstream.publish(letter.subject, row["payload"], headers=headers)
    return 1


def _build_headers(letter: DeadLetter, published: dict[str, str]) -> dict[str, str]:
    return {
        **{name: published[name] for name in _KEPT_HEADERS if name in published},
        EVENT_ID_HEADER: letter.event_id,
        # A fresh one: under the first the stream would take the message for a duplicate.
        MESSAGE_ID_HEADER: new_uuid7(),
    }
