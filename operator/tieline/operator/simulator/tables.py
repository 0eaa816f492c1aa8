"""A comparison as a table."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from tieline.operator.replica_report import CLASSES
from tieline.operator.simulator.comparison import Outcome

COLUMNS = (
    "autoscaler",
    "viol. s",
    "crit. s",
    "refused %",
    "by class %",
    "p99 ms",
    "pod s",
    "short s",
    "writes",
    "flips",
)
_LEFT_OUT = ("writes",)
"""Of the terminal's table, which has 80 columns."""


def cells(outcome: Outcome) -> tuple[str, ...]:
    """Return one contender's row: means over the seeds, and how far violations were from it."""
    middle = outcome.mean("violation_s")
    spread = max(abs(one - middle) for one in outcome.violations)
    by_class = (f"{outcome.shed_ratio_of(rank) * 100:.0f}" for rank in range(len(CLASSES)))
    return (
        outcome.contender.label,
        f"{middle:.0f} ±{spread:.0f}",
        f"{outcome.mean('critical_violation_s'):.0f}",
        f"{outcome.shed_ratio * 100:.1f}",
        "/".join(by_class),
        f"{outcome.mean('p99_s') * 1000:.0f}",
        f"{outcome.mean('pod_seconds'):,.0f}",
        f"{outcome.mean('time_to_capacity_s'):.0f}",
        f"{outcome.mean('writes'):.0f}",
        f"{outcome.mean('flips'):.0f}",
    )


def build_table(title: str, outcomes: Sequence[Outcome]) -> Table:
    """Build the terminal's table; ours is bold."""
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), title_justify="left")
    shown = [index for index, column in enumerate(COLUMNS) if column not in _LEFT_OUT]
    for index in shown:
        header = COLUMNS[index].replace(" ", "\n")
        table.add_column(header, justify="right" if index else "left", no_wrap=index == 0)
    for outcome in outcomes:
        row = cells(outcome)
        style = "bold" if outcome.contender.family == "surge" else ""
        table.add_row(*(row[index] for index in shown), style=style)
    return table
