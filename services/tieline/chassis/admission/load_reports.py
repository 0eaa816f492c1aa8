"""What a replica tells of its load once a second, and what it hears of the operator's answer.

Core NATS: a report that is lost is made good by the next one, since counters only grow. Reports
matter most when the replica is overloaded: their task waits for nothing but the clock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import nats.errors
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from nats.aio.msg import Msg

from tieline.api.common.v1 import load_report_pb2, priority_pb2
from tieline.chassis.admission.control import AdmissionControl, ClassCounts
from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.admission.queue_probe import QueueProbe
from tieline.chassis.admission.reporter_names import name_reporter
from tieline.chassis.broker import Broker
from tieline.chassis.errors import RETRY_DELAY_S
from tieline.chassis.health import Health
from tieline.chassis.streams import load_subject, surge_subject
from tieline.chassis.tasks import end_task

REPORT_INTERVAL_S = 1.0

# The operator says it every second; what is older says nothing any more.
_SURGE_STATE_LIFE_S = 5.0

# Nobody is sent away for longer: pods start within seconds.
_MAX_RETRY_DELAY_S = 30.0

# Seconds count as saturated from here on; below 20 ms, where the refusing begins.
_SATURATED_QUEUEING_S = 0.005
_SATURATED_BUSY_RATIO = 0.85

logger = logging.getLogger(__name__)


def name_replica() -> str:
    """Return a name of this process that no other replica has: host, in a cluster the pod, and pid.

    A pod's process is number 1 for ever, and adds nothing.
    """
    pid = os.getpid()
    return name_reporter(socket.gethostname() + ("" if pid == 1 else f"-{pid}"))


@dataclass(frozen=True, slots=True)
class LastSecond:
    """What a second came to; times in seconds."""

    mean_queueing: float = 0.0
    p99_queueing: float = 0.0
    loop_lag: float = 0.0
    capacity: float = 0.0
    """Calls a second that were done at best; 0 while that is not known."""


class LoadReporter:
    """Makes the reports of one replica."""

    def __init__(
        self,
        service: str,
        control: AdmissionControl,
        health: Health,
        *,
        replica: str = "",
        clock: Callable[[], float] = time.time,
        cpu_clock: Callable[[], float] = time.process_time,
        thread_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.service = service
        self.replica = name_reporter(replica) or name_replica()
        self.probe: QueueProbe | None = None
        """Knows the event loop's delays; None before the server is there."""

        self._control = control
        self._health = health
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._thread_clock = thread_clock
        self._start_time = clock()
        self._ready_time: float | None = None
        self._sequence = 0
        self._before = _Second(self._start_time, cpu_clock(), thread_clock(), 0)
        self._last = LastSecond()

    def last(self) -> LastSecond:
        """Return what the newest report told."""
        return self._last

    def build(self) -> load_report_pb2.LoadReport:
        """Return the next report, and learn from the second that it tells of."""
        self._sequence += 1
        now = self._clock()
        if not self._health.is_ready:
            self._ready_time = None
        elif self._ready_time is None:
            self._ready_time = now
        counts = self._control.current_counts()
        queueing = self._control.take_queueing()
        admitted = sum(counts.arrivals) - sum(counts.shed)
        second = _Second(now, self._cpu_clock(), self._thread_clock(), admitted)
        before, self._before = self._before, second
        self._learn(second, before, queueing.mean_s)
        self._last = LastSecond(
            mean_queueing=queueing.mean_s,
            p99_queueing=queueing.p99_s,
            loop_lag=self._take_loop_lag_s(),
            capacity=self._control.capacity.measured_per_s,
        )
        return load_report_pb2.LoadReport(
            service=self.service,
            replica=self.replica,
            sequence=self._sequence,
            start_time=_timestamp(self._start_time),
            ready_time=None if self._ready_time is None else _timestamp(self._ready_time),
            classes=_classes(counts),
            in_flight=max(self._control.in_flight, 0),
            mean_queueing_us=_microseconds(queueing.mean_s),
            p99_queueing_us=_microseconds(queueing.p99_s),
            cpu_milli=round(1000 * second.cpu_ratio_since(before)),
            loop_lag_us=_microseconds(self._last.loop_lag),
            admission_level=self._control.level,
            capacity_per_second=round(self._control.capacity.measured_per_s),
        )

    def _learn(self, second: _Second, before: _Second, mean_queueing_s: float) -> None:
        is_saturated = (
            mean_queueing_s >= _SATURATED_QUEUEING_S
            or second.busy_ratio_since(before) >= _SATURATED_BUSY_RATIO
        )
        rate = (second.admitted - before.admitted) / max(second.at - before.at, 1e-3)
        self._control.note_capacity(rate, is_saturated=is_saturated)

    def _take_loop_lag_s(self) -> float:
        if self.probe is None:
            return 0.0
        lag_s, self.probe.loop_lag_s = self.probe.loop_lag_s, 0.0
        return lag_s


