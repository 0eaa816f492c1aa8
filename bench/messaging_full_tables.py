"""What 5,000,000 stored messages cost a send, beside the same sends into empty tables.

Measures ``messaging.rate_at_5m_rows``: messages a second sent one by one, 64 in flight, in windows
that alternate between two platforms, of which one has the last 30 days behind it. Its messages are
spread over the conversations that are sent to and over the months' parts, those of the last days
are remembered as recent sends, and all count as indexed for searches.
"""

from collections.abc import Sequence

import asyncpg

from bench.grpc_load import IN_FLIGHT, Load, Rate
from bench.harness import Benchmark, Figure, Target, summarise
from bench.messaging_platform import CORP_ID, TEXT_BYTES, MessagingPlatform, messaging_platform
from bench.messaging_send import CONVERSATIONS_OF_EACH, People, check_all_stored

_FULL = "messaging.rate_at_5m_rows"
_EMPTY = "messaging.rate_at_0_rows"
_FULL_CPU = "messaging.per_cpu_second_at_5m_rows"
_EMPTY_CPU = "messaging.per_cpu_second_at_0_rows"

_RUNS = 11
_WINDOW_S = 1.0

_CONVERSATIONS = IN_FLIGHT * CONVERSATIONS_OF_EACH
_DAYS = 30
_STEPS = 10
_MESSAGES_OF_EACH = 5_000_000 // _CONVERSATIONS // _STEPS * _STEPS

# In the order in which they were sent, as tables fill.
_FILL = """
INSERT INTO messaging.stored_messages
       (corp_id, conversation_id, sequence, sender_kind, sender_id, client_message_id, content,
        create_time)
SELECT conversations.corp_id, conversations.conversation_id, number, 'member', 'user' || number % 7,
       gen_random_uuid(), decode(repeat(md5(number::text), $5 / 16), 'hex'),
       now() - make_interval(secs => ($3 - number)::double precision / $3 * $4 * 86400)
  FROM generate_series($1::bigint, $2::bigint) AS number
 CROSS JOIN messaging.conversations
 WHERE conversations.corp_id = $6
"""

_REMEMBER = """
INSERT INTO messaging.recent_sends
       (corp_id, conversation_id, sender_kind, sender_id, client_message_id, sequence, create_time)
SELECT corp_id, conversation_id, sender_kind, sender_id, client_message_id, sequence, create_time
  FROM messaging.stored_messages
 WHERE corp_id = $1 AND create_time > now() - interval '7 days'
"""

_INDEXED = """
INSERT INTO messaging.search_progress (corp_id, conversation_id, indexed_sequence)
SELECT corp_id, conversation_id, $2
  FROM messaging.conversations
 WHERE corp_id = $1
"""

_NUMBERED = "UPDATE messaging.conversations SET last_sequence = $2 WHERE corp_id = $1"


async def measure() -> Sequence[Figure]:
    """Fill one of two platforms and send to both in turns."""
    full: list[Rate] = []
    empty: list[Rate] = []
    async with messaging_platform() as filled, messaging_platform() as bare:
        people, others = People(filled), People(bare)
        for each in (people, others):
            await each.open_conversations()
        people.acknowledged = await _fill(filled)
        async with Load(filled, people.unary()) as load, Load(bare, others.unary()) as bare_load:
            await load.measure(_WINDOW_S)
            await bare_load.measure(_WINDOW_S)
            for _ in range(_RUNS):
                full.append(await load.measure(_WINDOW_S))
                empty.append(await bare_load.measure(_WINDOW_S))
        await check_all_stored(filled, people)
        await check_all_stored(bare, others)
    empty_rates, empty_cpu = [r.per_second for r in empty], [r.per_cpu_second for r in empty]
    return [
        summarise(_EMPTY, empty_rates, "messages/s"),
        summarise(
            _FULL,
            [rate.per_second for rate in full],
            "messages/s",
            against=_EMPTY,
            against_values=empty_rates,
            target=Target("ratio", "at least", 0.9),
        ),
        summarise(_EMPTY_CPU, empty_cpu, "messages/CPU s"),
        summarise(
            _FULL_CPU,
            [rate.per_cpu_second for rate in full],
            "messages/CPU s",
            against=_EMPTY_CPU,
            against_values=empty_cpu,
        ),
    ]


async def _fill(platform: MessagingPlatform) -> int:
    """Return how many messages it has now."""
    connection = await asyncpg.connect(platform.admin_dsn)
    step = _MESSAGES_OF_EACH // _STEPS
    try:
        for number in range(_STEPS):
            print(f"      {number * step * _CONVERSATIONS:,} messages stored", flush=True)
            await connection.execute(
                _FILL,
                *(number * step + 1, (number + 1) * step, _MESSAGES_OF_EACH, _DAYS),
                *(TEXT_BYTES, CORP_ID),
            )
        await connection.execute(_REMEMBER, CORP_ID)
        await connection.execute(_INDEXED, CORP_ID, _MESSAGES_OF_EACH)
        await connection.execute(_NUMBERED, CORP_ID, _MESSAGES_OF_EACH)
        # As autovacuum would have, in the days that this stands for.
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return _CONVERSATIONS * _MESSAGES_OF_EACH


BENCHMARKS = (Benchmark((_EMPTY, _FULL, _EMPTY_CPU, _FULL_CPU), measure),)
