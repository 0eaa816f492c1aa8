"""Which replicas there are, as their load reports say."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from tieline.api.common.v1 import load_report_pb2
from tieline.chassis.broker import connect_broker
from tieline.chassis.health import Health
from tieline.chassis.streams import EDGE, LOAD_REPORTS, OPERATOR

# Reports come once a second; whoever was silent for three is gone.
_SILENCE_S = 3.0
_MAX_REPLICAS = 10_000


class Replicas:
    """The newest report of each replica."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[float, bool]] = {}

    def note(self, subject: str, payload: bytes, now: float) -> None:
        """Take a report in; what can't be read is left out."""
        try:
            report = load_report_pb2.LoadReport.FromString(payload)
        except DecodeError:
            return
        # The edge reports for services what it refused: it is no replica of them.
        if not subject.startswith(f"load.{EDGE}.") and len(self._seen) < _MAX_REPLICAS:
            key = (report.service, report.replica)
            self._seen[key] = (now, report.HasField("ready_time"))

    @property
    def has_reports(self) -> bool:
        """Whether any replica has reported."""
        return bool(self._seen)

    def ready(self, now: float) -> Mapping[str, int]:
        """Return how many replicas of each service take calls."""
        return Counter(
            service
            for (service, _), (seen_at, is_ready) in self._seen.items()
            if is_ready and now - seen_at <= _SILENCE_S
        )


@asynccontextmanager
async def watching_replicas(nats_url: str) -> AsyncIterator[Replicas]:
    """Follow the load reports until the block is left. StartError when NATS is away."""
    replicas = Replicas()

    async def note(message: Msg) -> None:
        replicas.note(message.subject, message.data, time.monotonic())

    async with connect_broker(nats_url, name=OPERATOR, health=Health()) as broker:
        await broker.subscribe(LOAD_REPORTS, cb=note)
        yield replicas
