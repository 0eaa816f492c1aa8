"""The edge's load reports, as the operator would hear them."""

import asyncio

import pytest
from nats.aio.msg import Msg
from pydantic import SecretStr

from engines import connected
from fakes.edges import MakeReplica, StartEdge
from fakes.eventually import eventually
from tieline.api.common.v1 import load_report_pb2
from tieline.chassis.streams import LOAD_REPORTS, OPERATOR
from tieline.embedded.nats import EmbeddedNats

pytestmark = pytest.mark.haproxy


# What gRPC's own retries carry, and those of our client library.
@pytest.mark.parametrize("header", ["grpc-previous-rpc-attempts", "tieline-previous-attempts"])
async def test_what_was_refused_is_reported_once_a_second(
    header: str, make_replica: MakeReplica, start_edge: StartEdge, nats: EmbeddedNats
) -> None:
    retry = ((header, "1"),)
    reports: list[load_report_pb2.LoadReport] = []

    async def note(message: Msg) -> None:
        # Replicas of other tests report on the same server.
        if message.subject.startswith("load.edge."):
            reports.append(load_report_pb2.LoadReport.FromString(message.data))

    async with connected(nats, OPERATOR) as operator:
        await operator.subscribe(LOAD_REPORTS, cb=note)
        await operator.flush()
        edge = await start_edge(
            make_replica(),
            edge_slots=1,
            edge_queue_length=4,
            nats_url=SecretStr(nats.url("edge")),
        )
        await eventually(lambda: reports)

        codes = await asyncio.gather(
            *(edge.code(delay_ms=60, metadata=attempt) for attempt in [retry] * 10 + [()] * 10)
        )

        refused = codes.count("RESOURCE_EXHAUSTED")
        expired = codes.count("UNAVAILABLE")
        await eventually(lambda: shed(reports[-1]) == refused)
        (counters,) = reports[-1].classes
        assert refused >= 10
        assert counters.first_attempts + counters.retries == refused + expired
        assert counters.retries >= 1
        assert counters.expired == expired
        assert counters.admitted == 0
        assert reports[-1].service == "messaging"
        assert reports[-1].sequence > reports[0].sequence


def shed(report: load_report_pb2.LoadReport) -> int:
    return sum(counters.shed for counters in report.classes)
