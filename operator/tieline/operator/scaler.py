"""One second of the operator: collect, decide, write, report.

    fleet (kopf's watches) ─┐
    report book (NATS) ─────┼→ decide → scale, if the lease is held → surge state, reporting
    foreign writes ─────────┘

Every operator decides, so that a standby is warm; only the holder of the lease writes. What could
not be written is decided and written anew in the next second.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tieline.chassis.histograms import DurationHistogram
from tieline.chassis.tasks import end_task
from tieline.operator.cluster import Cluster, ClusterError
from tieline.operator.decision_state import FleetState, ServiceDecision, ServiceInput
from tieline.operator.fleet import Fleet, PolicyView, Trouble
from tieline.operator.foreign_writes import ForeignWrites
from tieline.operator.load_reports import ReportBook
from tieline.operator.memory_keeper import MemoryKeeper
from tieline.operator.recording import Recorder
from tieline.operator.reporting import Reporter, Second
from tieline.operator.resources import Kind
from tieline.operator.scaling_decision import decide
from tieline.operator.sizing import is_written
from tieline.operator.vitals import Vitals
from tieline.operator.write_attempts import Write, WriteAttempts

TICK_S = 1.0

# Watches may miss what went away while they were broken; a list finds it.
RELIST_S = 60.0

# So many a standby has decided before it knows better than what was written last.
_WARM_TICKS = 5

PublishSurge = Callable[[ServiceDecision, str], Awaitable[None]]

logger = logging.getLogger(__name__)


class Scaler:
    """Ticks once a second; its clock is passed in."""

    def __init__(
        self,
        cluster: Cluster,
        fleet: Fleet,
        reports: ReportBook,
        *,
        may_write: Callable[[], bool],
        publish_surge: PublishSurge,
        room_pods: int | None = None,
        recorder: Recorder | None = None,
        memory: MemoryKeeper | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._fleet = fleet
        self._reports = reports
        self._may_write = may_write
        self._publish_surge = publish_surge
        self._room_pods = room_pods
        self._recorder = recorder
        self._memory = memory
        self._clock = clock
        self._state = FleetState()
        self._foreign = ForeignWrites()
        self._standby_ticks = 0
        self._is_holder = False
        self._scale_times: dict[str, float] = {}
        self.attempts = WriteAttempts()
        self.reporter = Reporter(cluster, fleet, self.attempts)
        self.vitals = Vitals()
        """What the probes tell."""

        self.last_tick_s = 0.0
        """How long it took to decide and scale."""

        self.decisions: Mapping[str, ServiceDecision] = {}
        """The newest one of each policy, for metrics."""

        self.troubles: Mapping[str, Trouble] = {}
        """Of each policy that can't be carried out."""

        self.latencies = DurationHistogram(
            "operator.decision.latency",
            "From the arrival of the newest report that was decided by to the acknowledged scale.",
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tick within the block."""
        tasks = [
            asyncio.create_task(self._tick_forever(), name="scaler"),
            asyncio.create_task(self._relist_forever(), name="relisting"),
        ]
        try:
            async with self.reporter.running():
                yield
        finally:
            await asyncio.gather(*map(end_task, tasks))

    async def tick(self) -> None:
        """Do what one second asks for."""
        begun, now = time.monotonic(), self._clock()
        self._reports.forget(now)
        self._note_foreign_writes(now)
        views = self._fleet.views(
            self._reports.reports_of, lambda target: self._foreign.conflict_of(target, now)
        )
        given = [view.given for view in views if view.given is not None]
        self._foreign.keep_only({each.policy.target for each in given})
        room = None
        # The bound is a setting's, which says why; what is left below it is worked out each second.
        if self._room_pods is not None:
            room = max(0, self._room_pods - sum(each.current_replicas for each in given))
        before = self._recall(given)
        self._state, decided = decide(before, given, now, room)
        self.decisions = {decision.name: decision for decision in decided}
        self.troubles = {view.meta.name: view.trouble for view in views if view.trouble is not None}
        if self._memory is not None:
            self._memory.note(self._state, {each.name: each for each in given})
        if self._may_write():
            await self._write(views, now)
            self._standby_ticks, self._is_holder = 0, True
        else:
            self._standby_ticks, self._is_holder = self._standby_ticks + 1, False
        self.vitals.note_tick()
        self.last_tick_s = time.monotonic() - begun
        if self._recorder is not None:
            self._recorder.note(before, given, now, room, decided)

    def _recall(self, given: Sequence[ServiceInput]) -> FleetState:
        if self._memory is None:
            return self._state
        state = self._memory.recall(self._state, {each.name: each for each in given})
        if state is not self._state and self._recorder is not None:
            # What is recalled is in no second: the recording goes on behind the new state.
            self._recorder.close()
        return state

    async def relist(self) -> None:
        """Take in what there is of every kind."""
        for kind in Kind:
            with self._fleet.listing(kind) as told:
                listed = await self._cluster.list_objects(kind)
                self._fleet.replace(kind, listed, told)
            self.vitals.note_listed(kind)

    def _note_foreign_writes(self, now: float) -> None:
        if not self._may_write():
            self._foreign.forget_attempts()
        for target, shown in self._fleet.take_shown_replicas().items():
            for replicas in shown:
                self._foreign.note_seen(target, replicas, now)
        if not self._is_holder:
            for target, told in self._fleet.told_conflicts().items():
                self._foreign.take_up(target, told, now)

    async def _write(self, views: Sequence[PolicyView], now: float) -> None:
        # Scales before everything else: they are what the second is for.
        scales = [
            self._scale(view, decision)
            for view in views
            if view.given is not None and (decision := self.decisions[view.meta.name]).is_write
        ]
        await asyncio.gather(*scales)
        for view in views:
            # Nobody is told to come back for replicas that are not asked for.
            if view.given is not None and is_written(view.given):
                await self._tell_services(self.decisions[view.meta.name], view.given.policy.service)
        problem = "" if self._memory is None else self._memory.problem
        second = Second(views, self.decisions, dict(self._scale_times), now, problem)
        # Who has just begun knows less than the statuses say.
        self.reporter.take(second, is_takeover=self._standby_ticks >= _WARM_TICKS)

    async def _tell_services(self, decision: ServiceDecision, service: str) -> None:
        if decision.in_surge or decision.capacity_delay_s:
            await self._publish_surge(decision, service)

    async def _scale(self, view: PolicyView, decision: ServiceDecision) -> None:
        assert view.given is not None, "what is decided was given"
        target = view.given.policy.target
        write = partial(self._cluster.set_replicas, target, decision.replicas)
        self._foreign.note_attempt(target, decision.replicas, self._clock())
        if not await self.attempts.succeeds(Write.SCALE, write):
            return
        self._fleet.note_scaled(target, decision.replicas)
        self._scale_times[view.meta.name] = now = self._clock()
        newest = max((each.time for each in view.given.reports), default=None)
        if newest is not None:
            self.latencies.bind({"policy": view.meta.name}).record(max(0.0, now - newest))
        logger.info(
            "%s: %d → %d replicas: %s",
            target,
            decision.current_replicas,
            decision.replicas,
            decision.reason,
        )

    async def _tick_forever(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                await self.tick()
            except Exception:
                # A fault in one second must not end all seconds; the probe tells of ticks that stay
                # away, and the policies are held meanwhile.
                logger.exception("a tick failed; the next one comes")
            await asyncio.sleep(max(0.0, TICK_S - (time.monotonic() - begun)))

    async def _relist_forever(self) -> None:
        while True:
            await asyncio.sleep(RELIST_S)
            try:
                await self.relist()
            except ClusterError as error:
                logger.warning("%s; what is known stays", error)
