"""Replicas that report load, each second or when told to."""

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from nats.aio.client import Client

from tieline.api.common.v1 import load_report_pb2, priority_pb2
from tieline.chassis.streams import load_subject

_INTERVAL_S = 0.6


class ReportingReplicas:
    """Stands in for the replicas of one service: one report for each name that it is given."""

    def __init__(self, broker: Client, service: str) -> None:
        self._broker = broker
        self._service = service
        self._started = int(time.time()) - 100
        self._sequence = 0
        self._offered: dict[str, float] = {}

    async def report(self, replicas: Sequence[str], offered_per_s: float) -> None:
        """Publish one report of each, which tells of one second; the load is shared by all."""
        self._sequence += 1
        for replica in replicas:
            offered = self._offered.get(replica, 0.0) + offered_per_s / len(replicas)
            self._offered[replica] = offered
            report = load_report_pb2.LoadReport(
                service=self._service, replica=replica, sequence=self._sequence
            )
            report.start_time.seconds = self._started
            report.classes.add(
                business_class=priority_pb2.BUSINESS_CLASS_NORMAL,
                first_attempts=int(offered),
                admitted=int(offered),
            )
            await self._broker.publish(
                load_subject(self._service, replica), report.SerializeToString()
            )
        await self._broker.flush()

    @asynccontextmanager
    async def reporting(
        self,
        replicas: Callable[[], Sequence[str] | Awaitable[Sequence[str]]],
        offered_per_s: Callable[[], float],
    ) -> AsyncIterator[None]:
        """Report again and again within the block, whatever replicas there are."""

        is_over = asyncio.Event()

        async def report_until_over() -> None:
            while not is_over.is_set():
                found = replicas()
                names = await found if inspect.isawaitable(found) else found
                await self.report(names, offered_per_s())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), _INTERVAL_S)

        task = asyncio.create_task(report_until_over())
        try:
            yield
        finally:
            # Not cancelled: a client that is asked for the replicas may swallow that.
            is_over.set()
            await asyncio.gather(task, return_exceptions=True)
