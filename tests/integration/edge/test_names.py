"""Replicas that are found by a name, as in a cluster, whose DNS knows full names and no others."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from fakes.edges import Edge, MakeReplica, Replica, StartEdge
from fakes.eventually import eventually
from fakes.name_server import NameServer, name_server

pytestmark = pytest.mark.haproxy

NAME = "tieline-messaging.connect.svc.cluster.local"


def by_name(replica: Replica, dns: NameServer, **settings: Any) -> dict[str, Any]:
    where = f"dns:{NAME}:{replica.port}@{replica.agent_port}"
    return {"edge_messaging": where, "edge_name_servers": dns.address, **settings}


async def host_of(edge: Edge) -> str:
    return (await edge.call()).split()[-1].decode()


async def test_a_new_address_gets_its_first_call_within_two_seconds_and_a_removed_one_no_more(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    first = make_replica()
    second = make_replica(beside=first)
    await second.is_up()
    async with name_server({NAME: [first.host]}) as dns:
        edge = await start_edge(ready=1, **by_name(first, dns))
        assert {await host_of(edge) for _ in range(10)} == {first.host}

        dns.records[NAME] = [first.host, second.host]
        added_at = time.monotonic()
        await eventually(lambda: is_at(edge, second))
        joined_s = time.monotonic() - added_at

        dns.records[NAME] = [second.host]
        removed_at = time.monotonic()
        await eventually(lambda: edge.has_ready(1))
        left_s = time.monotonic() - removed_at

        assert {await host_of(edge) for _ in range(10)} == {second.host}
        assert joined_s < 2.0
        # HAProxy keeps an address that is missing in answers for two seconds more.
        assert left_s < 4.0


async def test_a_replica_that_has_left_the_answers_ends_what_it_has_in_hand(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    first = make_replica()
    leaving = make_replica(beside=first)
    await leaving.is_up()
    async with name_server({NAME: [first.host, leaving.host]}) as dns:
        grace = {"drain_s": 0, "shutdown_grace_s": 10}
        edge = await start_edge(ready=2, **by_name(first, dns, **grace))
        running = [asyncio.create_task(edge.call(delay_ms=5000)) for _ in range(6)]
        await eventually(lambda: has_in_flight(edge, 6))

        leaving.drain()
        dns.records[NAME] = [first.host]
        answers = await asyncio.gather(*running)

    homes = Counter(answer.split()[-1].decode() for answer in answers)
    assert homes == {first.host: 3, leaving.host: 3}


async def has_in_flight(edge: Edge, count: int) -> bool:
    return await edge.in_flight() == count


async def test_a_name_that_is_not_full_has_no_replicas(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    replica = make_replica()
    async with name_server({NAME: [replica.host]}) as dns:
        short = NAME.partition(".")[0]
        where = f"dns:{short}:{replica.port}@{replica.agent_port}"
        edge = await start_edge(ready=0, **by_name(replica, dns, edge_messaging=where))
        await eventually(lambda: short in dns.asked)

        assert NAME not in dns.asked
        assert await edge.code() == "UNAVAILABLE"


async def test_each_address_of_a_large_answer_is_known_and_a_truncated_answer_changes_nothing(
    start_edge: StartEdge,
) -> None:
    # What HAProxy has been told counts: nothing answers at these addresses.
    addresses = [f"127.1.{n // 250}.{n % 250 + 1}" for n in range(480)]
    where = {"edge_messaging": f"dns:{NAME}:7100", "edge_max_replicas": 480}
    async with name_server({NAME: addresses}) as dns:
        edge = await start_edge(ready=0, edge_name_servers=dns.address, **where)
        await eventually(lambda: has_known(edge, addresses))

        dns.max_bytes = 1232
        await eventually(lambda: dns.truncated >= 3)

        assert await has_known(edge, addresses)


async def has_known(edge: Edge, addresses: list[str]) -> bool:
    rows = (await edge.master.ask("show servers state messaging_calls")).splitlines()
    known = {row.split()[4] for row in rows if " replica" in row}
    return known - {"-"} == set(addresses)


async def is_at(edge: Edge, replica: Replica) -> bool:
    return await host_of(edge) == replica.host
