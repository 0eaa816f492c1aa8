"""`helm test`: the pod that plays the main job's short form, and what it calls."""

from typing import Any

import pytest

from rendered_chart import Manifest, component, example_values, merged, of_kind, render, rendered
from tieline.cli.demo import demo

GIVEN = {"test": {"existingSecret": "administrator"}}
TLS = {"tls": {"enabled": True, "existingSecret": "grpc"}}


def the_pod(manifests: list[Manifest]) -> Manifest:
    (pod,) = of_kind(manifests, "Pod")
    return pod


def options(pod: Manifest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the command reads from the pod's arguments; files need not be there."""
    (container,) = pod["spec"]["containers"]
    command, *arguments = container["args"]
    assert command == "demo"
    for parameter in demo.params:
        if getattr(parameter.type, "exists", False):
            monkeypatch.setattr(parameter.type, "exists", False)
    return dict(demo.make_context("demo", list(arguments)).params)


def test_is_a_test_of_helm_and_no_part_of_the_release() -> None:
    annotations = the_pod(rendered("trial"))["metadata"]["annotations"]

    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"


@pytest.mark.parametrize(
    ("example", "changes", "expected"),
    [
        ("trial", {}, {"target": "dns:///tieline-{service}.connect.svc:7100", "tls_is_on": False}),
        (
            "production",
            {},
            {
                "target": "dns:///tieline-edge.connect.svc:7100",
                "tls_is_on": True,
                "tls_server_name": "connect.example",
                "tls_ca": None,
            },
        ),
        (
            "production",
            {"test": {"caExistingSecret": "edge-ca"}},
            {"tls_ca": "/etc/tieline/edge-ca/ca.crt", "tls_certificate": None},
        ),
        ("production", {"edge": {"tlsExistingSecret": ""}, "test": {"serverName": ""}},
         {"tls_is_on": False, "tls_ca": None}),
        (
            "gateway",
            {**GIVEN, **TLS},
            {
                "target": "dns:///tieline-{service}.connect.svc:7100",
                "tls_is_on": True,
                "tls_ca": "/etc/tieline/grpc-tls/ca.crt",
                "tls_certificate": None,
            },
        ),
        (
            "gateway",
            merged({**GIVEN, **TLS}, {"tls": {"clientCertificates": True}}),
            {
                "tls_certificate": "/etc/tieline/grpc-tls/tls.crt",
                "tls_key": "/etc/tieline/grpc-tls/tls.key",
            },
        ),
    ],
)  # fmt: skip
def test_command_knows_its_arguments_and_finds_its_files(
    example: str, changes: dict[str, Any], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = the_pod(render(merged(example_values(example), changes)))
    (container,) = pod["spec"]["containers"]
    given = options(pod, monkeypatch)
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}

    assert given["short"] is True
    for name, value in expected.items():
        assert (given[name] and str(given[name])) == (value and str(value)), name
    for name in ("tls_ca", "tls_certificate", "tls_key"):
        assert given[name] is None or str(given[name].parent) in mounted
    assert set(mounted.values()) == {each["name"] for each in pod["spec"]["volumes"]}


def test_password_comes_from_the_secret_that_the_values_name() -> None:
    (container,) = the_pod(rendered("production"))["spec"]["containers"]

    assert container["env"] == [
        {
            "name": "TIELINE_ADMINISTRATOR_PASSWORD",
            "valueFrom": {
                "secretKeyRef": {"name": "tieline-administrator", "key": "administrator-password"}
            },
        }
    ]


def test_trial_has_a_password_that_identity_and_the_test_read() -> None:
    manifests = rendered("trial")
    (secret,) = of_kind(manifests, "Secret")
    (identity,) = (
        each for each in of_kind(manifests, "Deployment") if component(each) == "identity"
    )
    reference = {"name": "tieline-trial", "key": "identity-administrator-password"}
    readers = {
        variable["name"]
        for spec in (the_pod(manifests)["spec"], identity["spec"]["template"]["spec"])
        for variable in spec["containers"][0]["env"]
        if variable.get("valueFrom", {}).get("secretKeyRef") == reference
    }

    assert reference["key"] in secret["data"]
    assert readers == {
        "TIELINE_ADMINISTRATOR_PASSWORD",
        "TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD",
    }


def test_administrator_whom_somebody_else_gave_a_password_is_left_alone() -> None:
    own = {
        "existingSecret": "mine",
        "secretSettings": {"TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD": "password"},
    }
    manifests = render(merged(example_values("trial"), {"roles": {"identity": own}}))

    assert of_kind(manifests, "Pod") == []


def test_without_a_password_there_is_no_test() -> None:
    assert of_kind(rendered("gateway"), "Pod") == []
