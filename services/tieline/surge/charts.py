"""Charts over time as SVG, without anything from elsewhere. Pure."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 12, 34
_Y_TICKS = 5
_X_TICKS = 10


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one layer of a stack; None where there is no value."""

    name: str
    colour: str
    values: Sequence[float | None]


def line_chart(title: str, unit: str, series: Sequence[Series]) -> str:
    """Return lines over the seconds."""
    top = _nice_top(max((v for s in series for v in s.values if v is not None), default=1.0))
    length = max((len(s.values) for s in series), default=1)
    shapes = [
        f'<polyline fill="none" stroke="{one.colour}" stroke-width="2" points="{points}"/>'
        for one in series
        for points in _runs(one.values, length, top)
    ]
    return _chart(title, unit, series, shapes, length, top)


def stacked_chart(
    title: str, unit: str, layers: Sequence[Series], line: Series | None = None
) -> str:
    """Return layers that lie on each other, and a line over them."""
    length = max((len(layer.values) for layer in layers), default=1)
    totals = [sum(layer.values[i] or 0 for layer in layers) for i in range(length)]
    over = [] if line is None else [line]
    top = _nice_top(max([*totals, *(v or 0 for one in over for v in one.values)], default=1.0))
    below = [0.0] * length
    shapes = []
    for layer in layers:
        above = [low + (value or 0) for low, value in zip(below, layer.values, strict=True)]
        edge = [_point(i, v, length, top) for i, v in enumerate(above)]
        edge += [_point(i, below[i], length, top) for i in reversed(range(length))]
        shapes.append(f'<polygon fill="{layer.colour}" points="{" ".join(edge)}"/>')
        below = above
    shapes += [
        f'<polyline fill="none" stroke="{one.colour}" stroke-width="1.5" '
        f'stroke-dasharray="5 3" points="{points}"/>'
        for one in over
        for points in _runs(one.values, length, top)
    ]
    return _chart(title, unit, [*layers, *over], shapes, length, top)


def _chart(
    title: str,
    unit: str,
    series: Sequence[Series],
    shapes: Sequence[str],
    length: int,
    top: float,
) -> str:
    legend = "".join(
        f'<span><i style="background:{one.colour}"></i>{html.escape(one.name)}</span>'
        for one in series
    )
    return (
        f"<figure><figcaption>{html.escape(title)} <small>{html.escape(unit)}</small>"
        f"</figcaption><div class=legend>{legend}</div>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">'
        f"{_axes(length, top)}{''.join(shapes)}</svg></figure>"
    )


def _axes(length: int, top: float) -> str:
    parts = []
    for tick in range(_Y_TICKS + 1):
        value = top * tick / _Y_TICKS
        _, y = _place(0, value, length, top)
        parts.append(
            f'<line class=grid x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,.5g}</text>'
        )
    step = max(1, round(length / _X_TICKS))
    for second in range(0, length, step):
        x, _ = _place(second, 0, length, top)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{second} s</text>')
    return "".join(parts)


def _runs(values: Sequence[float | None], length: int, top: float) -> list[str]:
    """Return the points of each stretch that has values."""
    runs: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(_point(index, value, length, top))
    return [" ".join(run) for run in runs if run]


def _point(index: int, value: float, length: int, top: float) -> str:
    x, y = _place(index, value, length, top)
    return f"{x:.1f},{y:.1f}"


def _place(index: float, value: float, length: int, top: float) -> tuple[float, float]:
    x = _LEFT + index / max(length - 1, 1) * (_WIDTH - _LEFT - _RIGHT)
    y = _HEIGHT - _BOTTOM - min(value / top, 1) * (_HEIGHT - _TOP - _BOTTOM)
    return x, y


def _nice_top(value: float) -> float:
    """Return the next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if value <= step * power * (1 + 1e-9))
