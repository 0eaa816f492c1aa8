"""Seconds in which the goal is broken, against the best of HPA, KEDA and Knative's autoscaler.

Measures ``operator.violation_vs_best_peer.*``. Every peer runs over its own tuning grid; the best
is the one with the fewest violations, and of equal ones the cheapest. Our policy runs over its own
grid, and the best that costs no more pod-seconds, of equal ones the quickest, is measured against
that peer with ten other seeds. The figure is the ratio, with what 95 % of resampled seeds lie
between. Simulated, and so the machine's load changes nothing but the time that it takes.
BENCH_SIMULATION_SEEDS measures with fewer seeds, which the figure then says, and
BENCH_SIMULATION_PROCESSES takes fewer processes than there are cores.

The decision's constants were chosen on the shapes `step` and `spikes`; ramp, chain, window and the
traces show what they do elsewhere. Traces are read where BENCH_TRACES names their folder.
"""

import asyncio
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.harness import Benchmark, Figure, Target
from tieline.operator.replica_report import CRITICAL
from tieline.operator.simulator.comparison import (
    Outcome,
    best_within,
    compare,
    ratio_interval,
    tune,
)
from tieline.operator.simulator.contenders import peer_grid, surge_grid
from tieline.operator.simulator.load_shapes import ramp, read_trace, scale_trace, spikes, step
from tieline.operator.simulator.scenarios import Staged, announced, chain, one_service

_PREFIX = "operator.violation_vs_best_peer"
_BASE = 100.0
_CHAIN_BASE = 60.0
_TRACE_BASE = 60.0
_TUNING_SEEDS = tuple(range(101, 111))
_SEEDS = tuple(range(1, int(os.environ.get("BENCH_SIMULATION_SEEDS", "10")) + 1))
_PROCESSES = int(os.environ.get("BENCH_SIMULATION_PROCESSES", "0"))
_TRACE_S = 1200
_KEPT = 12


def _traces() -> list[Path]:
    folder = os.environ.get("BENCH_TRACES", "")
    return sorted(Path(folder).glob("*.csv")) if folder else []


def _of_trace(path: Path) -> Staged:
    rates = scale_trace(read_trace(path), _TRACE_BASE, _TRACE_S)
    return one_service(f"trace.{path.stem}", rates)


def measure(staged: Staged, name: str, target: Target) -> Figure:
    """Tune on some seeds, measure on others, print what was compared and return the ratio."""
    scenario = staged.scenario
    peers = tune(scenario, peer_grid(staged.floors), _TUNING_SEEDS, keep=_KEPT, workers=_PROCESSES)
    budget = peers[0].mean("pod_seconds")
    grid = surge_grid(staged.policies, staged.windows)
    tuned = tune(scenario, grid, _TUNING_SEEDS, keep=_KEPT, pod_seconds=budget, workers=_PROCESSES)
    best = best_within(tuned, budget)
    chosen = [peers[0].contender] + ([best.contender] if best else [])
    peer, *ours = compare(scenario, chosen, _SEEDS, _PROCESSES)
    _print_outcomes(f"{name}: the best on {len(_TUNING_SEEDS)} seeds", [*peers, *tuned])
    _print_outcomes(f"{name}: on {len(_SEEDS)} other seeds", [peer, *ours])
    return _to_figure(name, peer, ours[0] if ours else None, target)


def _to_figure(name: str, peer: Outcome, ours: Outcome | None, target: Target) -> Figure:
    # A peer that costs less than any of ours has won; its own figures then stand for ours.
    ours_violations = peer.violations if ours is None else ours.violations
    ratio, low, high = ratio_interval(ours_violations, peer.violations)
    value = sum(ours_violations) / len(ours_violations)
    # Where nobody breaks the goal there is nothing to be better at.
    is_even = ours is not None and value == 0
    # The budget was kept on the seeds that it was tuned on; these are others.
    is_cheaper = ours is not None and ours.mean("pod_seconds") <= peer.mean("pod_seconds")
    return Figure(
        name=name,
        value=value,
        unit="s",
        spread=(max(ours_violations) - min(ours_violations)) / value if value else 0.0,
        against=f"{peer.contender.label} ({low:.2f}–{high:.2f}, {len(_SEEDS)} seeds)",
        ratio=ratio,
        target=str(target),
        holds=is_cheaper and (is_even or target.holds(value=value, ratio=ratio)),
    )


def _print_outcomes(title: str, outcomes: Sequence[Outcome]) -> None:
    table = Table(title=title)
    for column in ("autoscaler", "violation s", "pod s", "refused", "of critical", "flips"):
        table.add_column(column, justify="left" if column == "autoscaler" else "right")
    for one in outcomes:
        table.add_row(
            one.contender.label,
            f"{one.mean('violation_s'):.1f}",
            f"{one.mean('pod_seconds'):,.0f}",
            f"{one.shed_ratio:.1%}",
            f"{one.shed_ratio_of(CRITICAL):.1%}",
            f"{one.mean('flips'):.0f}",
        )
    Console(width=160).print(table)


def _benchmark(shape: str, stage: Callable[[], Staged], target: Target) -> Benchmark:
    name = f"{_PREFIX}.{shape}"

    async def run() -> Sequence[Figure]:
        return [await asyncio.to_thread(measure, stage(), name, target)]

    return Benchmark((name,), run)


BENCHMARKS = (
    _benchmark("step", lambda: one_service("step", step(_BASE)), Target("ratio", "at most", 0.8)),
    _benchmark("ramp", lambda: one_service("ramp", ramp(_BASE)), Target("ratio", "at most", 0.3)),
    _benchmark(
        "spikes", lambda: one_service("spikes", spikes(_BASE)), Target("ratio", "at most", 0.7)
    ),
    _benchmark("chain", lambda: chain("chain", step(_CHAIN_BASE)), Target("ratio", "at most", 0.5)),
    *(
        _benchmark(
            f"trace.{path.stem}",
            functools.partial(_of_trace, path),
            Target("ratio", "at most", 0.8),
        )
        for path in _traces()
    ),
    _benchmark("window", lambda: announced(_BASE), Target("value", "at most", 0)),
)
