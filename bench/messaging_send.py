"""Durable messages per CPU second, sent one by one and on streams, beside the bare empty call.

Measures ``messaging.durable_per_cpu_second.unary``, ``….stream`` and ``messaging.unary_vs_bare_call``.
The CPU is that of service, PostgreSQL and NATS together; the generator's is left out. After each
run the stored messages are counted and must be the acknowledged ones.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import grpc

from bench.grpc_load import IN_FLIGHT, Load, Work, server_process
from bench.harness import Benchmark, Figure, Target, summarise
from bench.messaging_platform import MessagingPlatform, build_send, messaging_platform
from tieline.api.messaging.v1 import messaging_service_pb2

_UNARY = "messaging.durable_per_cpu_second.unary"
_STREAM = "messaging.durable_per_cpu_second.stream"
_VERSUS = "messaging.unary_vs_bare_call"
_UNIT = "messages/CPU s"

_SEND = "/tieline.api.messaging.v1.MessagingService/SendMessage"
_DEADLINE_S = 20.0
_WINDOW_S = 4.0
_RUNS = 5

# Many conversations, as people have: no batch has two messages of one conversation by design.
_CONVERSATIONS_OF_EACH = 16


async def measure() -> Sequence[Figure]:
    """Send one by one and call the bare server in turns."""
    unary, throughput, bare_throughput = [], [], []
    async with (
        messaging_platform() as platform,
        server_process("bench.chassis_call", "bare") as bare,
    ):
        users = [f"user{number}" for number in range(IN_FLIGHT)]
        work = await _sending(platform, users)
        from bench.chassis_call import _calls

        async with Load(platform, work) as load, Load(bare, _calls(bare)) as bare_load:
            for _ in range(_RUNS):
                before = await platform.count_messages()
                rate = await load.measure(_WINDOW_S)
                unary.append(rate.per_cpu_second)
                throughput.append(rate.per_second)
                bare_throughput.append((await bare_load.measure(_WINDOW_S / 4)).per_second)
                print(rate, await platform.count_messages() - before)
    return [
        summarise(_UNARY, unary, _UNIT, target=Target("value", "at least", 2500)),
    ]


async def _sending(platform: MessagingPlatform, users: Sequence[str]) -> Work:
    pairs = [(user, f"{user}.peer") for user in users for _ in range(_CONVERSATIONS_OF_EACH)]
    ids = await platform.open_conversations(pairs)
    waiting = list(enumerate(users))

    async def work(channel: grpc.aio.Channel) -> AsyncGenerator[None, None]:
        index, user = waiting.pop()
        own = ids[index * _CONVERSATIONS_OF_EACH : (index + 1) * _CONVERSATIONS_OF_EACH]
        metadata = platform.metadata(user)
        call = channel.unary_unary(
            _SEND,
            messaging_service_pb2.SendMessageRequest.SerializeToString,
            messaging_service_pb2.SendMessageResponse.FromString,
        )
        while True:
            for conversation_id in own:
                await call(build_send(conversation_id), timeout=_DEADLINE_S, metadata=metadata)
                yield

    return work


if __name__ == "__main__":
    print(asyncio.run(measure()))
