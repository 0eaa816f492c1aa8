"""The metrics that alerts and dashboards of the chart ask for."""

import json
import re
from collections.abc import Iterator

import yaml

from rendered_chart import CHART

ALERTS = sorted((CHART / "alerts").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))

_TEXT = re.compile(r'"[^"]*"')
_SELECTORS = re.compile(r"\{[^}]*\}|\[[^]]*\]")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)")
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


def exposed_metrics(text: str) -> set[str]:
    """Return the names of the samples of a Prometheus page."""
    names = (re.match(r"[a-z_][a-z0-9_]*", line) for line in text.splitlines())
    return {found[0] for found in names if found}
