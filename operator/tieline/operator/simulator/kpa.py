"""Knative's pod autoscaler: stable and panic windows over what the replicas average each second.

The common edge refuses what finds no room, as it does for every scaler here; the activator's long
queue is left out.
"""

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tieline.operator.simulator.scalers import Observed

_TICK_S = 2
_MAX_UP_RATE = 1000.0
_MAX_DOWN_RATE = 2.0
_PANIC_THRESHOLD = 2.0


@dataclass(frozen=True, slots=True)
class KpaSettings:
    """What can be tuned."""

    metric: str = "rps"
    """`rps` or `concurrency`."""

    target: float = 0.7
    """For `rps` of a replica's capacity; for `concurrency` the requests in a replica."""

    stable_window_s: int = 60
    panic_window_s: int = 6
    scale_down_delay_s: int = 0
    min_replicas: int = 2
    max_replicas: int = 200


@dataclass(slots=True)
class _Revision:
    buckets: deque[float]
    panic_time: float | None = None
    max_panic_pods: int = 0
    delayed: deque[tuple[float, int]] = field(default_factory=deque)


class Kpa:
    """One autoscaler per service."""

    def __init__(self, settings: KpaSettings, chance: random.Random) -> None:
        self._settings = settings
        self._chance = chance
        self._phase = chance.randrange(_TICK_S)
        self._revisions: dict[str, _Revision] = {}

    def scale(self, services: Sequence[Observed], now: float) -> dict[str, int]:
        """Scrape each second, decide every other."""
        changes = {}
        for one in services:
            revision = self._revisions.setdefault(
                one.service.name, _Revision(deque(maxlen=self._settings.stable_window_s))
            )
            value = self._scrape(one, now)
            if value is not None:
                revision.buckets.append(value)
            if (int(now) + self._phase) % _TICK_S == 0 and revision.buckets:
                wanted = self._decide(revision, one, now)
                if wanted != one.deployment.replicas:
                    changes[one.service.name] = wanted
        return changes

    def _scrape(self, one: Observed, now: float) -> float | None:
        ready = [pod.name for pod in one.deployment.ready(now)]
        if not ready:
            return None
        # A sample that holds the mean with 95 % confidence.
        count = len(ready)
        size = count if count <= 3 else math.ceil(count * 15.37 / (count + 14.37))
        total = 0.0
        for name in self._chance.sample(ready, min(size, count)):
            done = one.second.pods.get(name)
            if done is None:
                continue
            if self._settings.metric == "rps":
                total += sum(done.offered) + done.retries
            else:
                total += done.latency_s
        return total / min(size, count) * count

    def _decide(self, revision: _Revision, one: Observed, now: float) -> int:
        settings = self._settings
        unit = one.service.capacity_per_s if settings.metric == "rps" else 1.0
        target = settings.target * unit
        values = list(revision.buckets)
        panic_values = values[-settings.panic_window_s :]
        ready = max(1, len(one.deployment.ready(now)))
        up, down = math.ceil(_MAX_UP_RATE * ready), math.floor(ready / _MAX_DOWN_RATE)
        stable_raw = math.ceil(sum(values) / len(values) / target)
        panic_raw = math.ceil(sum(panic_values) / len(panic_values) / target)
        stable = min(max(stable_raw, down), up)
        panic = min(max(panic_raw, down), up)
        if panic_raw / ready >= _PANIC_THRESHOLD:
            revision.panic_time = now
        elif (
            revision.panic_time is not None and revision.panic_time + settings.stable_window_s < now
        ):
            revision.panic_time, revision.max_panic_pods = None, 0
        desired = stable
        if revision.panic_time is not None:
            revision.max_panic_pods = max(revision.max_panic_pods, stable, panic)
            desired = revision.max_panic_pods
        return min(
            max(self._delay(revision, desired, now), settings.min_replicas), settings.max_replicas
        )

    def _delay(self, revision: _Revision, desired: int, now: float) -> int:
        delay_s = self._settings.scale_down_delay_s
        if not delay_s:
            return desired
        revision.delayed.append((now, desired))
        while revision.delayed[0][0] <= now - delay_s:
            revision.delayed.popleft()
        return max(one for _, one in revision.delayed)
