"""Runs contenders over seeds and sums them up."""

import math
import os
import random
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tieline.operator.simulator.contenders import Contender
from tieline.operator.simulator.simulation import Result, Scenario, simulate

_RESAMPLES = 2000
_PARALLEL_FROM = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """One contender's results, by seed."""

    contender: Contender
    results: tuple[Result, ...]

    def mean(self, name: str) -> float:
        """Return the mean of a measure over the seeds."""
        return statistics.fmean(float(getattr(one, name)) for one in self.results)

    @property
    def violations(self) -> list[float]:
        """Return the violation seconds, by seed."""
        return [float(one.violation_s) for one in self.results]

    @property
    def shed_ratio(self) -> float:
        """Return what was refused, as a part of first attempts."""
        offered = sum(sum(one.offered) for one in self.results)
        return sum(sum(one.shed) for one in self.results) / max(1, offered)

    def shed_ratio_of(self, rank: int) -> float:
        """Return what was refused of one class."""
        offered = sum(one.offered[rank] for one in self.results)
        return sum(one.shed[rank] for one in self.results) / max(1, offered)


def compare(
    scenario: Scenario, contenders: Sequence[Contender], seeds: Sequence[int], workers: int = 0
) -> list[Outcome]:
    """Run every contender with every seed."""
    jobs = [(scenario, contender, seed) for contender in contenders for seed in seeds]
    workers = workers or os.cpu_count() or 1
    if len(jobs) < _PARALLEL_FROM or workers == 1:
        results = [_run(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers) as pool:
            results = list(pool.map(_run, jobs, chunksize=1))
    count = len(seeds)
    return [
        Outcome(contender, tuple(results[index * count : (index + 1) * count]))
        for index, contender in enumerate(contenders)
    ]


def tune(
    scenario: Scenario,
    grid: Sequence[Contender],
    seeds: Sequence[int],
    *,
    keep: int,
    pod_seconds: float = math.inf,
    workers: int = 0,
) -> list[Outcome]:
    """Return the contenders with the fewest violations that cost no more, the best first.

    Of equal ones the cheapest is the best; within a bound on the cost, the one whose calls take the
    least: what has room to spare breaks no goal by chance. All run with the first seed, and the
    best ``keep`` of them with the others.
    """
    quality = _cost_quality if math.isinf(pod_seconds) else _latency_quality
    first = compare(scenario, grid, seeds[:1], workers)
    affordable = [one for one in first if one.mean("pod_seconds") <= pod_seconds]
    best = sorted(affordable, key=quality)[:keep]
    others = compare(scenario, [one.contender for one in best], seeds[1:], workers)
    both = [
        Outcome(one.contender, one.results + other.results)
        for one, other in zip(best, others, strict=True)
    ]
    return sorted(both, key=quality)


def best_within(outcomes: Sequence[Outcome], pod_seconds: float) -> Outcome | None:
    """Return the outcome with the fewest violations that costs no more."""
    affordable = [one for one in outcomes if one.mean("pod_seconds") <= pod_seconds]
    return min(affordable, key=_latency_quality, default=None)


def ratio_interval(
    ours: Sequence[float], theirs: Sequence[float], seed: int = 1
) -> tuple[float, float, float]:
    """Return the ratio of the means, and what 95 % of resampled seeds lie between."""
    chance = random.Random(seed)
    count = len(ours)
    ratios = []
    for _ in range(_RESAMPLES):
        chosen = [chance.randrange(count) for _ in range(count)]
        ratios.append(_ratio([ours[one] for one in chosen], [theirs[one] for one in chosen]))
    ratios.sort()
    low, high = ratios[_RESAMPLES * 25 // 1000], ratios[_RESAMPLES * 975 // 1000]
    return _ratio(ours, theirs), low, high


def _cost_quality(outcome: Outcome) -> tuple[float, float]:
    return outcome.mean("violation_s"), outcome.mean("pod_seconds")


def _latency_quality(outcome: Outcome) -> tuple[float, float]:
    return outcome.mean("violation_s"), outcome.mean("p99_s")


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    above, below = sum(ours), sum(theirs)
    if below == 0:
        return 1.0 if above == 0 else float(above)
    return above / below


def _run(job: tuple[Scenario, Contender, int]) -> Result:
    scenario, contender, seed = job
    return simulate(scenario, contender.build, seed)
