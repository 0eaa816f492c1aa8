"""Writes the chart's Grafana dashboards: ``python -m docs.generate_dashboards [CHART]``.

A dashboard is a list of panels, a panel a title, a unit and its queries; the rest follows.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 2
_SERVICE = 'app_kubernetes_io_component=~"$service"'
_FAILED = 'rpc_response_status_code=~"INTERNAL|UNKNOWN|DATA_LOSS|UNAVAILABLE|DEADLINE_EXCEEDED"'
_OF = "app_kubernetes_io_component"
_NAME = "{{__name__}}"

WITHOUT_PANEL = {
    "target_info": "says which version and host a series is of, and measures nothing",
}
"""Metrics that no panel shows, each with the reason."""


@dataclass(frozen=True)
class Panel:
    """A graph of one or more queries."""

    title: str
    unit: str
    queries: Sequence[str]
    legend: str = "{{app_kubernetes_io_component}}"


def _percentile(share: float, where: str, by: str) -> str:
    buckets = f"rate(rpc_server_duration_seconds_bucket{{{where}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (le, {by}) ({buckets}))"


def _rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


DASHBOARDS: dict[str, tuple[str, Sequence[Panel]]] = {
    "overview": (
        "Tieline: overview",
        (
            Panel("Calls", "reqps", [_rate("rpc_server_duration_seconds_count", _OF)]),
            Panel(
                "Failed by our fault",
                "reqps",
                [_rate("rpc_server_duration_seconds_count", _OF, _FAILED)],
            ),
            Panel("Duration, 99th percentile", "s", [_percentile(0.99, "", _OF)]),
            Panel(
                "Failed by our fault, by class",
                "reqps",
                [_rate("rpc_server_duration_seconds_count", "class", _FAILED)],
                "{{class}}",
            ),
            Panel(
                "Duration by class, 99th percentile",
                "s",
                [_percentile(0.99, "", "class")],
                "{{class}}",
            ),
            Panel("Wait before a handler", "s", [f"max by ({_OF}) (queueing_mean_seconds)"]),
            Panel(
                "Refused for overload",
                "reqps",
                [_rate("admission_shed_total", "class")],
                "{{class}}",
            ),
            Panel(
                "Replicas wanted",
                "short",
                ["max by (policy) (operator_replicas_desired)"],
                "{{policy}}",
            ),
            Panel(
                "Events not yet out, 10,000 and more as 10,000",
                "short",
                ["max by (service) (outbox_waiting)"],
                "{{service}}",
            ),
            Panel(
                "Age of the oldest event that is not yet out",
                "s",
                ["max by (service) (outbox_oldest_seconds)"],
                "{{service}}",
            ),
            Panel(
                "Events behind",
                "short",
                ["max by (service, stream) (consumer_pending)"],
                "{{service}} from {{stream}}",
            ),
            Panel(
                "For how long events could not be published",
                "s",
                ["max by (service) (outbox_stuck_seconds)"],
                "{{service}}",
            ),
            Panel(
                "Dead letters in an hour",
                "short",
                ["sum by (service) (increase(dead_letters_total[1h]))"],
                "{{service}}",
            ),
            Panel(
                "Until a certificate expires",
                "s",
                [f"min by ({_OF}) (certificate_not_after_seconds) - time()"],
            ),
        ),
    ),
    "service": (
        "Tieline: one service",
        (
            Panel(
                "Calls by method",
                "reqps",
                [_rate("rpc_server_duration_seconds_count", "rpc_method", _SERVICE)],
                "{{rpc_method}}",
            ),
            Panel(
                "Calls by status",
                "reqps",
                [_rate("rpc_server_duration_seconds_count", "rpc_response_status_code", _SERVICE)],
                "{{rpc_response_status_code}}",
            ),
            Panel(
                "Duration by method, 99th percentile",
                "s",
                [_percentile(0.99, _SERVICE, "rpc_method")],
                "{{rpc_method}}",
            ),
            Panel(
                "Calls and streams in flight",
                "short",
                [f"sum by (pod) (rpc_server_active_requests{{{_SERVICE}}})"],
                "{{pod}}",
            ),
            Panel(
                "Wait before a handler",
                "s",
                [f"queueing_mean_seconds{{{_SERVICE}}}", f"queueing_p99_seconds{{{_SERVICE}}}"],
                "{{pod}}",
            ),
            Panel(
                "Delay of the event loop", "s", [f"event_loop_lag_seconds{{{_SERVICE}}}"], "{{pod}}"
            ),
            Panel(
                "Calls a second that a replica does at its best",
                "reqps",
                [f"capacity_per_second{{{_SERVICE}}}"],
                "{{pod}}",
            ),
            Panel(
                "Database connections",
                "short",
                [f"database_pool_used{{{_SERVICE}}}", f"database_pool_size{{{_SERVICE}}}"],
                "{{pod}}",
            ),
            Panel(
                "Age of the events in hand",
                "s",
                [f"consumer_delay_seconds{{{_SERVICE}}}"],
                "{{stream}} {{pod}}",
            ),
        ),
    ),
    "surge": (
        "Tieline: surge",
        (
            Panel(
                "Demand and capacity",
                "reqps",
                [
                    # Two operators decide, and tell; one of them writes.
                    "max by (policy) (operator_demand_per_second)",
                    "max by (policy) (operator_capacity_per_second)"
                    " * max by (policy) (operator_replicas_ready)",
                ],
                "{{policy}}",
            ),
            Panel(
                "Replicas wanted, asked for, ready",
                "short",
                [
                    "operator_replicas_desired",
                    "operator_replicas_current",
                    "operator_replicas_ready",
                ],
                "{{policy}}",
            ),
            Panel(
                "Recommended, by source",
                "short",
                ["operator_replicas_recommended"],
                "{{policy}} {{source}}",
            ),
            Panel(
                "Refused by class",
                "reqps",
                [_rate("admission_shed_total", f"{_OF}, class")],
                "{{app_kubernetes_io_component}} {{class}}",
            ),
            Panel(
                "Arrived by class",
                "reqps",
                [_rate("admission_arrivals_total", f"{_OF}, class")],
                "{{app_kubernetes_io_component}} {{class}}",
            ),
            Panel("Too late", "reqps", [_rate("admission_expired_total", _OF)]),
            Panel("Admission level", "short", [f"min by ({_OF}) (admission_level)"]),
            Panel(
                "Decision: duration, age",
                "s",
                ["operator_tick_duration_seconds", "operator_tick_age_seconds"],
                "{{pod}}",
            ),
            Panel(
                "Age of load reports",
                "s",
                ["max by (service) (operator_reports_age_seconds)"],
                "{{service}}",
            ),
            Panel("Who writes", "short", ["operator_lease_held"], "{{pod}}"),
            Panel(
                "In surge, overloaded, in conflict",
                "short",
                ["operator_surge", "operator_overloaded", "operator_target_conflict"],
                f"{{{{policy}}}} {_NAME}",
            ),
            Panel(
                "Refused or too late, as the operator sees it",
                "reqps",
                ["operator_shed_per_second"],
                "{{policy}} {{class}}",
            ),
            Panel(
                "From a report to the scale, 99th percentile",
                "s",
                [
                    "histogram_quantile(0.99, sum by (le, policy) "
                    "(rate(operator_decision_latency_seconds_bucket[$__rate_interval])))"
                ],
                "{{policy}}",
            ),
            Panel(
                "Start of a replica",
                "s",
                ["max by (policy) (operator_start_lead_seconds)"],
                "{{policy}}",
            ),
            Panel(
                "Part of the ready replicas that report",
                "percentunit",
                ["min by (policy) (operator_reports_coverage)"],
                "{{policy}}",
            ),
            Panel(
                "Load reports not taken",
                "short",
                [_rate("operator_reports_refused_total", "pod")],
                "{{pod}}",
            ),
            Panel(
                "Writes that failed, and those that met another's",
                "short",
                [
                    _rate("operator_writes_failed_total", "write"),
                    _rate("operator_writes_conflicts_total", "write"),
                ],
                "{{write}}",
            ),
            Panel(
                "Leases lost",
                "short",
                ["sum by (pod) (increase(operator_lease_lost_total[1h]))"],
                "{{pod}}",
            ),
            Panel(
                "Age of what is seen of the cluster",
                "s",
                ["max by (kind, by) (operator_watch_age_seconds)"],
                "{{kind}}, {{by}}",
            ),
            Panel(
                "Delay of the operator's event loop", "s", ["operator_loop_lag_seconds"], "{{pod}}"
            ),
        ),
    ),
    "edge": (
        "Tieline: edge",
        (
            Panel(
                "Calls",
                "reqps",
                [_rate("haproxy_frontend_http_requests_total", "pod", 'proxy="edge"')],
                "{{pod}}",
            ),
            Panel(
                "Calls by service",
                "reqps",
                [_rate("haproxy_backend_sessions_total", "proxy", 'proxy=~".+_(calls|long)"')],
                "{{proxy}}",
            ),
            Panel(
                "Refused, by service and class",
                "reqps",
                [_rate("haproxy_backend_sessions_total", "proxy", 'proxy=~"(refused|again)_.+"')],
                "{{proxy}}",
            ),
            Panel(
                "Over a limit",
                "reqps",
                [
                    _rate("haproxy_backend_sessions_total", "proxy", 'proxy=~"limited_.+"'),
                    # Of an address that begins too many, before there is a backend.
                    _rate("haproxy_frontend_requests_denied_total", "proxy", 'proxy="edge"'),
                ],
                "{{proxy}}",
            ),
            Panel(
                "Replicas that take calls",
                "short",
                ['min by (proxy) (haproxy_backend_active_servers{proxy=~".+_(calls|long)"})'],
                "{{proxy}}",
            ),
            Panel(
                "Waiting for a slot",
                "short",
                ['sum by (proxy) (haproxy_backend_current_queue{proxy=~".+_(calls|long)"})'],
                "{{proxy}}",
            ),
            Panel(
                "Wait for a slot, mean of the last 1,024",
                "s",
                ['max by (proxy) (haproxy_backend_queue_time_average_seconds{proxy=~".+_calls"})'],
                "{{proxy}}",
            ),
            Panel(
                "Answer of a replica, mean of the last 1,024",
                "s",
                [
                    "max by (proxy) "
                    '(haproxy_backend_response_time_average_seconds{proxy=~".+_calls"})'
                ],
                "{{proxy}}",
            ),
            Panel(
                "Connections of clients",
                "short",
                ['sum by (pod) (haproxy_frontend_current_sessions{proxy="edge"})'],
                "{{pod}}",
            ),
            Panel(
                "Replicas lost with calls in hand",
                "reqps",
                [_rate("haproxy_backend_response_errors_total", "proxy", 'proxy=~".+_calls"')],
                "{{proxy}}",
            ),
        ),
    ),
    "money": (
        "Tieline: money",
        (
            Panel("Ledgers that do not add up", "short", ["max(ledger_mismatches)"], "corps"),
            Panel(
                "Calls of payments",
                "reqps",
                [
                    _rate(
                        "rpc_server_duration_seconds_count",
                        "rpc_method",
                        'app_kubernetes_io_component="payments"',
                    )
                ],
                "{{rpc_method}}",
            ),
            Panel(
                "Failed by our fault",
                "reqps",
                [
                    _rate(
                        "rpc_server_duration_seconds_count",
                        "rpc_method",
                        f'app_kubernetes_io_component="payments", {_FAILED}',
                    )
                ],
                "{{rpc_method}}",
            ),
            Panel(
                "Duration, 99th percentile",
                "s",
                [_percentile(0.99, 'app_kubernetes_io_component="payments"', "rpc_method")],
                "{{rpc_method}}",
            ),
            Panel(
                "CRITICAL calls refused",
                "reqps",
                [_rate("admission_shed_total", _OF, 'class="critical"')],
            ),
            Panel(
                "Age of the oldest event of payments that is not yet out",
                "s",
                ['max(outbox_oldest_seconds{service="payments"})'],
                "oldest",
            ),
        ),
    ),
}


def build_dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"tieline-{name}",
        "title": title,
        "tags": ["tieline"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables(name)},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _variables(name: str) -> list[dict[str, Any]]:
    source = {"name": "source", "type": "datasource", "query": "prometheus"}
    if name != "service":
        return [source]
    query = f"label_values(rpc_server_active_requests, {_OF})"
    service = {
        "name": "service",
        "type": "query",
        "query": query,
        "refresh": 2,
        "datasource": {"type": "prometheus", "uid": "$source"},
    }
    return [source, service]


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "$source"},
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": panel.legend}
            for index, query in enumerate(panel.queries)
        ],
    }


def main() -> None:
    """Write each dashboard into the chart given, or into helm/tieline."""
    chart = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "helm" / "tieline"
    folder = chart / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for name in DASHBOARDS:
        text = json.dumps(build_dashboard(name), indent=1)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
