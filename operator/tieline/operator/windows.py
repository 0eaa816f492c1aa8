"""Known peaks: when a SurgeWindow is in force, and which replicas it asks for. Pure.

A window lasts from `start` to `end`, or for `durationSeconds` from each time that its `schedule`
fires. Its floor holds from `preScaleSeconds` before, so that the replicas are ready at the start.
"""

import datetime as dt
import functools
import math
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cronsim import CronSim, CronSimError

from tieline.operator.policy import MAX_REPLICAS
from tieline.operator.spec_fields import SpecFields

_MAX_DURATION_S = 14 * 24 * 3600
_MAX_PRE_SCALE_S = 24 * 3600
_MAX_POLICIES = 50


class WindowPhase(StrEnum):
    """Where a window is at a moment; the names of the status conditions."""

    UPCOMING = "Upcoming"
    ACTIVE = "Active"
    """From the beginning of the pre-scale lead to the end."""

    EXPIRED = "Expired"


@dataclass(frozen=True, slots=True)
class SurgeWindow:
    """The spec of a SurgeWindow, with its name."""

    name: str
    policies: tuple[str, ...]
    policy_labels: tuple[tuple[str, str], ...]
    """Policies with all of these labels are meant; empty if they are named."""

    start_time: float
    end_time: float
    schedule: str
    """Cron line of five fields; empty for a window with fixed times."""

    duration_s: int
    time_zone: str
    pre_scale_s: int
    min_replicas: int
    """0 for a window with a multiplier."""

    multiplier_percent: int
    """Of the replicas that were wanted when the pre-scale lead began; 0 for a fixed floor."""

    def is_for(self, policy: str, labels: Mapping[str, str]) -> bool:
        """Tell whether the window is meant for a policy."""
        if self.policy_labels:
            return all(labels.get(key) == value for key, value in self.policy_labels)
        return policy in self.policies


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time that a window is in force, or the next one."""

    phase: WindowPhase
    start_time: float
    end_time: float


def window_from_spec(name: str, spec: Mapping[str, object]) -> SurgeWindow:
    """Read a SurgeWindow's spec; raise InvalidSpecError with every bad field."""
    fields = SpecFields(spec)
    selector = fields.nested("policySelector")
    labels = selector.labels("matchLabels")
    policies = fields.texts("policies", _MAX_POLICIES, 253)
    if bool(labels) == bool(policies):
        fields.refuse("policies", "give either policies or policySelector.matchLabels")
    floor = fields.optional_integer("minReplicas", 1, MAX_REPLICAS)
    multiplier = fields.optional_integer("multiplierPercent", 101, 10_000)
    if (floor is None) == (multiplier is None):
        fields.refuse("minReplicas", "give either minReplicas or multiplierPercent")
    pre_scale_s = fields.integer("preScaleSeconds", 0, _MAX_PRE_SCALE_S, default=300)
    start, end, schedule, duration_s, time_zone = _read_times(fields)
    selector.check()
    fields.finish()
    return SurgeWindow(
        name=name,
        policies=policies,
        policy_labels=labels,
        start_time=start,
        end_time=end,
        schedule=schedule,
        duration_s=duration_s,
        time_zone=time_zone,
        pre_scale_s=pre_scale_s,
        min_replicas=floor or 0,
        multiplier_percent=multiplier or 0,
    )


def find_occurrence(window: SurgeWindow, now: float) -> Occurrence:
    """Return the occurrence that is in force, else the next one, else the last one."""
    start, end = window.start_time, window.end_time
    if window.schedule:
        # Firings are at whole minutes, so that all seconds of a minute share one search.
        begin = (now - window.duration_s) // 60 * 60
        start = _next_firing(window.schedule, window.time_zone, begin)
        end = start + window.duration_s
    if now >= end:
        return Occurrence(WindowPhase.EXPIRED, start, end)
    is_active = now >= start - window.pre_scale_s
    return Occurrence(WindowPhase.ACTIVE if is_active else WindowPhase.UPCOMING, start, end)


def window_floor(window: SurgeWindow, baseline_replicas: int) -> int:
    """Return the replicas that a window asks for while it is in force."""
    if window.min_replicas:
        return window.min_replicas
    return math.ceil(baseline_replicas * window.multiplier_percent / 100)


def _read_times(fields: SpecFields) -> tuple[float, float, str, int, str]:
    has_fixed = fields.has("start") or fields.has("end")
    if has_fixed == fields.has("schedule"):
        fields.refuse("schedule", "give either start and end, or schedule and durationSeconds")
    if not fields.has("schedule"):
        start, end = fields.moment("start"), fields.moment("end")
        if end <= start:
            fields.refuse("end", "must be after start")
        return start, end, "", 0, "UTC"
    schedule = fields.text("schedule", 100)
    duration_s = fields.integer("durationSeconds", 60, _MAX_DURATION_S)
    time_zone = fields.text("timeZone", 64, default="UTC")
    if has_fixed:
        fields.moment("start"), fields.moment("end")
    _check_schedule(fields, schedule, time_zone)
    return 0.0, 0.0, schedule, duration_s, time_zone


def _check_schedule(fields: SpecFields, schedule: str, time_zone: str) -> None:
    try:
        zoneinfo.ZoneInfo(time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        fields.refuse("timeZone", "must be a time zone such as Asia/Shanghai")
        return
    # The library also knows a sixth field, for seconds; a floor that lives for seconds is a slip.
    if len(schedule.split()) != 5:
        fields.refuse("schedule", "must be a cron line of five fields")
        return
    try:
        next(CronSim(schedule, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)))
    except StopIteration:
        fields.refuse("schedule", "never fires")
    except CronSimError as error:
        fields.refuse("schedule", f"must be a cron line of five fields that fires: {error}")


@functools.lru_cache(maxsize=1024)
def _next_firing(schedule: str, time_zone: str, after: float) -> float:
    begin = dt.datetime.fromtimestamp(after, tz=zoneinfo.ZoneInfo(time_zone))
    return next(CronSim(schedule, begin)).timestamp()
