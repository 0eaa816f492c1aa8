"""The terminal's view of a surge: rows by class, columns by what became of the calls."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tieline.surge.mix import CLASS_NAMES
from tieline.surge.outcomes import (
    BY_ADMISSION,
    BY_CALLER,
    BY_CORE,
    BY_EDGE,
    BY_LIMIT,
    FAILED,
    LATE,
    OK,
    Second,
    sum_up,
)

# Long enough to read, short enough to see it change; calls need up to two seconds for their end.
_WINDOW_S = 3
_COLUMNS = (
    ("good", OK),
    ("edge", BY_EDGE),
    ("limit", BY_LIMIT),
    ("admission", BY_ADMISSION),
    ("core", BY_CORE),
    ("caller", BY_CALLER),
    ("late", LATE),
    ("failed", FAILED),
)


def view(
    seconds: Mapping[int, Second],
    *,
    elapsed_s: float,
    duration_s: int,
    replicas: Mapping[str, int] | None,
    span_s: int | None = None,
) -> RenderableType:
    """Return what the terminal shows: rates of the last three seconds that have answers.

    ``span_s`` is given when ``seconds`` has one entry for that many: the whole surge at its end.
    """
    newest = max(seconds, default=0)
    window = [seconds[s] for s in seconds if newest - _WINDOW_S < s <= newest]
    found = sum_up(window)
    length = span_s or max(len(window), 1)
    table = Table(title=f"second {max(0, int(elapsed_s))} of {duration_s}; calls a second")
    columns = [(name, outcome) for name, outcome in _COLUMNS if found.count(outcome=outcome)]
    for heading in ("class", "offered", *(name for name, _ in columns), "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for number, name in [*CLASS_NAMES.items(), (None, "all")]:
        outcomes = [outcome for _, outcome in columns]
        table.add_row(*_row(name, number, found, outcomes, length))
    lines: list[RenderableType] = [table]
    if replicas is not None:
        told = ", ".join(f"{name} {count}" for name, count in sorted(replicas.items()))
        lines.append(Text(f"replicas that take calls: {told or 'none has reported'}"))
    if found.is_generator_limited:
        late = f"the generator is the limit (h2load does more): {found.lag_s * 1000:.0f} ms late"
        lines.append(Text(late, style="bold red"))
    return Group(*lines)


def _row(
    name: str, number: int | None, found: Second, outcomes: Sequence[str], length: int
) -> list[str]:
    cells = [name, _rate(found.count(business_class=number), length)]
    cells += [
        _rate(found.count(outcome=outcome, business_class=number), length) for outcome in outcomes
    ]
    for part in (0.5, 0.99):
        latency_s = found.percentile_s(part, number)
        cells.append("" if latency_s is None else f"{latency_s * 1000:.1f}")
    return cells


def _rate(count: int, length: int) -> str:
    return f"{count / length:,.0f}" if count else ""
