"""What Prometheus is given to look at a platform on this machine. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

CONFIGURATION_FILE = "prometheus.yml"
RULES_FILE = "rules.yml"

# A person looks on: what happens is to be seen soon, and rates of a minute have their points.
INTERVAL = "5s"

# What the pods of a cluster have as the name of their role, and alerts and dashboards ask for.
ROLE_LABEL = "app_kubernetes_io_component"


def build_configuration(metrics: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration that scrapes these pages, each role's own, and reads the rules."""
    return {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [RULES_FILE],
        "scrape_configs": [_build_job(role, url) for role, url in metrics.items()],
    }


def build_rules(alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the file of rules with these alerts, in one group as the chart makes it."""
    return {"groups": [{"name": "tieline", "rules": list(alerts)}]}


def _build_job(role: str, url: str) -> dict[str, Any]:
    page = urlsplit(url)
    return {
        "job_name": role,
        "scheme": page.scheme,
        "metrics_path": page.path,
        "static_configs": [{"targets": [page.netloc], "labels": {ROLE_LABEL: role}}],
    }
