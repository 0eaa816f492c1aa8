"""One second of the operator: collect, decide, write, report.

    fleet (kopf's watches) ─┐
    report book (NATS) ─────┼→ decide → scale, if the lease is held → status, events, surge state
    foreign writes ─────────┘

Every operator decides, so that a standby is warm; only the holder of the lease writes. What could
not be written is decided and written anew in the next second.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from tieline.operator.cluster import Cluster, ClusterError
from tieline.operator.decision_state import FleetState, ServiceDecision
from tieline.operator.decision_words import Event
from tieline.operator.fleet import Fleet, PolicyView, Trouble
from tieline.operator.foreign_writes import ForeignWrites
from tieline.operator.load_reports import ReportBook
from tieline.operator.resources import Body, Kind, Meta
from tieline.operator.scaling_decision import decide
from tieline.operator.statuses import (
    WRITE_INTERVAL_S,
    build_override_status,
    build_policy_status,
    build_trouble_status,
    build_window_status,
    is_worth_writing,
)
from tieline.operator.windows import find_occurrence

TICK_S = 1.0

# Watches may miss what went away while they were broken; a list finds it.
RELIST_S = 60.0

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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._fleet = fleet
        self._reports = reports
        self._may_write = may_write
        self._publish_surge = publish_surge
        self._room_pods = room_pods
        self._clock = clock
        self._state = FleetState()
        self._foreign = ForeignWrites()
        self._scale_times: dict[str, float] = {}
        self._statuses: dict[tuple[Kind, str, str], tuple[Body, float]] = {}
        self._retry_times: dict[tuple[Kind, str, str], float] = {}
        self._troubles: dict[str, Trouble] = {}
        self.last_tick_time = time.monotonic()
        """By ``time.monotonic()``; its age is what the probe tells."""

        self.last_tick_s = 0.0
        """How long it took to decide and write."""

        self.decisions: Mapping[str, ServiceDecision] = {}
        """The newest one of each policy, for metrics."""

        self.failed_writes = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tick within the block."""
        tasks = [
            asyncio.create_task(self._tick_forever(), name="scaler"),
            asyncio.create_task(self._relist_forever(), name="relisting"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def tick(self) -> None:
        """Do what one second asks for."""
        begun, now = time.monotonic(), self._clock()
        self._reports.forget(now)
        views = self._fleet.views(
            self._reports.reports_of, lambda target: self._foreign.conflict_of(target, now)
        )
        given = [view.given for view in views if view.given is not None]
        for each in given:
            self._foreign.note_seen(each.policy.target, each.current_replicas, now)
        self._foreign.keep_only({each.policy.target for each in given})
        room = None
        if self._room_pods is not None:
            room = max(0, self._room_pods - sum(each.current_replicas for each in given))
        self._state, decided = decide(self._state, given, now, room)
        self.decisions = {decision.name: decision for decision in decided}
        if self._may_write():
            await self._write(views, now)
        self.last_tick_time = time.monotonic()
        self.last_tick_s = self.last_tick_time - begun

    async def relist(self) -> None:
        """Take in what there is of every kind."""
        for kind in Kind:
            self._fleet.replace(kind, await self._cluster.list_objects(kind))

    async def _write(self, views: Sequence[PolicyView], now: float) -> None:
        # Scales before everything else: they are what the second is for.
        scales = [
            self._scale(view, decision)
            for view in views
            if view.given is not None and (decision := self.decisions[view.meta.name]).is_write
        ]
        await asyncio.gather(*scales)
        await asyncio.gather(
            *(self._report(view, now) for view in views), *self._report_others(now)
        )

    async def _scale(self, view: PolicyView, decision: ServiceDecision) -> None:
        assert view.given is not None, "what is decided was given"
        target = view.given.policy.target
        if not await self._try(self._cluster.set_replicas(target, decision.replicas)):
            return
        self._foreign.note_write(target, decision.replicas)
        self._scale_times[view.meta.name] = self._clock()
        logger.info(
            "%s: %d → %d replicas: %s",
            target,
            decision.current_replicas,
            decision.replicas,
            decision.reason,
        )

    async def _report(self, view: PolicyView, now: float) -> None:
        name = view.meta.name
        if view.given is None:
            assert view.trouble is not None, "a policy is carried out or in trouble"
            events = self._tell_trouble(name, view.trouble)
            status = build_trouble_status(view, view.trouble, now)
        else:
            self._troubles.pop(name, None)
            decision = self.decisions[name]
            events = decision.events
            status = build_policy_status(view, decision, self._scale_times.get(name), now)
            if decision.in_surge or decision.capacity_delay_s:
                await self._publish_surge(decision, view.given.policy.service)
        for event in events:
            await self._try(self._cluster.post_event(Kind.POLICY, view.meta, event, now))
        await self._put_status(Kind.POLICY, view.meta, view.status, status, now)

    def _tell_trouble(self, name: str, trouble: Trouble) -> tuple[Event, ...]:
        if self._troubles.get(name) == trouble:
            return ()
        self._troubles[name] = trouble
        return (Event(trouble.reason, is_warning=True, message=trouble.message),)

    def _report_others(self, now: float) -> list[Awaitable[None]]:
        writes: list[Awaitable[None]] = []
        for read in self._fleet.windows():
            occurrence = None if read.window is None else find_occurrence(read.window, now)
            status = build_window_status(read, occurrence, now)
            writes.append(self._put_status(Kind.WINDOW, read.meta, read.status, status, now))
        for read in self._fleet.overrides():
            has_policy = read.override is not None and self._fleet.has_policy(read.override.policy)
            status = build_override_status(read, has_policy=has_policy, now=now)
            writes.append(self._put_status(Kind.OVERRIDE, read.meta, read.status, status, now))
        return writes

    async def _put_status(
        self, kind: Kind, meta: Meta, stored: Body, status: Mapping[str, object], now: float
    ) -> None:
        key = (kind, meta.name, meta.uid)
        if now < self._retry_times.get(key, float("-inf")):
            return
        # The watch shows a write only later; until then what was written is what there is.
        before, write_time = self._statuses.get(key, (stored, float("-inf")))
        if not is_worth_writing(before, status, write_time, now):
            return
        if await self._try(self._cluster.patch_status(kind, meta.name, status)):
            self._statuses[key] = (status, now)
            self._retry_times.pop(key, None)
        else:
            # What the API refuses now it refuses in a second as well.
            self._retry_times[key] = now + WRITE_INTERVAL_S

    async def _try(self, write: Awaitable[None]) -> bool:
        try:
            await write
        except ClusterError as error:
            self.failed_writes += 1
            logger.warning("%s", error)
            return False
        return True

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
