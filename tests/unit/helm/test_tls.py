"""TLS between the parts of a release: who is given which certificate, and by which names."""

from typing import Any

import pytest
import yaml

from rendered_chart import (
    EXAMPLES,
    Manifest,
    component,
    example_values,
    merged,
    of_kind,
    pod_specs,
    render,
    rendered,
)
from tieline.chassis.streams import SERVICES

GRPC_FILES = "/etc/tieline/grpc-tls/"


def environment(spec: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in spec["containers"][0]["env"]}


def example_certificates() -> list[Manifest]:
    text = (EXAMPLES["production"].parent / "certificates.yaml").read_text(encoding="utf-8")
    return of_kind(list(yaml.load_all(text, yaml.CSafeLoader)), "Certificate")


def test_each_service_shows_the_certificate_and_is_probed_past_it() -> None:
    specs = pod_specs(rendered("production"))

    for service in SERVICES:
        given, container = environment(specs[service]), specs[service]["containers"][0]
        probed = {container[f"{name}Probe"]["grpc"]["port"] for name in ("readiness", "liveness")}
        assert given["TIELINE_GRPC_TLS_CERT_FILE"] == f"{GRPC_FILES}tls.crt"
        assert probed == {int(given["TIELINE_PROBE_PORT"])}
        assert "TIELINE_GRPC_TLS_CLIENT_CA_FILE" not in given


def test_every_file_that_a_setting_names_is_mounted() -> None:
    changes = {"tls": {"clientCertificates": True}}
    specs = pod_specs(render(merged(example_values("production"), changes)))

    for spec in specs.values():
        mounts = [each["mountPath"] for each in spec["containers"][0]["volumeMounts"]]
        volumes = {each["name"] for each in spec["volumes"]}
        assert {each["name"] for each in spec["containers"][0]["volumeMounts"]} == volumes
        for value in environment(spec).values():
            if value.startswith("/etc/tieline/"):
                assert value.rpartition("/")[0] in mounts


def test_client_certificates_are_asked_for_and_the_edge_shows_one() -> None:
    changes = {"tls": {"clientCertificates": True}}
    specs = pod_specs(render(merged(example_values("production"), changes)))

    assert environment(specs["messaging"])["TIELINE_GRPC_TLS_CLIENT_CA_FILE"]
    assert environment(specs["edge"])["TIELINE_EDGE_REPLICA_TLS_CERTIFICATE"] == (
        f"{GRPC_FILES}tls-combined.pem"
    )


@pytest.mark.parametrize("name", [*SERVICES, "operator", "edge", "migrations"])
def test_nats_is_reached_by_tls_with_its_authority(name: str) -> None:
    given = environment(pod_specs(rendered("production"))[name])
    url = "TIELINE_NATS_ADMIN_URL" if name == "migrations" else "TIELINE_NATS_URL"

    assert given[url].startswith("tls://")
    assert given["TIELINE_NATS_TLS_CA_FILE"] == "/etc/tieline/nats-ca/ca.crt"


def test_the_example_certificate_names_every_service_by_the_name_that_the_edge_calls() -> None:
    (grpc,) = (
        each for each in example_certificates() if each["metadata"]["name"] == "tieline-grpc"
    )
    services = [
        each for each in of_kind(rendered("production"), "Service") if component(each) in SERVICES
    ]
    called = environment(pod_specs(rendered("production"))["edge"])

    assert {each["metadata"]["name"] for each in services} <= set(grpc["spec"]["dnsNames"])
    for service in SERVICES:
        host = called[f"TIELINE_EDGE_{service.upper()}"].removeprefix("dns:").partition(":")[0]
        # HAProxy knows no search domains: a name that is not full is found nowhere.
        assert host == f"tieline-{service}.connect.svc.cluster.local"
        assert host in grpc["spec"]["dnsNames"]


def test_the_edge_asks_for_the_services_in_the_domain_that_the_cluster_has() -> None:
    specs = pod_specs(render(merged(example_values("production"), {"clusterDomain": "corp.k8s"})))

    assert environment(specs["edge"])["TIELINE_EDGE_MESSAGING"] == (
        "dns:tieline-messaging.connect.svc.corp.k8s:7100@7900"
    )


def test_the_example_certificates_are_the_secrets_that_the_values_name() -> None:
    values = example_values("production")
    named = {each["spec"]["secretName"] for each in example_certificates()}

    assert {
        values["tls"]["existingSecret"],
        values["nats"]["tls"]["caExistingSecret"],
        values["edge"]["tlsExistingSecret"],
    } <= named
