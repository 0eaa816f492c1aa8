"""A comparison as one HTML page that needs nothing else: tables, and plots as inline SVG."""

import html
from collections.abc import Iterable, Sequence

from tieline.operator.simulator.comparison import Outcome
from tieline.operator.simulator.requests import ServiceModel
from tieline.operator.simulator.simulation import Scenario, Series
from tieline.operator.simulator.tables import COLUMNS, cells

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 560, 190, 52, 26, 12
_POINTS = 280
"""A plot has no more columns of pixels that show."""

_STYLE = """
:root { --ink: #1d2733; --soft: #5d6b7a; --line: #d9dfe6; --paper: #ffffff; --offered: #8795a5;
  --capacity: #1668b8; --shed: #c8321f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e9f0; --soft: #9aa8b7; --line: #34404d;
  --paper: #151b22; --offered: #77879a; --capacity: #5aa9f2; --shed: #ff7a66; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p { color: var(--soft); max-width: 80ch; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } .ours td { font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 1.2rem; }
figure { margin: 0; } figcaption { font-weight: 600; } figcaption span { font-weight: 400;
  color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); }
.grid { stroke: var(--line); } .offered { stroke: var(--offered); fill: none; stroke-width: 1.2; }
.capacity { stroke: var(--capacity); fill: none; stroke-width: 1.8; }
.shed { fill: var(--shed); opacity: .55; } .dot { fill: var(--offered); }
.dot.ours { fill: var(--capacity); }
.key i { display: inline-block; width: 1.6em; height: .35em; margin: 0 .4em 0 1.2em;
  vertical-align: middle; }
"""


def build_page(title: str, about: str, scenario: Scenario, outcomes: Sequence[Outcome]) -> str:
    """Return the page; plots show the first seed of each contender."""
    service = scenario.services[-1] if len(scenario.services) > 1 else scenario.services[0]
    plots = "".join(_figure(one, service) for one in outcomes)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>
<h1>{html.escape(title)}</h1><p>{html.escape(about)}</p>
<h2>Measures</h2><div class="wide">{_table(outcomes)}</div>
<p>A violation second is one in which a service refused more than 1 % of first attempts, or its
99th percentile was over {service.slo_s * 1000:.0f} ms. Refused calls by class, from critical to
low, are parts of what the class offered; those that came again and were refused again count each
time. Short: the longest time in which more was offered than the replicas could do. Flips: writes
in the other direction than the one before. Means over {len(outcomes[0].results)} seeds; behind the
violations stands how far one seed was from their mean.</p>
<h2>Violations and cost</h2>{_scatter(outcomes)}
<h2>Load and capacity: {html.escape(service.name)}</h2>
<p class="key"><i style="background:var(--offered)"></i>offered, calls a second
<i style="background:var(--capacity)"></i>what the serving replicas do
<i style="background:var(--shed)"></i>refused</p><div class="plots">{plots}</div></body></html>
"""


def _table(outcomes: Sequence[Outcome]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    rows = "".join(
        f"<tr{_ours(one)}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells(one))}</tr>"
        for one in outcomes
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _ours(outcome: Outcome) -> str:
    return ' class="ours"' if outcome.contender.family == "surge" else ""


def _figure(outcome: Outcome, service: ServiceModel) -> str:
    series = outcome.results[0].series[service.name]
    first = outcome.results[0]
    caption = (
        f"{html.escape(outcome.contender.label)} <span>{first.violation_s} violation s, "
        f"{first.pod_seconds:,.0f} pod s</span>"
    )
    return f"<figure><figcaption>{caption}</figcaption>{_plot(series, service)}</figure>"


def _plot(series: Series, service: ServiceModel) -> str:
    offered = _thin(series.offered)
    capacity = _thin([one * service.capacity_per_s for one in series.serving])
    shed = _thin(series.shed)
    # Retries that are refused again must not make the rest of the picture flat.
    top = 1.15 * max(*offered, *capacity, 1.0)
    floor = _HEIGHT - _BOTTOM
    columns = max(len(offered) - 1, 1)

    def points(values: Iterable[float]) -> list[str]:
        return [
            f"{_LEFT + (_WIDTH - _LEFT) * index / columns:.1f},"
            f"{floor - (floor - _TOP) * min(value / top, 1.0):.1f}"
            for index, value in enumerate(values)
        ]

    area = f"{_LEFT},{floor} {' '.join(points(shed))} {_WIDTH},{floor}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"{_axes(top, len(series.offered), 'calls/s')}"
        f'<polygon class="shed" points="{area}"/>'
        f'<polyline class="offered" points="{" ".join(points(offered))}"/>'
        f'<polyline class="capacity" points="{" ".join(points(capacity))}"/></svg>'
    )


def _axes(top: float, seconds: float, unit: str) -> str:
    floor = _HEIGHT - _BOTTOM
    parts = []
    for part in (0.0, 0.5, 1.0):
        y = floor - (floor - _TOP) * part / 1.15
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = f"{top / 1.15 * part:,.0f}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = _LEFT + (_WIDTH - _LEFT) * part
        text = f"{seconds * part:,.0f} {unit if unit != 'calls/s' else 's'}"
        parts.append(f'<text x="{x:.0f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{text}</text>')
    return "".join(parts)


def _scatter(outcomes: Sequence[Outcome]) -> str:
    widest = 1.1 * max(one.mean("pod_seconds") for one in outcomes)
    top = 1.15 * max(max(one.mean("violation_s") for one in outcomes), 1.0)
    floor, dots = _HEIGHT - _BOTTOM, []
    for one in outcomes:
        x = _LEFT + (_WIDTH - _LEFT) * one.mean("pod_seconds") / widest
        y = floor - (floor - _TOP) * one.mean("violation_s") / top
        kind = "dot ours" if one.contender.family == "surge" else "dot"
        anchor, offset = ("end", -8) if x > _WIDTH * 0.7 else ("start", 8)
        dots.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
            f'<text x="{x + offset:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">'
            f"{html.escape(one.contender.label)}</text>"
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="max-width:760px" role="img">'
        f"{_axes(top, widest, 'pod s')}{''.join(dots)}</svg>"
        "<p>Violation seconds upwards, pod-seconds to the right: the lower left is better.</p>"
    )


def _thin(values: Sequence[float]) -> list[float]:
    if len(values) <= _POINTS:
        return [float(value) for value in values]
    size = len(values) / _POINTS
    # The largest of each part: a spike of a second must show.
    return [
        float(max(values[int(index * size) : max(int((index + 1) * size), int(index * size) + 1)]))
        for index in range(_POINTS)
    ]
