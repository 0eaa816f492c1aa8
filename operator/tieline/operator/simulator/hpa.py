"""The HorizontalPodAutoscaler, and KEDA, which is one with an external metric.

The rules are those of Kubernetes' controller: groups of pods, tolerance, the stabilisation windows,
the cap on each step; and the ways of its metrics, which are most of its delay. Each run begins at a
random phase of the sync period, since a load does not wait for it.
"""

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.operator.simulator.cluster_model import Pod
from tieline.operator.simulator.scalers import Floor, Observed

SYNC_S = 15
_SCRAPE_S = 15
_CPU_WINDOW_S = 15
_CPU_INITIALIZATION_S = 300
_READINESS_DELAY_S = 30
_RATE_WINDOW_S = 60
_FRESH_WINDOW_S = 5


@dataclass(frozen=True, slots=True)
class HpaSettings:
    """What can be tuned."""

    metric: str = "cpu"
    """`cpu`; `prometheus`, a rate over a minute, scraped; `fresh`, a rate of seconds."""

    target: float = 0.6
    """Of the request for `cpu`, of a replica's capacity for rates."""

    request_cores: float = 1.0
    """Less than the core that a replica uses lets its utilisation go above 1."""

    up_percent: int | None = None
    """Of `behavior.scaleUp`, for 15 seconds; None without `behavior`: double, or 4 pods."""

    down_window_s: int = 300
    tolerance: float = 0.1
    min_replicas: int = 2
    max_replicas: int = 200


class Hpa:
    """One HorizontalPodAutoscaler per service."""

    def __init__(
        self, settings: HpaSettings, chance: random.Random, floors: Sequence[Floor] = ()
    ) -> None:
        self._settings = settings
        self._floors = floors
        self._sync_phase = chance.randrange(SYNC_S)
        self._scrape_phase = chance.randrange(_SCRAPE_S)
        self._cpu: dict[str, deque[float]] = {}
        self._samples: dict[str, tuple[float, float]] = {}
        self._attempts: dict[str, deque[int]] = {}
        self._scraped: dict[str, float] = {}
        self._recommendations: dict[str, deque[tuple[float, int]]] = {}

    def scale(self, services: Sequence[Observed], now: float) -> dict[str, int]:
        """Collect each second, decide at each sync."""
        for one in services:
            self._collect(one, now)
        if (int(now) - self._sync_phase) % SYNC_S:
            return {}
        changes = {}
        for one in services:
            current = one.deployment.replicas
            wanted = self._desired(one, now)
            wanted = self._bound(one.service.name, current, wanted, now)
            if wanted != current:
                changes[one.service.name] = wanted
        return changes

    def _collect(self, one: Observed, now: float) -> None:
        name = one.service.name
        attempts = self._attempts.setdefault(name, deque(maxlen=_RATE_WINDOW_S))
        attempts.append(one.second.attempts)
        is_scrape = (int(now) - self._scrape_phase) % _SCRAPE_S == 0
        if is_scrape:
            self._scraped[name] = sum(attempts) / len(attempts)
        if self._settings.metric != "cpu":
            return
        for pod in one.deployment.alive():
            if pod.ready_time is None or pod.ready_time > now:
                continue
            used = self._cpu.setdefault(pod.name, deque(maxlen=_CPU_WINDOW_S))
            done = one.second.pods.get(pod.name)
            used.append(done.cpu_s if done else 0.0)
            if is_scrape:
                self._samples[pod.name] = (now, sum(used) / len(used))

    def _desired(self, one: Observed, now: float) -> int:
        if self._settings.metric == "cpu":
            return self._desired_by_cpu(one, now)
        name = one.service.name
        if self._settings.metric == "prometheus":
            total = self._scraped.get(name)
        else:
            recent = list(self._attempts[name])[-_FRESH_WINDOW_S:]
            total = sum(recent) / len(recent)
        current = one.deployment.replicas
        if total is None:
            return current
        target = self._settings.target * one.service.capacity_per_s
        if abs(1 - total / (target * max(1, current))) <= self._settings.tolerance:
            return current
        return _ceil(total / target)

    def _desired_by_cpu(self, one: Observed, now: float) -> int:
        current = one.deployment.replicas
        measured, missing, ignored = self._group(one.deployment.alive(), now)
        if not measured:
            return current
        target = self._settings.target * self._settings.request_cores
        ratio = sum(measured) / len(measured) / target
        if not missing and not (ratio > 1 and ignored):
            if abs(1 - ratio) <= self._settings.tolerance:
                return current
            return _ceil(ratio * len(measured))
        filled = list(measured)
        if missing:
            filled += [self._settings.request_cores if ratio < 1 else 0.0] * missing
        if ratio > 1:
            filled += [0.0] * ignored
        new_ratio = sum(filled) / len(filled) / target
        turned = (ratio > 1) != (new_ratio > 1)
        if abs(1 - new_ratio) <= self._settings.tolerance or turned:
            return current
        desired = _ceil(new_ratio * len(filled))
        wrong_way = (new_ratio > 1 and desired < current) or (new_ratio < 1 and desired > current)
        return current if wrong_way else desired

    def _group(self, pods: Sequence[Pod], now: float) -> tuple[list[float], int, int]:
        measured: list[float] = []
        missing = ignored = 0
        for pod in pods:
            sample = self._samples.get(pod.name)
            is_ready = pod.ready_time is not None and pod.ready_time <= now
            if not is_ready:
                # Pending pods, and those that were never ready.
                ignored += 1
            elif sample is None:
                missing += 1
            elif now - pod.create_time < _CPU_INITIALIZATION_S and sample[0] < (
                (pod.ready_time or now) + _CPU_WINDOW_S
            ):
                ignored += 1
            else:
                measured.append(sample[1])
        return measured, missing, ignored

    def _bound(self, name: str, current: int, wanted: int, now: float) -> int:
        settings = self._settings
        kept = self._recommendations.setdefault(name, deque())
        kept.append((now, wanted))
        while kept[0][0] <= now - settings.down_window_s:
            kept.popleft()
        stable = max(wanted, min(current, max(one for _, one in kept)))
        if settings.up_percent is None:
            limit = max(2 * current, 4)
        else:
            limit = max(_ceil(current * (1 + settings.up_percent / 100)), current + 4)
        bounded = min(stable, limit)
        floor = max(
            (one.replicas for one in self._floors if one.start - one.lead_s <= now < one.end),
            default=settings.min_replicas,
        )
        return min(max(bounded, min(floor, limit), settings.min_replicas), settings.max_replicas)


def _ceil(value: float) -> int:
    # Kubernetes counts in thousandths of a core; the last bits of a float are no pod.
    return math.ceil(value - 1e-9)
