"""What somebody waits for who comes back, and who searches.

Measures ``messaging.catch_up_seconds``: a member back after a week, with 200 conversations and
10,000 messages since; from Subscribe to ``caught_up``, all messages received, beside the same for a
client that takes one message a response (``messaging.catch_up_one_by_one_seconds``). And
``messaging.search_p99_ms``: searches in 1,000,000 messages of one member's 200 conversations, for
words that are in one of eight messages (``….common``), in one of a hundred (``….some``), in one
alone (``….rare``), and for all of these in turns, beside a search that has nothing to search in
(``messaging.search_bare_p99_ms``): what else happens on the machine meets both.
``messaging.search_cpu_ms.…`` is what a search costs service and PostgreSQL. Messages and index are
put into the tables; a search's own catching up finds nothing to do.
"""

import asyncio
import datetime as dt
import random
import statistics
from collections.abc import AsyncIterator, Iterator, Sequence
from time import perf_counter
from typing import Any

import asyncpg
import grpc

from bench.harness import Benchmark, Figure, Target, summarise
from bench.messaging_platform import CORP_ID, MessagingPlatform, messaging_platform
from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
    search_service_pb2,
    search_service_pb2_grpc,
)
from tieline.messaging.search.terms import list_terms

_CATCH_UP = "messaging.catch_up_seconds"
_ALONE = "messaging.catch_up_one_by_one_seconds"
_SEARCH = "messaging.search_p99_ms"
_SEARCH_CPU = "messaging.search_cpu_ms"
_BARE = "messaging.search_bare_p99_ms"
_SORTS = ("common", "some", "rare")

_MEMBER = "member"
_CONVERSATIONS = 200
_MISSED = 10_000
_SEARCHED = 1_000_000
# Of each sort.
_SEARCHES = 100
_RUNS = 5

_WORDS = ("项目进度", "周报", "合同", "meeting", "invoice", "明天见", "收到", "好的")


async def measure_catch_up() -> Sequence[Figure]:
    """Subscribe with nothing held, several times: in batches, and message by message."""
    values: list[float] = []
    alone: list[float] = []
    async with messaging_platform() as platform:
        ids = await _fill(platform, _MISSED, searchable=False)
        async with grpc.aio.insecure_channel(platform.target) as channel:
            stub = messaging_service_pb2_grpc.MessagingServiceStub(channel)
            for _ in range(_RUNS):
                values.append(await _catch_up(stub, platform, ids, in_batches=True))
                alone.append(await _catch_up(stub, platform, ids, in_batches=False))
    target = Target("value", "at most", 2)
    return [
        summarise(_ALONE, alone, "s"),
        summarise(_CATCH_UP, values, "s", against=_ALONE, against_values=alone, target=target),
    ]


async def _catch_up(
    stub: messaging_service_pb2_grpc.MessagingServiceStub,
    platform: MessagingPlatform,
    ids: Sequence[str],
    *,
    in_batches: bool,
) -> float:
    request = messaging_service_pb2.SubscribeRequest(catch_up=True, batches=in_batches)
    for conversation_id in ids:
        request.held.add(conversation_id=conversation_id)
    begin = perf_counter()
    received = 0
    call = stub.Subscribe(request, metadata=platform.metadata(_MEMBER))
    async for update in call:
        received += update.HasField("message") + len(update.messages.messages)
        if update.HasField("caught_up"):
            break
    took_s = perf_counter() - begin
    call.cancel()
    assert received == _MISSED, f"{received} of {_MISSED} messages came"
    return took_s


async def measure_search() -> Sequence[Figure]:
    """Search one after the other, as one person does."""
    chance = random.Random(1)
    p99: dict[str, list[float]] = {name: [] for name in (*_SORTS, "all", "bare")}
    cpu: dict[str, list[float]] = {sort: [] for sort in _SORTS}
    async with messaging_platform() as platform:
        await _fill(platform, _SEARCHED, searchable=True)
        async with grpc.aio.insecure_channel(platform.target) as channel:
            stub = search_service_pb2_grpc.SearchServiceStub(channel)
            for run in range(_RUNS + 1):
                latencies: list[float] = []
                for sort in _SORTS:
                    before_s = platform.cpu_s()
                    own = [
                        await _search(stub, platform, _choose_query(sort, chance))
                        for _ in range(_SEARCHES)
                    ]
                    latencies += own
                    if run:  # the first one warms the caches up
                        cpu[sort].append((platform.cpu_s() - before_s) / _SEARCHES * 1e3)
                        p99[sort].append(_find_p99(own))
                bare = [await _search_nothing(stub, platform) for _ in range(_SEARCHES)]
                if run:
                    p99["all"].append(_find_p99(latencies))
                    p99["bare"].append(_find_p99(bare))
    target = Target("value", "at most", 50)
    return [
        summarise(_BARE, p99["bare"], "ms"),
        *(summarise(f"{_SEARCH_CPU}.{sort}", cpu[sort], "ms") for sort in _SORTS),
        *(summarise(f"{_SEARCH}.{sort}", p99[sort], "ms", target=target) for sort in _SORTS),
        summarise(_SEARCH, p99["all"], "ms", target=target),
    ]


