"""Each alert rings when it should and is silent otherwise, as Prometheus' own tool evaluates it.

So does each query of the dashboards give something, of a release that has two pods of everything.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from promql import ALERTS, DASHBOARDS, expressions, metrics_of

pytestmark = pytest.mark.prometheus

SERVICES = ("identity", "directory", "messaging", "contacts", "payments")
CALLS = "rpc_server_duration_seconds_count"


@dataclass(frozen=True)
class Case:
    """Series by the minute, and with what labels the alert rings at the end of two hours."""

    series: dict[str, str]
    rings: list[dict[str, str]]


def calls(failed: str) -> dict[str, str]:
    labels = 'app_kubernetes_io_component="messaging",class="high"'
    return {
        f'{CALLS}{{{labels},rpc_response_status_code="OK"}}': "0+1000x120",
        f'{CALLS}{{{labels},rpc_response_status_code="UNAVAILABLE"}}': failed,
    }


def services(*, without: str = "") -> dict[str, str]:
    return {
        f'rpc_server_active_requests{{app_kubernetes_io_component="{name}",pod="p"}}': "0x120"
        for name in SERVICES
        if name != without
    }


MESSAGING = {"app_kubernetes_io_component": "messaging"}
CASES: dict[str, tuple[Case, ...]] = {
    "TielineCertificateExpires": (
        Case(
            {
                # Time is 0 to 7,200 s here: what ends on the tenth day, and on the hundredth.
                'certificate_not_after_seconds{app_kubernetes_io_component="edge"}': "864000x120",
                'certificate_not_after_seconds{app_kubernetes_io_component="messaging"}': (
                    "8640000x120"
                ),
            },
            [{"app_kubernetes_io_component": "edge"}],
        ),
    ),
    "TielineConsumerLag": (
        Case(
            {
                # One event that is in hand again and again, with none behind it.
                'consumer_delay_seconds{service="messaging",stream="CONTACTS",pod="a"}': "0+60x120",
                'consumer_pending{service="messaging",stream="CONTACTS",pod="a"}': "0x120",
                'consumer_delay_seconds{service="messaging",stream="CONTACTS",pod="b"}': "0x120",
                'consumer_delay_seconds{service="identity",stream="AUDIT",pod="a"}': (
                    "0x110 90x2 0x8"
                ),
            },
            [{"service": "messaging", "stream": "CONTACTS"}],
        ),
    ),
    "TielineCriticalShed": (
        Case(
            {
                'admission_shed_total{app_kubernetes_io_component="messaging",class="critical"}': (
                    "0+5x120"
                ),
                'admission_shed_total{app_kubernetes_io_component="contacts",class="low"}': (
                    "0+5x120"
                ),
            },
            [MESSAGING],
        ),
    ),
    "TielineDeadLetters": (
        Case(
            {
                'dead_letters_total{service="messaging"}': "0x115 1x5",
                'dead_letters_total{service="contacts"}': "1x120",
            },
            [{"service": "messaging"}],
        ),
    ),
    "TielineEdgeRefuses": (
        Case(
            {
                'haproxy_frontend_http_requests_total{proxy="edge",pod="a"}': "0+1000x120",
                'haproxy_backend_sessions_total{proxy="refused_messaging_4",pod="a"}': "0+20x120",
            },
            [{}],
        ),
        Case(
            {
                'haproxy_frontend_http_requests_total{proxy="edge",pod="a"}': "0+1000x120",
                'haproxy_backend_sessions_total{proxy="again_messaging_4",pod="a"}': "0+5x120",
                'haproxy_backend_sessions_total{proxy="limited_corp",pod="a"}': "0+500x120",
            },
            [],
        ),
    ),
    "TielineEdgeWithoutReplicas": (
        Case(
            {
                'haproxy_backend_active_servers{proxy="messaging_calls",pod="a"}': "2x120",
                'haproxy_backend_active_servers{proxy="messaging_calls",pod="b"}': "0x120",
                'haproxy_backend_active_servers{proxy="contacts_calls",pod="a"}': "1x120",
                'haproxy_backend_active_servers{proxy="refused_contacts_1",pod="a"}': "0x120",
            },
            [{"proxy": "messaging_calls"}],
        ),
    ),
    "TielineErrorBudgetBurn": (
        Case(calls("0+20x120"), [MESSAGING]),
        Case(calls("0+10x120"), []),
    ),
    "TielineLeaseLost": (
        Case({}, [{}]),
        Case({'operator_lease_held{pod="a"}': "0x120"}, [{}]),
        Case(
            {'operator_lease_held{pod="a"}': "0x120", 'operator_lease_held{pod="b"}': "1x120"}, []
        ),
    ),
    "TielineLedgerMismatch": (
        Case({"ledger_mismatches": "0x119 1"}, [{}]),
        Case({"ledger_mismatches": "0x120"}, []),
    ),
    "TielineLoadReportsStale": (
        Case(
            {
                'operator_reports_age_seconds{service="messaging"}': "20x120",
                'operator_reports_age_seconds{service="contacts"}': "1x120",
            },
            [{"service": "messaging"}],
        ),
    ),
    "TielineNoReplica": (
        Case(services(), []),
        Case(services(without="payments"), [{"app_kubernetes_io_component": "payments"}]),
        Case(
            {
                **services(),
                'operator_replicas_ready{policy="tieline-messaging",pod="a"}': "0x120",
                'operator_replicas_ready{policy="tieline-contacts",pod="a"}': "2x120",
            },
            [{"policy": "tieline-messaging", "app_kubernetes_io_component": "tieline-messaging"}],
        ),
    ),
    "TielineOutboxStuck": (
        Case(
            {
                'outbox_oldest_seconds{service="payments",pod="a"}': "61x120",
                # The relay that waits for the active one.
                'outbox_oldest_seconds{service="payments",pod="b"}': "0x120",
                'outbox_oldest_seconds{service="contacts",pod="a"}': "30x120",
            },
            [{"service": "payments"}],
        ),
    ),
}


def test_every_alert_is_tried() -> None:
    assert set(CASES) == {path.stem for path in ALERTS}
    assert [name for name, cases in CASES.items() if not any(case.rings for case in cases)] == []


@pytest.mark.parametrize("path", ALERTS, ids=lambda path: path.stem)
def test_an_alert_rings_when_it_should_and_not_otherwise(path: Path, tmp_path: Path) -> None:
    rule = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    # What the summary says is the labels' affair.
    silent = {**rule, "annotations": {}}
    rules = {"groups": [{"name": "tieline", "rules": [silent]}]}
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": name, "values": values} for name, values in case.series.items()
            ],
            "alert_rule_test": [
                {
                    "eval_time": "2h",
                    "alertname": path.stem,
                    "exp_alerts": [
                        {"exp_labels": {**rule["labels"], **labels}} for labels in case.rings
                    ],
                }
            ],
        }
        for case in CASES[path.stem]
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    check_rules(tmp_path, {"rule_files": ["rules.yaml"], "tests": tests})


def check_rules(folder: Path, tests: dict[str, Any]) -> None:
    (folder / "tests.yaml").write_text(yaml.safe_dump(tests))

    result = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr


LABELS = (
    'app_kubernetes_io_component="payments",service="payments",policy="tieline-payments",stream="S",'
    'class="critical",rpc_method="M",rpc_response_status_code="INTERNAL",kind="pods",write="scale"'
)


def series_of_two_pods(metric: str) -> Iterator[str]:
    """Yield series with every label that a query may ask for."""
    for pod in ("a", "b"):
        labels = f'{LABELS},pod="{pod}"'
        if metric.startswith("haproxy_"):
            for proxy in ("edge", "payments_calls", "refused_payments_4", "limited_corp"):
                yield f'{metric}{{{labels},proxy="{proxy}"}}'
        elif metric.endswith("_bucket"):
            yield from (f'{metric}{{{labels},le="{bound}"}}' for bound in ("0.1", "+Inf"))
        else:
            yield f"{metric}{{{labels}}}"


@pytest.mark.parametrize("dashboard", [path.stem for path in DASHBOARDS])
def test_every_query_of_a_dashboard_gives_something_where_each_role_has_two_pods(
    dashboard: str, tmp_path: Path
) -> None:
    """A query that matches one series with one fails where there are two of each."""
    queries = [
        text.replace("$__rate_interval", "5m").replace("$service", ".+")
        for where, text in expressions()
        if where.startswith(f"{dashboard}: ")
    ]
    metrics = sorted(set().union(*map(metrics_of, queries)))
    series = [
        {"series": name, "values": "0+60x60"}
        for each in metrics
        for name in series_of_two_pods(each)
    ]
    found = [
        {
            "expr": f"count({query}) * 0",
            "eval_time": "30m",
            "exp_samples": [{"labels": "{}", "value": 0}],
        }
        for query in queries
    ]

    check_rules(
        tmp_path,
        {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": found}]},
    )
