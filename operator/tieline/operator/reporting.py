"""What people see of the operator: statuses of the custom resources, and events.

Beside the ticks, not within them: an API that answers slowly must not make the next second's
decision late. Only the newest second is reported; events of the seconds between are kept.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from tieline.chassis.tasks import end_task
from tieline.operator.cluster import Cluster
from tieline.operator.decision_state import ServiceDecision
from tieline.operator.decision_words import Event, build_events
from tieline.operator.event_limit import EventLimit
from tieline.operator.fleet import Fleet, PolicyView, Trouble
from tieline.operator.read_objects import Read
from tieline.operator.resources import Body, Kind, Meta, list_in
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

_Key = tuple[Kind, str, str]
"""Kind, name and uid: an object that was made anew has been told nothing."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Second:
    """What there is to tell of one second."""

    views: Sequence[PolicyView]
    decisions: Mapping[str, ServiceDecision]
    scale_times: Mapping[str, float]
    """When each policy's Deployment was last scaled."""

    now: float
    memory_problem: str = ""
    """Why what was learned is kept nowhere; empty where it is."""


class Reporter:
    """Writes statuses and posts events."""

    def __init__(self, cluster: Cluster, fleet: Fleet, attempts: WriteAttempts) -> None:
        self._cluster = cluster
        self._fleet = fleet
        self._attempts = attempts
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._statuses: dict[_Key, tuple[Body, float]] = {}
        self._fail_times: dict[_Key, float] = {}
        self._told: dict[_Key, Event] = {}
        self._memory_problem = ""
        self._limit = EventLimit()
        self._events: deque[tuple[Kind, Meta, Event, float]] = deque(maxlen=_MAX_EVENTS)
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

    def take(self, second: Second, *, is_takeover: bool = False) -> None:
        """Take the newest second in; it is reported when the one before has been.

        After a takeover all is told that the statuses do not tell yet: what happened since the
        holder's end was seen here, and told by nobody.
        """
        if is_takeover:
            self._told.clear()
            self._memory_problem = ""
        self._forget_gone(second)
        for view in second.views:
            for event in self._events_of(view, second, is_takeover=is_takeover):
                self._tell(Kind.POLICY, view.meta, event, second.now)
        for kind, reads in (
            (Kind.WINDOW, self._fleet.windows()),
            (Kind.OVERRIDE, self._fleet.overrides()),
        ):
            for read in reads:
                for event in self._problem_of(kind, read):
                    self._tell(kind, read.meta, event, second.now)
        self._tell_of_memory(second)
        self._second = second
        self._is_new.set()

    def _tell_of_memory(self, second: Second) -> None:
        problem, before = second.memory_problem, self._memory_problem
        self._memory_problem = problem
        if problem and problem != before:
            event = Event("MemoryNotKept", is_warning=True, message=problem)
            for view in second.views:
                self._tell(Kind.POLICY, view.meta, event, second.now)

    def _forget_gone(self, second: Second) -> None:
        there = {_key(Kind.POLICY, view.meta) for view in second.views}
        there |= {_key(Kind.WINDOW, read.meta) for read in self._fleet.windows()}
        there |= {_key(Kind.OVERRIDE, read.meta) for read in self._fleet.overrides()}
        for known in (self._statuses, self._fail_times, self._told):
            for key in known.keys() - there:
                known.pop(key)

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
            *(
                self._write(Write.EVENT, partial(self._cluster.post_event, *event))
                for event in events
            ),
            *(self._put_policy(view, second) for view in second.views),
            *self._put_others(second),
        )

    def _events_of(self, view: PolicyView, second: Second, *, is_takeover: bool) -> Sequence[Event]:
        if view.given is None:
            assert view.trouble is not None, "a policy is carried out or in trouble"
            trouble = Event(view.trouble.reason, is_warning=True, message=view.trouble.message)
            return self._once(Kind.POLICY, view.meta, view.status, trouble)
        self._told.pop(_key(Kind.POLICY, view.meta), None)
        decision = second.decisions[view.meta.name]
        return _untold(view, decision) if is_takeover else decision.events

    def _problem_of(self, kind: Kind, read: Read) -> Sequence[Event]:
        reason, message = "InvalidSpec", read.problem
        policy = "" if read.override is None else read.override.policy
        if policy and not self._fleet.has_policy(policy):
            reason, message = "PolicyNotFound", f"there is no SurgePolicy {policy}"
        trouble = None if read.window is None else self._fleet.find_window_trouble(read.window)
        if trouble is not None:
            reason, message = trouble.reason, trouble.message
        if not message:
            self._told.pop(_key(kind, read.meta), None)
            return ()
        event = Event(reason, is_warning=True, message=message)
        return self._once(kind, read.meta, read.status, event)

    def _once(self, kind: Kind, meta: Meta, status: Body, event: Event) -> Sequence[Event]:
        """Return the event unless it was the last one, of this operator or of the one before."""
        key = _key(kind, meta)
        before, self._told[key] = self._told.get(key), event
        if before is None and _ready_reason(status) == event.reason:
            return ()
        return () if before == event else (event,)

    def _tell(self, kind: Kind, about: Meta, event: Event, now: float) -> None:
        if self._limit.allows(kind, about, event.reason, now):
            self._events.append((kind, about, event, now))

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
        key = _key(kind, meta)
        # What the API refuses now it refuses in a second as well.
        if 0 <= now - self._fail_times.get(key, float("-inf")) < WRITE_INTERVAL_S:
            return
        # The watch shows a write only later; until then what was written is what there is.
        before, write_time = self._statuses.get(key, (stored, float("-inf")))
        if not is_worth_writing(before, status, write_time, now):
            return
        write = partial(self._cluster.patch_status, kind, meta.name, status)
        if await self._write(Write.STATUS, write):
            self._statuses[key] = (status, now)
            self._fail_times.pop(key, None)
        else:
            self._fail_times[key] = now

    async def _write(self, kind: Write, write: Callable[[], Awaitable[None]]) -> bool:
        async with self._at_once:
            return await self._attempts.succeeds(kind, write)


def _key(kind: Kind, meta: Meta) -> _Key:
    return kind, meta.name, meta.uid


def _find_unmultiplied(window: str, decisions: Mapping[str, ServiceDecision]) -> Trouble | None:
    names = [name for name, one in decisions.items() if window in one.windows_without_baseline]
    if not names:
        return None
    text = (
        f"what {', '.join(names)} wanted when the lead began is not known, and nothing is "
        "multiplied there: ask for minReplicas instead"
    )
    return Trouble("NoBaseline", text)


def _untold(view: PolicyView, decision: ServiceDecision) -> Sequence[Event]:
    """Return the events of what is otherwise than the status says."""
    stored = [
        (str(each.get("type")), str(each.get("status")))
        for each in list_in(view.status, "conditions")
    ]
    return build_events(decision.conditions, stored)


def _ready_reason(status: Body) -> object:
    conditions = list_in(status, "conditions")
    return next((each.get("reason") for each in conditions if each.get("type") == "Ready"), None)
