"""Says once a second what the edge refused, as replicas say what they were asked.

Without it the surge operator would see a demand that is capped at what got through.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from tieline.api.common.v1 import load_report_pb2
from tieline.chassis.broker import connect_broker
from tieline.chassis.broker_tls import BrokerTls
from tieline.chassis.health import Health
from tieline.chassis.process import StartError
from tieline.chassis.streams import EDGE, load_subject
from tieline.edge.backends import CLASSES
from tieline.edge.haproxy import Master
from tieline.edge.statistics import (
    Key,
    Totals,
    expired_commands,
    parse_table,
    read_refusals,
    read_variable,
)

REPORT_INTERVAL_S = 1.0
# NATS may come later than the edge, and go before it: the edge does its work all the same.
_CONNECT_AGAIN_S = 5.0

logger = logging.getLogger(__name__)


def build_report(
    service: str, counts: Mapping[Key, int], *, replica: str, sequence: int, start_time: datetime
) -> load_report_pb2.LoadReport:
    """Return the report of what one service was not asked. Pure.

    What waited too long counts as first attempts: HAProxy does not tell retries apart there.
    """
    report = load_report_pb2.LoadReport(service=service, replica=replica, sequence=sequence)
    report.start_time.FromDatetime(start_time)
    report.ready_time.FromDatetime(start_time)
    for number in CLASSES:
        refused, again, expired = (
            counts.get(Key(service, number, fate), 0) for fate in ("refused", "again", "expired")
        )
        if refused or again or expired:
            report.classes.add(
                business_class=number,
                first_attempts=refused + expired,
                retries=again,
                shed=refused + again,
                expired=expired,
            )
    return report


class RefusalReports:
    """Reads HAProxy's counters and publishes them."""

    def __init__(
        self,
        master: Master,
        services: list[str],
        replica: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._master = master
        self._services = services
        self._replica = replica
        self._totals = Totals()
        self._sequence = 0
        self._start_time = datetime.now(UTC)
        self._clock = clock
        self._begun = clock()

    async def publish_forever(self, nats_url: str, tls: BrokerTls) -> None:
        """Publish until cancelled, also after NATS was away."""
        while True:
            try:
                async with connect_broker(nats_url, name=EDGE, health=Health(), tls=tls) as broker:
                    while True:
                        await asyncio.sleep(REPORT_INTERVAL_S)
                        # A report that waits in memory is old when it arrives.
                        for report in await self.read():
                            if broker.is_connected:
                                subject = load_subject(EDGE, self._replica)
                                await broker.publish(subject, report.SerializeToString())
            except StartError as error:
                logger.warning("no load reports: %s", error.text)
                await asyncio.sleep(_CONNECT_AGAIN_S)

    async def read(self) -> list[load_report_pb2.LoadReport]:
        """Return a report for each service; none while HAProxy does not answer."""
        try:
            worker = await self._master.worker_id()
            if worker is None:
                return []
            counts = dict(read_refusals(parse_table(await self._master.ask("show stat"))))
            for key, command in expired_commands(self._services):
                counts[key] = read_variable(await self._master.ask(command))
        except (OSError, TimeoutError):
            return []
        self._totals.note(worker, counts)
        # Whoever takes rates takes sequences for seconds, also those in which none could be told.
        self._sequence = max(self._sequence + 1, round(self._clock() - self._begun))
        return [
            build_report(
                service,
                self._totals.current(),
                replica=self._replica,
                sequence=self._sequence,
                start_time=self._start_time,
            )
            for service in self._services
        ]
