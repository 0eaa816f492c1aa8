"""Who may talk to whom: the table, and what the NetworkPolicies say."""

from collections.abc import Iterator
from typing import Any

import pytest

from rendered_chart import Manifest, component, example_values, merged, of_kind, pod_specs, render
from tieline.chassis.streams import SERVICES

LABEL = "app.kubernetes.io/component"
ANYBODY = "anybody"
GRPC, AGENT, METRICS, POSTGRESQL, NATS, DNS = 7100, 7900, 9464, 5432, 4222, 53

Flow = tuple[str, str, int]


def peers(rule: Any, side: str) -> Iterator[str]:
    for peer in rule.get(side, [{}]):
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        yield labels.get(LABEL, ANYBODY)


def flows(manifests: list[Manifest], side: str) -> set[Flow]:
    found = set()
    for policy in of_kind(manifests, "NetworkPolicy"):
        name = component(policy)
        for rule in policy["spec"]["ingress" if side == "from" else "egress"]:
            for port in rule["ports"]:
                for peer in peers(rule, side):
                    ends = (peer, name) if side == "from" else (name, peer)
                    found.add((*ends, port["port"]))
    return found


@pytest.fixture(scope="module")
def trial() -> list[Manifest]:
    """Everything in the release, with the edge and the operator."""
    changes = {
        "trustedProxies": "10.0.0.0/8",
        "roles": {"edge": {"enabled": True}, "operator": {"enabled": True}},
    }
    return render(merged(example_values("trial"), changes))


def test_every_pod_has_a_policy_for_both_ways(trial: list[Manifest]) -> None:
    policies = of_kind(trial, "NetworkPolicy")

    assert {component(each) for each in policies} == pod_specs(trial).keys()
    assert all(each["spec"]["policyTypes"] == ["Ingress", "Egress"] for each in policies)


def test_who_is_let_in(trial: list[Manifest]) -> None:
    roles = (*SERVICES, "operator", "edge")

    assert flows(trial, "from") == {
        (ANYBODY, "edge", GRPC),
        ("test", "edge", GRPC),
        *(("edge", service, port) for service in SERVICES for port in (GRPC, AGENT)),
        *((who, "postgresql", POSTGRESQL) for who in (*SERVICES, "migrations")),
        *((who, "nats", NATS) for who in (*roles, "migrations")),
        *((ANYBODY, role, METRICS) for role in roles),
    }


def test_who_is_let_out(trial: list[Manifest]) -> None:
    roles = (*SERVICES, "operator", "edge", "migrations")

    assert flows(trial, "to") == {
        *((role, ANYBODY, DNS) for role in (*roles, "test")),
        ("test", "edge", GRPC),
        *((role, "nats", NATS) for role in roles),
        *((who, "postgresql", POSTGRESQL) for who in (*SERVICES, "migrations")),
        *(("edge", service, port) for service in SERVICES for port in (GRPC, AGENT)),
        # The Kubernetes API.
        ("operator", ANYBODY, 443),
        ("operator", ANYBODY, 6443),
        # Sign-in providers and webhooks; S3-compatible storage.
        ("identity", ANYBODY, 443),
        ("messaging", ANYBODY, 443),
    }


def test_what_is_let_out_within_the_release_is_let_in(trial: list[Manifest]) -> None:
    inside = {flow for flow in flows(trial, "to") if ANYBODY not in flow}

    assert inside <= flows(trial, "from")


def test_services_never_reach_one_another(trial: list[Manifest]) -> None:
    # They meet over NATS.
    both = flows(trial, "from") | flows(trial, "to")

    assert not {flow for flow in both if flow[0] in SERVICES and flow[1] in SERVICES}


def test_without_the_edge_the_gateway_alone_calls_the_services() -> None:
    for policy in of_kind(render(example_values("gateway")), "NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            if {"protocol": "TCP", "port": GRPC} in rule["ports"]:
                assert rule["from"] == [
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": "gateway-system"}
                        }
                    }
                ]


def test_without_the_edge_the_test_calls_the_services_beside_the_gateway() -> None:
    changes = {"test": {"existingSecret": "administrator"}}
    manifests = render(merged(example_values("gateway"), changes))
    called = {("test", service, GRPC) for service in SERVICES}

    assert {flow for flow in flows(manifests, "to") if flow[0] == "test"} == {
        *called,
        ("test", ANYBODY, DNS),
    }
    assert {flow for flow in flows(manifests, "from") if "test" in flow} == called


def test_policies_can_be_left_out() -> None:
    values = merged(example_values("trial"), {"networkPolicy": {"enabled": False}})

    assert of_kind(render(values), "NetworkPolicy") == []