def _find_p99(latencies: Sequence[float]) -> float:
    return statistics.quantiles(latencies, n=100)[98]


def _choose_query(sort: str, chance: random.Random) -> str:
    number = chance.randrange(_SEARCHED)
    if sort == "common":
        return chance.choice(("项", "项目进度", "meet"))
    return f"group{number % 100}x" if sort == "some" else f"only{number}x"


async def _search_nothing(
    stub: search_service_pb2_grpc.SearchServiceStub, platform: MessagingPlatform
) -> float:
    """Search as somebody who is in no conversation: the call itself, and one look-up."""
    begin = perf_counter()
    await stub.SearchMessages(
        search_service_pb2.SearchMessagesRequest(query="x"),
        metadata=platform.metadata("nobody"),
        timeout=20,
    )
    return (perf_counter() - begin) * 1e3


async def _search(
    stub: search_service_pb2_grpc.SearchServiceStub, platform: MessagingPlatform, query: str
) -> float:
    begin = perf_counter()
    response = await stub.SearchMessages(
        search_service_pb2.SearchMessagesRequest(query=query),
        metadata=platform.metadata(_MEMBER),
        timeout=20,
    )
    assert response.messages, f"{query} is in some message"
    return (perf_counter() - begin) * 1e3


async def _fill(platform: MessagingPlatform, count: int, *, searchable: bool) -> list[str]:
    """Put messages of the last week into the member's conversations, in turns."""
    ids = await platform.open_conversations([[_MEMBER, "other"]] * _CONVERSATIONS)
    connection = await asyncpg.connect(platform.admin_dsn)
    try:
        await _copy(
            connection,
            "stored_messages",
            "corp_id conversation_id sequence sender_kind sender_id client_message_id content"
            " create_time",
            (
                (*place, "member", "other", str(number), _content(said), time)
                for number, place, said, time in _list_messages(ids, count)
            ),
        )
        await connection.execute(
            "UPDATE messaging.conversations SET last_sequence = $2 WHERE corp_id = $1",
            CORP_ID,
            count // _CONVERSATIONS,
        )
        if searchable:
            await _index(connection, ids, count)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
    return ids


async def _index(connection: "asyncpg.Connection[Any]", ids: Sequence[str], count: int) -> None:
    await connection.execute(
        "CREATE TEMPORARY TABLE made (corp_id text, conversation_id text, sequence bigint,"
        " create_time timestamptz, terms text[])"
    )
    rows = (
        (*place, time, list_terms([said])) for _, place, said, time in _list_messages(ids, count)
    )
    await connection.copy_records_to_table("made", records=_slowly(rows))
    await connection.execute(
        "INSERT INTO messaging.searchable_messages"
        " SELECT corp_id, conversation_id, sequence, create_time, 'member', 'other', 'text',"
        " array_to_tsvector(terms) FROM made"
    )
    await connection.execute(
        "INSERT INTO messaging.search_progress SELECT $1, unnest($2::text[]), $3",
        CORP_ID,
        ids,
        count // _CONVERSATIONS,
    )


def _list_messages(
    ids: Sequence[str], count: int
) -> Iterator[tuple[int, tuple[str, str, int], str, dt.datetime]]:
    """Yield number, place, text and time of each message, the oldest first."""
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=7)
    step = dt.timedelta(days=7) / count
    for number in range(count):
        place = (CORP_ID, ids[number % len(ids)], number // len(ids) + 1)
        words = (_WORDS[number % len(_WORDS)], f"group{number % 100}x", f"only{number}x")
        yield number, place, " ".join(words), begin + number * step


def _content(said: str) -> bytes:
    text = messaging_pb2.TextContent(text=said)
    return messaging_pb2.MessageContent(text=text).SerializeToString()


async def _copy(
    connection: "asyncpg.Connection[Any]",
    table: str,
    columns: str,
    rows: Iterator[tuple[Any, ...]],
) -> None:
    await connection.copy_records_to_table(
        table, schema_name="messaging", columns=columns.split(), records=_slowly(rows)
    )


async def _slowly(rows: Iterator[tuple[Any, ...]]) -> AsyncIterator[tuple[Any, ...]]:
    """Yield the rows, and let the signing keys be answered for in between."""
    for number, row in enumerate(rows):
        if number % 10_000 == 0:
            await asyncio.sleep(0)
        yield row


BENCHMARKS = (
    Benchmark((_CATCH_UP, _ALONE), measure_catch_up),
    Benchmark(
        (
            _SEARCH,
            *(f"{_SEARCH}.{sort}" for sort in _SORTS),
            *(f"{_SEARCH_CPU}.{sort}" for sort in _SORTS),
            _BARE,
        ),
        measure_search,
    ),
)
