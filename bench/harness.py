"""Figures of benchmarks: how they are summed up, shown and written."""

import json
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TextIO

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must reach: its value, or its ratio to what it is measured against."""

    of: Literal["value", "ratio"]
    bound: Literal["at least", "at most"]
    limit: float

    def holds(self, *, value: float, ratio: float | None) -> bool:
        """Tell whether a figure reaches the target."""
        number = value if self.of == "value" else ratio
        assert number is not None, "a target of the ratio needs something to measure against"
        return number >= self.limit if self.bound == "at least" else number <= self.limit

    def __str__(self) -> str:
        return f"{self.of} {self.bound} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the results."""

    name: str
    value: float
    """Median over the runs."""

    unit: str
    spread: float
    """Largest less smallest value over the runs, as a part of the median."""

    against: str
    """Name of the figure that the value is divided by; empty if there is none."""

    ratio: float | None
    """Median over the runs of the value divided by that run's value of ``against``."""

    target: str
    holds: bool | None
    """None for figures without a target."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Produces one or more figures; ``names`` tells which, before it runs."""

    names: tuple[str, ...]
    run: Callable[[], Awaitable[Sequence[Figure]]]


def summarise(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    against: str = "",
    against_values: Sequence[float] = (),
    target: Target | None = None,
) -> Figure:
    """Sum the runs up; ``against_values[i]`` was measured beside ``values[i]``."""
    value = statistics.median(values)
    ratio = None
    # A peer that gets nothing done is no measure.
    if against_values and all(against_values):
        ratio = statistics.median(
            one / other for one, other in zip(values, against_values, strict=True)
        )
    return Figure(
        name=name,
        value=value,
        unit=unit,
        spread=(max(values) - min(values)) / value if value else 0.0,
        against=against,
        ratio=ratio,
        target=str(target) if target else "",
        holds=target.holds(value=value, ratio=ratio) if target else None,
    )


def beside(
    name: str,
    ours: Sequence[float],
    peer_name: str,
    peers: Sequence[float],
    unit: str,
    target: Target,
) -> list[Figure]:
    """Return the peer's figure, and ours beside it; nothing where it was not measured."""
    if not peers:
        return []
    return [
        summarise(peer_name, peers, unit),
        summarise(name, ours, unit, against=peer_name, against_values=peers, target=target),
    ]


def write_json(figures: Sequence[Figure], file: TextIO) -> None:
    """Write one JSON object a line."""
    for figure in figures:
        file.write(json.dumps(asdict(figure)) + "\n")
    file.flush()


def print_table(figures: Sequence[Figure], console: Console) -> None:
    """Print all figures for people."""
    table = Table(title="Benchmarks (medians; spread is max less min over the median)")
    for column in ("figure", "median", "unit", "spread", "compared with", "ratio", "target", ""):
        is_number = column in ("median", "spread", "ratio")
        table.add_column(column, justify="right" if is_number else "left", no_wrap=True)
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.value:,.4g}" if figure.value < 1000 else f"{figure.value:,.0f}",
            figure.unit,
            f"{figure.spread:.0%}",
            figure.against,
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.target,
            {None: "", True: "[green]holds[/]", False: "[red]misses[/]"}[figure.holds],
        )
    console.print(table)
