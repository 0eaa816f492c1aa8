"""The metrics that alerts and dashboards of the chart ask for."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

import yaml

from rendered_chart import CHART

ALERTS = sorted((CHART / "alerts").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))

_TEXT = re.compile(r'"[^"]*"')
_SELECTORS = re.compile(r"\{[^}]*\}|\[[^]]*\]")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
# Prometheus and the PodMonitor add them.
_LABELS_OF_SCRAPING = {"app_kubernetes_io_component", "pod", "le"}
_NAME = re.compile(r"\b[a-z_][a-z0-9_]*\b(?!\s*\()")
_WORDS = {"and", "or", "unless", "bool", "by", "on"}


def metrics_of(expression: str) -> set[str]:
    """Return the names of the metrics of a PromQL expression."""
    plain = _GROUPING.sub(" ", _SELECTORS.sub(" ", _TEXT.sub("", expression)))
    return set(_NAME.findall(plain)) - _WORDS


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression with what asks it."""
    for path in ALERTS:
        yield path.stem, yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def wanted_metrics() -> set[str]:
    """Return every metric that anything asks for."""
    return set().union(*(metrics_of(expression) for _, expression in expressions()))


def shown_metrics() -> set[str]:
    """Return every metric that a panel shows."""
    queries = (text for where, text in expressions() if ":" in where)
    return set().union(*map(metrics_of, queries))


def labels_of(expression: str) -> set[str]:
    """Return the labels that an expression selects or groups by."""
    plain = _TEXT.sub("", expression)
    selected = re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", "".join(_SELECTORS.findall(plain)))
    grouped = re.findall(r"[a-z_]+", " ".join(_GROUPED.findall(plain)))
    return {*selected, *grouped}


def unknown_labels(pages: Sequence[str], *, prefix: str = "") -> dict[str, set[str]]:
    """Return which expressions ask for labels that their metrics don't have, and for which.

    Of expressions whose metrics all begin with the prefix and are on one of the pages.
    """
    known: dict[str, set[str]] = {}
    for line in "\n".join(pages).splitlines():
        if found := re.match(r"([a-z_][a-z0-9_]*)(?:\{(.*)\})? ", line):
            labels = re.findall(r'([a-z_]+)="', found[2] or "")
            known.setdefault(found[1], set()).update(labels)
    wrong = {}
    for where, expression in expressions():
        metrics = metrics_of(expression)
        if all(name.startswith(prefix) for name in metrics) and metrics <= known.keys():
            there = _LABELS_OF_SCRAPING.union(*(known[name] for name in metrics))
            if missing := labels_of(expression) - there:
                wrong[where] = missing
    return wrong


def instruments_of(samples: Iterable[str]) -> set[str]:
    """Return the metrics that samples are of: a histogram has a sample for each of its parts."""
    return {re.sub(r"_(bucket|count|sum)$", "", sample) for sample in samples}


def exposed_metrics(text: str) -> set[str]:
    """Return the names of the samples of a Prometheus page."""
    names = (re.match(r"[a-z_][a-z0-9_]*", line) for line in text.splitlines())
    return {found[0] for found in names if found}
