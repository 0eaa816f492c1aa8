"""What an idle subscriber costs a replica's memory.

Measures ``messaging.subscriber_kb``: 10,000 people, ten to a conversation, each with a Subscribe
call open on one replica; the growth of the process beyond what it had before them.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc

from bench import process_trees
from bench.harness import Benchmark, Figure, Target, summarise
from bench.messaging_platform import MessagingPlatform, messaging_platform
from tieline.api.messaging.v1 import messaging_service_pb2, messaging_service_pb2_grpc

_SUBSCRIBER_KB = "messaging.subscriber_kb"
_PEOPLE = 10_000
_GROUP_SIZE = 10
_CHANNELS = 20

# So many begin at the same time: all at once would measure a crowd at the door.
_AT_A_TIME = 100

# Start-up's garbage is collected and comparisons with the database have been made by then.
_SETTLE_S = 20.0


async def measure() -> Sequence[Figure]:
    """Subscribe everybody once; a second round would reuse the memory of the first."""
    async with messaging_platform() as platform, AsyncExitStack() as stack:
        people = [f"user{number}" for number in range(_PEOPLE)]
        await platform.open_conversations(
            [people[begin : begin + _GROUP_SIZE] for begin in range(0, _PEOPLE, _GROUP_SIZE)]
        )
        stubs = []
        for _ in range(_CHANNELS):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = grpc.aio.insecure_channel(platform.target, options=options)
            stubs.append(
                messaging_service_pb2_grpc.MessagingServiceStub(
                    await stack.enter_async_context(channel)
                )
            )
        before_kb = process_trees.pss_kb(platform.service.pid)
        calls = []
        for begin in range(0, _PEOPLE, _AT_A_TIME):
            calls += await asyncio.gather(
                *(
                    _subscribe(platform, stubs[number % _CHANNELS], people[number])
                    for number in range(begin, begin + _AT_A_TIME)
                )
            )
        await asyncio.sleep(_SETTLE_S)
        each_kb = (process_trees.pss_kb(platform.service.pid) - before_kb) / _PEOPLE
        for call in calls:
            call.cancel()
    return [summarise(_SUBSCRIBER_KB, [each_kb], "KB", target=Target("value", "at most", 40))]


async def _subscribe(
    platform: MessagingPlatform,
    stub: messaging_service_pb2_grpc.MessagingServiceStub,
    user: str,
) -> Any:
    call = stub.Subscribe(
        messaging_service_pb2.SubscribeRequest(), metadata=platform.metadata(user)
    )
    started = await call.read()
    assert isinstance(started, messaging_service_pb2.SubscribeResponse), "it has begun"
    return call


BENCHMARKS = (Benchmark((_SUBSCRIBER_KB,), measure),)
