"""The send path and nothing else: what sending is measured beside, as a server of its own.

grpc.aio, one batcher, one connection of asyncpg; of each batch the rows of counters, messages and
outbox in one transaction, then one NATS publish a message, then the answers. It takes the requests
of the messaging service, and its engines are as durable and have the same settings. It asks for no
token, recognises no repeats and measures nothing; nobody subscribes, and what is in the outbox
stays there.
"""

import asyncio
import datetime as dt
import os
import secrets
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import grpc
import nats
import uvloop
from nats.aio.client import Client

from bench import process_trees
from bench.grpc_load import announce, server_process
from bench.messaging_platform import (
    CORP_ID,
    POSTGRES_SETTINGS,
    SERVICE,
    engines_folder,
    running_in_thread,
)
from tieline.api.common.v1 import principal_pb2
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.fields import to_timestamp
from tieline.chassis.ids import new_uuid7
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

_MODULE = "bench.send_path_sketch"
_DSN = "SKETCH_DATABASE_DSN"
_NATS_URL = "SKETCH_NATS_URL"

# As many as the service's batcher takes.
_MAX_BATCH = 256

# Without tokens nobody knows who sends.
_SENDER = principal_pb2.PrincipalRef(kind=principal_pb2.PRINCIPAL_KIND_MEMBER, id="bench")

_SUBJECT = "sketch.messages_sent"

_TABLES = """
CREATE TABLE counters (
    corp_id         text   COLLATE "C" NOT NULL,
    conversation_id text   COLLATE "C" NOT NULL,
    last_sequence   bigint NOT NULL,
    PRIMARY KEY (corp_id, conversation_id)
) WITH (fillfactor = 60);

CREATE TABLE messages (
    corp_id           text        COLLATE "C" NOT NULL,
    conversation_id   text        COLLATE "C" NOT NULL,
    sequence          bigint      NOT NULL,
    sender_id         text        NOT NULL,
    client_message_id text        NOT NULL,
    content           bytea       NOT NULL,
    create_time       timestamptz NOT NULL,
    PRIMARY KEY (corp_id, conversation_id, sequence)
);

-- Compressing the payloads would cost more than all else about them.
CREATE TABLE outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    corp_id   text  NOT NULL,
    subject   text  NOT NULL,
    payload   bytea STORAGE EXTERNAL NOT NULL
);
"""

# Locks in the order of the keys.
_COUNT = """
INSERT INTO counters (corp_id, conversation_id, last_sequence)
SELECT $1, conversation_id, added
  FROM unnest($2::text[], $3::bigint[]) AS new (conversation_id, added)
 ORDER BY conversation_id
ON CONFLICT (corp_id, conversation_id)
DO UPDATE SET last_sequence = counters.last_sequence + excluded.last_sequence
RETURNING conversation_id, last_sequence, now() AS create_time
"""

_STORE = """
WITH told AS (
    INSERT INTO outbox (corp_id, subject, payload) VALUES ($1, $2, $3)
)
INSERT INTO messages
       (corp_id, conversation_id, sequence, sender_id, client_message_id, content, create_time)
SELECT $1, conversation_id, sequence, $4, client_message_id, content, $5
  FROM unnest($6::text[], $7::bigint[], $8::text[], $9::bytea[])
       AS new (conversation_id, sequence, client_message_id, content)
"""

_Send: TypeAlias = messaging_pb2.OutgoingMessage | messaging_service_pb2.SendMessageRequest


@dataclass(frozen=True, slots=True)
class Sketch:
    """A running sketch and what it stands on."""

    target: str
    """``host:port`` of the gRPC server."""

    process_ids: Sequence[int]
    """Of server, PostgreSQL and NATS; they have children."""

    admin_dsn: str

    def cpu_s(self) -> float:
        """Return the CPU time of server, PostgreSQL and NATS together, in seconds."""
        return process_trees.cpu_s(self.process_ids)

    def metadata(self, _user_id: str) -> tuple[tuple[str, str], ...]:
        """Return what calls carry: nothing."""
        return ()

    async def open_conversations(self, groups: Sequence[Sequence[str]]) -> list[str]:
        """Return ids of conversations; their counters come with their first messages."""
        return [str(uuid.uuid4()) for _ in groups]

    async def count_messages(self) -> int:
        """Return how many messages are stored."""
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM messages"))
        finally:
            await connection.close()


@asynccontextmanager
async def send_path_sketch() -> AsyncIterator[Sketch]:
    """Run the sketch on durable engines of its own until the block is left."""
    password = secrets.token_hex(8)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(engines_folder())
        postgres = EmbeddedPostgres(
            folder / "postgres",
            find_free_port(),
            superuser_password=password,
            settings=POSTGRES_SETTINGS,
        )
        postgres_id = await stack.enter_async_context(running_in_thread(postgres.running()))
        nats_server = EmbeddedNats(folder / "nats", find_free_port(), [User("bench", password)])
        nats_id = await stack.enter_async_context(running_in_thread(nats_server.running()))
        environment = {_DSN: postgres.dsn(), _NATS_URL: nats_server.url("bench")}
        server = await stack.enter_async_context(server_process(_MODULE, "serve", environment))
        yield Sketch(server.target, (server.pid, postgres_id, nats_id), postgres.dsn())


