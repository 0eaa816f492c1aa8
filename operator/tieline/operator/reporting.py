"""What people see of the operator: statuses of the custom resources, and events.

Beside the ticks, not within them: an API that answers slowly must not make the next second's
decision late. Only the newest second is reported; events of the seconds between are kept.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tieline.chassis.tasks import end_task
from tieline.operator.cluster import Cluster
from tieline.operator.decision_state import ServiceDecision
from tieline.operator.decision_words import Event
from tieline.operator.fleet import Fleet, PolicyView, Trouble
from tieline.operator.resources import Body, Kind, Meta
from tieline.operator.statuses import (
    WRITE_INTERVAL_S,
    build_override_status,
    build_policy_status,
    build_trouble_status,
    build_window_status,
    is_worth_writing,
)
from tieline.operator.windows import find_occurrence
from tieline.operator.write_attempts import Write, WriteAttempts

# So many that a fleet's statuses are written within a second, so few that scales get through.
_AT_ONCE = 8

# What an API that is away for long need not be told any more.
_MAX_EVENTS = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Second:
    """What there is to tell of one second."""

    views: Sequence[PolicyView]
    decisions: Mapping[str, ServiceDecision]
    scale_times: Mapping[str, float]
    """When each policy's Deployment was last scaled."""

    now: float


class Reporter:
    """Writes statuses and posts events."""

    def __init__(self, cluster: Cluster, fleet: Fleet, attempts: WriteAttempts) -> None:
        self._cluster = cluster
        self._fleet = fleet
        self._attempts = attempts
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._statuses: dict[tuple[Kind, str, str], tuple[Body, float]] = {}
        self._retry_times: dict[tuple[Kind, str, str], float] = {}
        self._troubles: dict[str, Trouble] = {}
        self._events: deque[tuple[Meta, Event, float]] = deque(maxlen=_MAX_EVENTS)
        self._second: Second | None = None
        self._is_new = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Report within the block what is taken in."""
        task = asyncio.create_task(self._report_forever(), name="reporting")
        try:
            yield
        finally:
            await end_task(task)

    def take(self, second: Second) -> None:
        """Take the newest second in; it is reported when the one before has been."""
        for view in second.views:
            for event in self._events_of(view, second):
                self._events.append((view.meta, event, second.now))
        self._second = second
        self._is_new.set()

    async def _report_forever(self) -> None:
        while True:
            await self._is_new.wait()
            self._is_new.clear()
            assert self._second is not None, "it is set before the flag is"
            try:
                await self._report(self._second)
            except Exception:
                logger.exception("a second was not reported; the next one will be")

    async def _report(self, second: Second) -> None:
        events, self._events = list(self._events), deque(maxlen=_MAX_EVENTS)
        await asyncio.gather(
            *(self._post(*event) for event in events),
            *(self._put_policy(view, second) for view in second.views),
            *self._put_others(second),
        )

    def _events_of(self, view: PolicyView, second: Second) -> Sequence[Event]:
        name = view.meta.name
        if view.given is not None:
            self._troubles.pop(name, None)
            return second.decisions[name].events
        assert view.trouble is not None, "a policy is carried out or in trouble"
        if self._troubles.get(name) == view.trouble:
            return ()
        self._troubles[name] = view.trouble
        return (Event(view.trouble.reason, is_warning=True, message=view.trouble.message),)

    def _put_policy(self, view: PolicyView, second: Second) -> Awaitable[None]:
        if view.given is not None:
            decision = second.decisions[view.meta.name]
            scale_time = second.scale_times.get(view.meta.name)
            status = build_policy_status(view, decision, scale_time, second.now)
        else:
            assert view.trouble is not None, "a policy is carried out or in trouble"
            status = build_trouble_status(view, view.trouble, second.now)
        return self._put(Kind.POLICY, view.meta, view.status, status, second.now)

    def _put_others(self, second: Second) -> list[Awaitable[None]]:
        writes: list[Awaitable[None]] = []
        now = second.now
        for read in self._fleet.windows():
            occurrence = trouble = None
            if read.window is not None:
                occurrence = find_occurrence(read.window, now)
                trouble = self._fleet.find_window_trouble(read.window) or _find_unmultiplied(
                    read.meta.name, second.decisions
                )
            status = build_window_status(read, occurrence, trouble, now)
            writes.append(self._put(Kind.WINDOW, read.meta, read.status, status, now))
        for read in self._fleet.overrides():
            has_policy = read.override is not None and self._fleet.has_policy(read.override.policy)
            status = build_override_status(read, has_policy=has_policy, now=now)
            writes.append(self._put(Kind.OVERRIDE, read.meta, read.status, status, now))
        return writes

    async def _put(
        self, kind: Kind, meta: Meta, stored: Body, status: Mapping[str, object], now: float
    ) -> None:
        key = (kind, meta.name, meta.uid)
        if now < self._retry_times.get(key, float("-inf")):
            return
        # The watch shows a write only later; until then what was written is what there is.
        before, write_time = self._statuses.get(key, (stored, float("-inf")))
        if not is_worth_writing(before, status, write_time, now):
            return
        write = self._cluster.patch_status(kind, meta.name, status)
        if await self._write(Write.STATUS, write):
            self._statuses[key] = (status, now)
            self._retry_times.pop(key, None)
        else:
            # What the API refuses now it refuses in a second as well.
            self._retry_times[key] = now + WRITE_INTERVAL_S

    async def _post(self, about: Meta, event: Event, now: float) -> None:
        await self._write(Write.EVENT, self._cluster.post_event(Kind.POLICY, about, event, now))

    async def _write(self, kind: Write, write: Awaitable[None]) -> bool:
        async with self._at_once:
            return await self._attempts.succeeds(kind, write)


def _find_unmultiplied(window: str, decisions: Mapping[str, ServiceDecision]) -> Trouble | None:
    names = [name for name, one in decisions.items() if window in one.windows_without_baseline]
    if not names:
        return None
    text = (
        f"what {', '.join(names)} wanted when the lead began is not known, and nothing is "
        "multiplied there: ask for minReplicas instead"
    )
    return Trouble("NoBaseline", text)
