"""Alerts, their runbooks and the dashboards, as the chart has them."""

import pytest
import yaml

from promql import ALERTS, DASHBOARDS, expressions, labels_of, metrics_of
from rendered_chart import CHART, component, example_values, merged, of_kind, render, rendered
from tieline.edge.configuration import OWN_METRICS_PATH

RUNBOOKS = {path.stem for path in (CHART / "runbooks").glob("*.md")}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in ALERTS} == RUNBOOKS


@pytest.mark.parametrize("path", ALERTS, ids=lambda path: path.stem)
def test_an_alert_is_named_as_its_file_and_says_how_bad_it_is(path) -> None:  # type: ignore[no-untyped-def]
    rule = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)

    assert rule["alert"] == path.stem
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_the_rule_of_the_release_has_every_alert_with_a_link_to_its_page() -> None:
    (rule,) = of_kind(rendered("production"), "PrometheusRule")
    (group,) = rule["spec"]["groups"]

    assert [each["alert"] for each in group["rules"]] == [path.stem for path in ALERTS]
    for each in group["rules"]:
        page = f"https://runbooks.example/{each['alert']}.md"
        assert each["annotations"]["runbook_url"] == page


def test_what_a_release_does_not_run_is_not_missing() -> None:
    changes = {
        "defaults": {"surge": {"enabled": False}},
        "roles": {"operator": {"enabled": False}, "payments": {"enabled": False}},
        "recording": {"enabled": False, "existingClaim": ""},
        "surge": {"clusterRoomPods": 0},
    }
    (rule,) = of_kind(render(merged(example_values("production"), changes)), "PrometheusRule")
    (group,) = rule["spec"]["groups"]
    rules = {each["alert"]: each["expr"] for each in group["rules"]}

    assert {path.stem for path in ALERTS} - rules.keys() == {"TielineLeaseLost"}
    assert "payments" not in rules["TielineNoReplica"]
    assert rules["TielineNoReplica"].count("or absent(") == 4


def test_each_dashboard_is_a_config_map_for_grafana() -> None:
    maps = [
        each
        for each in of_kind(rendered("production"), "ConfigMap")
        if component(each) == "dashboards"
    ]

    assert {name for each in maps for name in each["data"]} == {path.name for path in DASHBOARDS}
    assert all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in maps)


def test_neither_is_there_unless_it_is_wanted() -> None:
    changes = {"alerts": {"enabled": False}, "dashboards": {"enabled": False}}
    manifests = render(merged(example_values("production"), changes))

    assert not of_kind(manifests, "PrometheusRule")
    assert {component(each) for each in of_kind(manifests, "ConfigMap")} == {"operator"}


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ('sum by (a, b) (rate(x_total{c="d = e", f=~"g"}[5m])) > 0', {"a", "b", "c", "f"}),
        ("a * on (policy) b and c", {"policy"}),
        ("x - time() < 14 * 86400", set()),
    ],
)
def test_labels_are_found_in_an_expression(expression: str, labels: set[str]) -> None:
    assert labels_of(expression) == labels


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (a, b) (rate(x_total{c="d e"}[5m])) > 0', {"x_total"}),
        ("x - time() < 14 * 86400", {"x"}),
        ("a * on (policy) b and c", {"a", "b", "c"}),
        ("histogram_quantile(0.99, sum by (le) (rate(x_bucket[$__rate_interval])))", {"x_bucket"}),
    ],
)
def test_metrics_are_found_in_an_expression(expression: str, names: set[str]) -> None:
    assert metrics_of(expression) == names


def test_every_expression_asks_for_a_metric() -> None:
    assert [where for where, expression in expressions() if not metrics_of(expression)] == []


def test_the_edges_own_metrics_are_asked_of_the_edge_alone_and_where_it_has_a_certificate() -> None:
    (monitor,) = of_kind(rendered("production"), "PodMonitor")
    everybody, edges = monitor["spec"]["podMetricsEndpoints"]

    assert "path" not in everybody
    assert edges["path"] == OWN_METRICS_PATH
    (kept,) = edges["relabelings"]
    assert (kept["regex"], kept["action"]) == ("edge", "keep")

    changes = {"edge": {"tlsExistingSecret": ""}, "test": {"serverName": ""}}
    (bare,) = of_kind(render(merged(example_values("production"), changes)), "PodMonitor")
    assert bare["spec"]["podMetricsEndpoints"] == [everybody]
