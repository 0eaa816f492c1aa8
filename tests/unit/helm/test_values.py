"""Wrong values fail the installation with words that say what to do."""

from collections.abc import Iterator
from typing import Any

import helm_python
import pytest
import yaml
from docs import generate_chart

from rendered_chart import CHART, EXAMPLES, example_values, merged, pod_specs, render

VALUES = yaml.load((CHART / "values.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)


@pytest.mark.parametrize(
    "changes",
    [
        {"trail": {"enabled": True}},
        {"clusterDomain": "cluster.local."},
        {"roles": {"mesaging": {}}},
        {"roles": {"messaging": {"replica": 3}}},
        {"roles": {"messaging": {"surge": {"minReplica": 3}}}},
        {"roles": {"messaging": {"resources": {"limit": {}}}}},
        {"defaults": {"shutdownGraceSeconds": "20s"}},
        {"defaults": {"shutdownGraceSeconds": 601}},
        {"defaults": {"maxSurge": "0%"}},
        {"database": {"sslMode": "prefer"}},
        {"nats": {"replicas": 6}},
        {"edge": {"externalTrafficPolicy": "local"}},
        {"edge": {"loadBalancerSourceRanges": ["203.0.113.7"]}},
        {"image": {"digest": "sha256:short"}},
        {"roles": {"messaging": {"capacityBuffer": {"replicas": -1}}}},
        {"capacityBuffers": {"apiVersion": "v2"}},
        {"test": {"deadlineSeconds": 29}},
        {"recording": {"claim": "c"}},
        {"roles": {"messaging": {"surge": {"policy": {"scaleDwon": {}}}}}},
        {"defaults": {"surge": {"policy": {"surge": {"reservePercent": 901}}}}},
        {"defaults": {"surge": {"policy": {"targetRef": {"name": "other"}}}}},
        {"roles": {"messaging": {"settings": {"LOG_LEVEL": "debug"}}}},
    ],
)
def test_misspelled_or_impossible_value_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(helm_python.HelmError):
        render(merged(example_values("trial"), changes))


@pytest.mark.parametrize(
    ("example", "changes", "sentence"),
    [
        ("gateway", {"database": {"host": ""}}, "database.host is empty: give the host"),
        ("gateway", {"nats": {"host": ""}}, "nats.host is empty: give the host"),
        (
            "trial",
            {"database": {"host": "db"}},
            "trial.enabled runs PostgreSQL and NATS in the release: remove database.host",
        ),
        ("trial", {"nats": {"port": 4223}}, "trial.enabled decides ports and admin users"),
        (
            "gateway",
            {"migrations": {"existingSecret": ""}},
            "migrations.existingSecret is empty: name the Secret",
        ),
        (
            "gateway",
            {"database": {"sslMode": "verify-full"}},
            "database.sslMode verify-full needs database.caExistingSecret",
        ),
        (
            "gateway",
            {"roles": {"payments": {"existingSecret": ""}}},
            "roles.payments.existingSecret is empty: name the Secret",
        ),
        (
            "trial",
            {"roles": {"identity": {"secretSettings": {"TIELINE_CODE_WEBHOOK_SECRET": "key"}}}},
            "roles.identity.secretSettings needs roles.identity.existingSecret",
        ),
        (
            "trial",
            {"defaults": {"surge": {"enabled": True}}},
            "surge.enabled needs the operator: enable roles.operator",
        ),
        (
            "gateway",
            {"roles": {"operator": {"surge": {"enabled": True}}}},
            "the operator scales services only",
        ),
        (
            "gateway",
            {"roles": {"contacts": {"surge": {"minReplicas": 21}}}},
            "roles.contacts.surge.minReplicas is above maxReplicas",
        ),
        (
            "gateway",
            {"roles": {"contacts": {"settings": {"TIELINE_GRPC_PORT": 9000}}}},
            "TIELINE_GRPC_PORT is given by the chart itself: remove it",
        ),
        (
            "production",
            {"trustedProxies": ""},
            "roles.edge.enabled needs trustedProxies: give the cluster's pod network",
        ),
        ("gateway", {"tls": {"enabled": True}}, "tls.enabled needs tls.existingSecret: name the"),
        (
            "gateway",
            {"tls": {"clientCertificates": True}},
            "tls.clientCertificates is given, but there is no TLS: set tls.enabled",
        ),
        ("trial", {"nats": {"tls": {"enabled": True}}}, "trial.enabled runs NATS without TLS"),
        (
            "gateway",
            {"nats": {"tls": {"caExistingSecret": "ca"}}},
            "NATS is reached without TLS: set nats.tls.enabled",
        ),
        (
            "gateway",
            {"edge": {"tlsExistingSecret": "tls"}},
            "edge.tlsExistingSecret is given, but there is no edge",
        ),
        (
            "production",
            {"roles": {"messaging": {"surge": {"maxReplicas": 385}}}},
            "roles.messaging may have 482 pods, surge.maxReplicas and maxSurge together",
        ),
        (
            "production",
            {"roles": {"contacts": {"surge": {"enabled": False}, "replicas": 480, "maxSurge": 1}}},
            "roles.contacts may have 481 pods, replicas and maxSurge together, and the edge",
        ),
        (
            "trial",
            {"nats": {"replicas": 3}},
            "trial.enabled runs one NATS server, which can't hold an event 3 times",
        ),
        (
            "trial",
            {"migrations": {"existingSecret": "admin"}},
            "trial.enabled has passwords of its own",
        ),
        (
            "gateway",
            {"edge": {"loadBalancerSourceRanges": ["203.0.113.0/24"]}},
            "edge.loadBalancerSourceRanges is given, but there is no load balancer",
        ),
        ("trial", {"database": {"citus": True}}, "trial.enabled runs PostgreSQL without Citus"),
        ("trial", {"test": {"caExistingSecret": "ca"}}, "test.caExistingSecret is given, but the"),
        ("trial", {"test": {"serverName": "edge"}}, "test.serverName is given, but the edge"),
        ("trial", {"surge": {"clusterRoomPods": 9}}, "is given, but there is no operator: enable"),
        ("trial", {"recording": {"enabled": True}}, "recording.enabled needs the operator"),
        (
            "gateway",
            {"recording": {"existingClaim": "c"}},
            "recording.existingClaim is given, but nothing is recorded",
        ),
        (
            "gateway",
            {"roles": {"operator": {"settings": {"TIELINE_RECORDING_DIRECTORY": "/r"}}}},
            "TIELINE_RECORDING_DIRECTORY is given by the chart itself",
        ),
    ],
)
def test_impossible_combination_fails_with_what_mends_it(
    example: str, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(helm_python.HelmError, match=sentence):
        render(merged(example_values(example), changes))


def test_as_many_replicas_at_least_as_at_most_are_possible() -> None:
    changes = {"roles": {"contacts": {"surge": {"minReplicas": 20}}}}

    render(merged(example_values("gateway"), changes))


@pytest.mark.parametrize(
    ("example", "changes", "replicas"),
    [
        ("trial", {}, "1"),
        ("trial", {"nats": {"replicas": 1}}, "1"),
        ("gateway", {}, "3"),
        ("gateway", {"nats": {"replicas": 5}}, "5"),
    ],
)
def test_events_are_held_by_as_many_servers_as_there_are(
    example: str, changes: dict[str, Any], replicas: str
) -> None:
    spec = pod_specs(render(merged(example_values(example), changes)))["migrations"]

    assert {"name": "TIELINE_NATS_REPLICAS", "value": replicas} in spec["containers"][0]["env"]


def test_the_job_contracts_only_where_that_is_asked_for() -> None:
    def arguments(changes: dict[str, Any]) -> list[list[str]]:
        manifests = render(merged(example_values("citus"), changes))
        spec = pod_specs(manifests)["migrations"]
        return [each["args"] for each in (*spec["initContainers"], *spec["containers"])]

    assert arguments({}) == [["migrate"], ["migrate", "--citus"]]
    assert arguments({"migrations": {"contract": True}}) == [
        ["migrate", "--contract"],
        ["migrate", "--citus"],
    ]


def test_without_the_edge_a_service_may_have_more_pods_than_the_edge_finds() -> None:
    render(merged(example_values("gateway"), {"defaults": {"surge": {"maxReplicas": 10_000}}}))


def test_chart_without_values_says_what_to_give() -> None:
    with pytest.raises(helm_python.HelmError, match=r"database\.host is empty"):
        render({})


def test_no_value_has_a_password_by_default() -> None:
    def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for name, part in value.items():
                yield from leaves(part, f"{path}.{name}")
        else:
            yield path, value

    assert [
        (path, value)
        for path, value in leaves(VALUES, "")
        if path.endswith(("Secret", "password", "secret")) and value
    ] == []


def test_every_value_is_explained() -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    explained = {".".join(path) for path, _ in generate_chart.documented_values(text)}

    def unexplained(value: Any, path: str) -> Iterator[str]:
        if path not in explained:
            if isinstance(value, dict) and value:
                for name, part in value.items():
                    yield from unexplained(part, f"{path}.{name}" if path else name)
            else:
                yield path

    assert list(unexplained(VALUES, "")) == []


@pytest.mark.parametrize("name", generate_chart.generated_files())
def test_generated_file_of_the_chart_is_fresh(name: str) -> None:
    assert (CHART / name).read_text(encoding="utf-8") == generate_chart.generated_files()[name]


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_example_gives_no_value_that_is_the_default_anyway(example: str) -> None:
    def same(given: Any, default: Any, path: str) -> Iterator[str]:
        if isinstance(given, dict) and isinstance(default, dict):
            for name, part in given.items():
                if name in default:
                    yield from same(part, default[name], f"{path}.{name}")
        elif given == default:
            yield path

    assert list(same(example_values(example), VALUES, "")) == []