class _Second:
    """Where the clocks and counters stood at the end of a second."""

    def __init__(self, at: float, cpu_s: float, thread_s: float, admitted: int) -> None:
        self.at = at
        self.cpu_s = cpu_s
        self.thread_s = thread_s
        self.admitted = admitted

    def cpu_ratio_since(self, before: _Second) -> float:
        return (self.cpu_s - before.cpu_s) / max(self.at - before.at, 1e-3)

    def busy_ratio_since(self, before: _Second) -> float:
        return (self.thread_s - before.thread_s) / max(self.at - before.at, 1e-3)


@asynccontextmanager
async def reporting(
    broker: Broker, reporter: LoadReporter, control: AdmissionControl
) -> AsyncIterator[None]:
    """Publish a report each second and follow the operator's answer until the block is left."""
    following = _SurgeFollower(reporter.service, control)
    subscription = await broker.subscribe(surge_subject(reporter.service), cb=following.receive)
    task = asyncio.create_task(_publish_all(broker, reporter, following), name="load-reports")
    try:
        yield
    finally:
        await end_task(task)
        if broker.is_connected:
            await subscription.unsubscribe()


async def _publish_all(broker: Broker, reporter: LoadReporter, following: _SurgeFollower) -> None:
    subject = load_subject(reporter.service, reporter.replica)
    while True:
        await asyncio.sleep(REPORT_INTERVAL_S)
        following.forget_old()
        payload = reporter.build().SerializeToString()
        if not broker.is_connected:
            # What waited for the connection would be told when it is no longer true.
            continue
        try:
            await broker.publish(subject, payload)
        except nats.errors.Error as error:
            logger.debug("a load report was not sent: %s", error)


class _SurgeFollower:
    """Keeps when refused callers are to come back, as the operator sees it."""

    def __init__(
        self,
        service: str,
        control: AdmissionControl,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._control = control
        self._clock = clock
        self._heard_at = 0.0

    async def receive(self, message: Msg) -> None:
        try:
            state = load_report_pb2.SurgeState.FromString(message.data)
        except DecodeError:
            return
        if state.service != self._service:
            return
        self._heard_at = self._clock()
        delay_s = state.capacity_delay.ToTimedelta().total_seconds()
        self._control.retry_delay_s = min(max(delay_s, RETRY_DELAY_S), _MAX_RETRY_DELAY_S)

    def forget_old(self) -> None:
        if self._clock() - self._heard_at > _SURGE_STATE_LIFE_S:
            self._control.retry_delay_s = RETRY_DELAY_S


def _classes(counts: ClassCounts) -> list[load_report_pb2.ClassCounters]:
    return [
        load_report_pb2.ClassCounters(
            business_class=priority_pb2.BusinessClass.Name(of.value),  # type: ignore[arg-type]
            first_attempts=counts.arrivals[of] - counts.retries[of] + counts.held_back[of],
            retries=counts.retries[of],
            admitted=counts.arrivals[of] - counts.shed[of],
            shed=counts.shed[of] + counts.held_back[of],
            expired=counts.expired[of],
        )
        for of in BusinessClass
        if counts.arrivals[of] or counts.held_back[of]
    ]


def _timestamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(round(seconds * 1000))
    return stamp


def _microseconds(seconds: float) -> int:
    return round(max(seconds, 0.0) * 1_000_000)
