"""What is left of a surge: a result as JSON, and a page with charts, which is whole. Pure."""

import html
from collections.abc import Mapping, Sequence

from tieline.surge.charts import Series, line_chart, stacked_chart
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
    OUTCOMES,
    UNSENT,
    Second,
    summarise,
)

_COLOURS = {
    OK: "#2f7d4f",
    BY_EDGE: "#e0a030",
    BY_LIMIT: "#b58bd6",
    BY_ADMISSION: "#d9703a",
    BY_CORE: "#c2453a",
    BY_CALLER: "#7aa7d9",
    LATE: "#a03030",
    FAILED: "#5c0f0f",
    UNSENT: "#9a9a9a",
}
_NAMES = {
    OK: "good",
    BY_EDGE: "refused by the edge",
    BY_LIMIT: "over a limit",
    BY_ADMISSION: "refused by a service",
    BY_CORE: "refused by a service's core",
    BY_CALLER: "held back by the caller",
    LATE: "no answer in 2 s",
    FAILED: "failed",
    UNSENT: "not sent: the generator is the limit",
}
_CLASS_COLOURS = {1: "#8b1a1a", 2: "#d2691e", 3: "#2a6fb0", 4: "#7f8c8d"}

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.5em;margin-bottom:.2em} figure{margin:2em 0} figcaption{font-weight:600}
small{color:#666;font-weight:400} svg{width:100%;height:auto} svg text{font-size:12px;fill:#555}
.grid{stroke:#ddd;stroke-width:1} .legend span{margin-right:1.2em;font-size:13px;white-space:nowrap}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px}
table{border-collapse:collapse;width:100%} th,td{padding:.3em .6em;text-align:right}
th:first-child,td:first-child{text-align:left} tr+tr td{border-top:1px solid #ddd}
.warning{background:#fff3d6;padding:.6em 1em;border-left:4px solid #e0a030}
"""


def build_result(
    options: Mapping[str, object],
    rates: Sequence[float],
    seconds: Mapping[int, Second],
    replicas: Mapping[int, Mapping[str, int]],
) -> dict[str, object]:
    """Return the result file's content."""
    return {
        "options": dict(options),
        "summary": summarise(seconds),
        "seconds": [
            {
                "second": second,
                "planned": round(rate, 2),
                "replicas": dict(replicas.get(second, {})),
                **_row(seconds.get(second, Second())),
            }
            for second, rate in enumerate(rates)
        ],
    }


def _row(found: Second) -> dict[str, object]:
    return {
        "offered": found.count(),
        "classes": {
            name: {
                outcome: found.count(outcome=outcome, business_class=number) for outcome in OUTCOMES
            }
            for number, name in CLASS_NAMES.items()
        },
        "p50_ms": _milliseconds(found.percentile_s(0.5)),
        "p99_ms": _milliseconds(found.percentile_s(0.99)),
        "generator_lag_ms": round(found.lag_s * 1000, 1),
    }


def build_page(
    options: Mapping[str, object],
    rates: Sequence[float],
    seconds: Mapping[int, Second],
    replicas: Mapping[int, Mapping[str, int]],
) -> str:
    """Return the report as one HTML page."""
    rows = [seconds.get(second, Second()) for second in range(len(rates))]
    told = "; ".join(f"{name} {value}" for name, value in options.items())
    charts = [_fate_chart(rows, rates), *_class_charts(rows), _latency_chart(rows)]
    if replicas:
        charts.append(_replica_chart(replicas, len(rates)))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Tieline: a surge</title>"
        f"<style>{_STYLE}</style><h1>A surge</h1><p><small>{html.escape(told)}</small></p>"
        f"{_warning(seconds)}{_table(seconds)}{''.join(charts)}</html>\n"
    )


def _fate_chart(rows: Sequence[Second], rates: Sequence[float]) -> str:
    layers = [
        Series(_NAMES[outcome], _COLOURS[outcome], [float(r.count(outcome=outcome)) for r in rows])
        for outcome in OUTCOMES
        if any(row.count(outcome=outcome) for row in rows)
    ]
    planned = Series("planned", "#000", list(rates))
    return stacked_chart("What became of the calls", "calls a second", layers, planned)


def _class_charts(rows: Sequence[Second]) -> list[str]:
    shares = []
    for number, name in CLASS_NAMES.items():
        values = [
            100 * row.count(outcome=OK, business_class=number) / due
            if (due := row.count(business_class=number))
            else None
            for row in rows
        ]
        shares.append(Series(name, _CLASS_COLOURS[number], values))
    return [line_chart("Success by class", "% of what was due", shares)]


def _latency_chart(rows: Sequence[Second]) -> str:
    series = [
        Series(name, colour, [_milliseconds(row.percentile_s(part)) for row in rows])
        for name, part, colour in (("p50", 0.5, "#2a6fb0"), ("p99", 0.99, "#8b1a1a"))
    ]
    lag = [round(row.lag_s * 1000, 2) for row in rows]
    series.append(Series("the generator's own delay", "#9a9a9a", lag))
    return line_chart("Latency of good calls", "ms from the moment they were due", series)


def _replica_chart(replicas: Mapping[int, Mapping[str, int]], length: int) -> str:
    names = sorted({name for found in replicas.values() for name in found})
    colours = ("#2a6fb0", "#2f7d4f", "#d2691e", "#8b1a1a", "#7d3c98", "#7f8c8d")
    series = [
        Series(
            name,
            colours[index % len(colours)],
            [replicas[s].get(name, 0) if s in replicas else None for s in range(length)],
        )
        for index, name in enumerate(names)
    ]
    return line_chart("Replicas that take calls", "of each service", series)


def _warning(seconds: Mapping[int, Second]) -> str:
    limited = sum(found.is_generator_limited for found in seconds.values())
    if not limited:
        return ""
    return (
        f"<p class=warning>In {limited} of {len(seconds)} seconds the generator was the limit: it "
        "was more than 50 ms late or could not send what was due. Give it more processes or a "
        "machine of its own, or use h2load (docs/surge.md).</p>"
    )


def _table(seconds: Mapping[int, Second]) -> str:
    classes = summarise(seconds)["classes"]
    assert isinstance(classes, dict), "made by summarise"
    outcomes = [o for o in OUTCOMES if any(found[o] for found in classes.values())]
    head = ["class", "offered", *(_NAMES[o] for o in outcomes), "success", "p50 ms", "p99 ms"]
    body = []
    for name, found in classes.items():
        success = found["success"]
        cells = [name, f"{found['offered']:,}", *(f"{found[o]:,}" for o in outcomes)]
        cells += ["" if success is None else f"{success:.2%}"]
        cells += ["" if found[n] is None else f"{found[n]:,.1f}" for n in ("p50_ms", "p99_ms")]
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    heading = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    return f"<table><tr>{heading}</tr>{''.join(body)}</table>"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