class _SendPath:
    """Takes messages one by one and on streams, and stores together what waits together."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", broker: Client) -> None:
        self._connection = connection
        self._broker = broker
        self._waiting: asyncio.Queue[tuple[_Send, asyncio.Future[messaging_pb2.Message]]] = (
            asyncio.Queue()
        )

    async def send_message(
        self, request: messaging_service_pb2.SendMessageRequest, _context: Any
    ) -> messaging_service_pb2.SendMessageResponse:
        """Answer once the message is stored."""
        return messaging_service_pb2.SendMessageResponse(message=await self._begin(request))

    async def send_messages(
        self, requests: AsyncIterator[messaging_service_pb2.SendMessagesRequest], _context: Any
    ) -> AsyncIterator[messaging_service_pb2.SendMessagesResponse]:
        """Answer each request once its messages are stored."""
        async for request in requests:
            outcomes = [self._begin(message) for message in request.messages]
            results = [messaging_pb2.SendResult(message=await outcome) for outcome in outcomes]
            yield messaging_service_pb2.SendMessagesResponse(results=results)

    async def commit_batches(self) -> None:
        """Store what waits, batch after batch, for ever."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < _MAX_BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                messages = await self._commit([send for send, _ in batch])
            except Exception as error:
                for _, outcome in batch:
                    outcome.set_exception(error)
                continue
            for (_, outcome), message in zip(batch, messages, strict=True):
                outcome.set_result(message)

    def _begin(self, send: _Send) -> "asyncio.Future[messaging_pb2.Message]":
        outcome: asyncio.Future[messaging_pb2.Message] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((send, outcome))
        return outcome

    async def _commit(self, sends: Sequence[_Send]) -> list[messaging_pb2.Message]:
        async with self._connection.transaction():
            messages, now = await self._number(sends)
            sent = messaging_pb2.MessagesSent(event_id=new_uuid7(), messages=messages)
            await self._connection.execute(
                _STORE,
                *(CORP_ID, _SUBJECT, sent.SerializeToString(), _SENDER.id, now),
                [message.conversation_id for message in messages],
                [message.sequence for message in messages],
                [message.client_message_id for message in messages],
                [message.content.SerializeToString() for message in messages],
            )
        for message in messages:
            subject = f"sketch.{CORP_ID}.{message.conversation_id}"
            await self._broker.publish(subject, message.SerializeToString())
        return messages

    async def _number(
        self, sends: Sequence[_Send]
    ) -> tuple[list[messaging_pb2.Message], dt.datetime]:
        """Count the conversations up; return the messages with their numbers, and the time."""
        added = Counter(send.conversation_id for send in sends)
        rows = await self._connection.fetch(_COUNT, CORP_ID, list(added), list(added.values()))
        reached = {
            row["conversation_id"]: row["last_sequence"] - added[row["conversation_id"]]
            for row in rows
        }
        now: dt.datetime = rows[0]["create_time"]
        create_time = to_timestamp(now)
        messages = []
        for send in sends:
            reached[send.conversation_id] += 1
            # Field by field, which takes a third of the time of keywords.
            message = messaging_pb2.Message()
            message.corp_id = CORP_ID
            message.conversation_id = send.conversation_id
            message.sequence = reached[send.conversation_id]
            message.sender.CopyFrom(_SENDER)
            message.client_message_id = send.client_message_id
            message.content.CopyFrom(send.content)
            message.create_time.CopyFrom(create_time)
            messages.append(message)
        return messages, now


async def _serve() -> None:
    connection = await asyncpg.connect(os.environ[_DSN])
    broker = await nats.connect(os.environ[_NATS_URL])
    await connection.execute(_TABLES)
    path = _SendPath(connection, broker)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                SERVICE,
                {
                    "SendMessage": grpc.unary_unary_rpc_method_handler(
                        path.send_message,
                        messaging_service_pb2.SendMessageRequest.FromString,
                        messaging_service_pb2.SendMessageResponse.SerializeToString,
                    ),
                    "SendMessages": grpc.stream_stream_rpc_method_handler(
                        path.send_messages,
                        messaging_service_pb2.SendMessagesRequest.FromString,
                        messaging_service_pb2.SendMessagesResponse.SerializeToString,
                    ),
                },
            )
        ]
    )
    batcher = asyncio.create_task(path.commit_batches())
    try:
        await announce(server)
    finally:
        batcher.cancel()
        await broker.close()
        await connection.close()


if __name__ == "__main__":
    assert sys.argv[1:] == ["serve"], "run by send_path_sketch"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
