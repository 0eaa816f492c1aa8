"""Runs benchmarks: ``python -m bench [PREFIX]``; BENCH_JSON names a file for the figures.

Chosen are the benchmarks that have a figure of the prefix. All their figures are told: what was
measured beside a figure is what it must be read with. A benchmark that fails loses its own figures
alone; its error is shown, the others run, and the exit status is 1.
"""

import asyncio
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Sequence

from rich.console import Console

from bench import (
    chassis_call,
    demo_import,
    directory_changes,
    directory_get_member,
    directory_import,
    directory_schools,
    directory_search,
    identity_sign_ins,
    limits,
    messaging_delivery,
    messaging_full_tables,
    messaging_reading,
    messaging_recovery,
    messaging_send,
    messaging_sensitive_words,
    messaging_subscribers,
    operator_ticks,
    operator_violations,
    overload,
    overload_cost,
    overload_edge,
    overload_neighbours,
    overload_sign_ins,
    platform_up,
)
from bench.harness import Benchmark, Figure, print_table, write_json

BENCHMARKS: tuple[Benchmark, ...] = (
    *limits.BENCHMARKS,
    *chassis_call.BENCHMARKS,
    *platform_up.BENCHMARKS,
    *demo_import.BENCHMARKS,
    *directory_get_member.BENCHMARKS,
    *directory_search.BENCHMARKS,
    *directory_changes.BENCHMARKS,
    *messaging_send.BENCHMARKS,
    *messaging_delivery.BENCHMARKS,
    *messaging_full_tables.BENCHMARKS,
    *messaging_subscribers.BENCHMARKS,
    *messaging_reading.BENCHMARKS,
    *messaging_recovery.BENCHMARKS,
    *messaging_sensitive_words.BENCHMARKS,
    *overload.BENCHMARKS,
    *overload_cost.BENCHMARKS,
    *overload_neighbours.BENCHMARKS,
    *overload_sign_ins.BENCHMARKS,
    *directory_import.BENCHMARKS,
    *directory_schools.BENCHMARKS,
    *identity_sign_ins.BENCHMARKS,
    *overload_edge.BENCHMARKS,
    *operator_ticks.BENCHMARKS,
    *operator_violations.BENCHMARKS,
)


async def run(chosen: Sequence[Benchmark], console: Console) -> tuple[list[Figure], list[str]]:
    """Run the benchmarks; return the figures, and the names of those that failed."""
    figures: list[Figure] = []
    failed: list[str] = []
    for number, benchmark in enumerate(chosen, start=1):
        names = ", ".join(benchmark.names)
        console.print(f"[{number}/{len(chosen)}] {names} …", markup=False)
        begin = time.monotonic()
        try:
            # A task of its own: a task group's failure leaves its task counted as cancelled.
            figures += await asyncio.ensure_future(benchmark.run())
        except Exception:
            # Ctrl-C ends the servers too: what is under way then fails instead of being cancelled.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            failed += benchmark.names
            console.print(f"      failed: {names}", markup=False)
            console.print(traceback.format_exc(), markup=False, highlight=False)
        console.print(f"      {time.monotonic() - begin:.0f} s")
    return figures, failed


def main() -> int:
    """Run, print and write; the exit status tells only whether the benchmarks ran."""
    prefix = sys.argv[1] if len(sys.argv) > 1 else ""
    console = Console(width=None if sys.stdout.isatty() else 180)
    chosen = [
        benchmark
        for benchmark in BENCHMARKS
        if any(name.startswith(prefix) for name in benchmark.names)
    ]
    if not chosen:
        known = ", ".join(name for benchmark in BENCHMARKS for name in benchmark.names)
        console.print(f"bench: no figure begins with {prefix!r}; there are {known}")
        return 1
    figures, failed = asyncio.run(run(chosen, console))
    print_table(figures, console)
    target = os.environ.get("BENCH_JSON")
    if target:
        with contextlib.closing(open(target, "a", encoding="utf-8")) as file:
            write_json(figures, file)
    if failed:
        console.print(f"bench: failed: {', '.join(failed)}", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
