"""What holds of every pod and every role that the chart renders."""

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from rendered_chart import (
    EXAMPLES,
    Manifest,
    admin_template,
    component,
    example_values,
    merged,
    of_kind,
    pod_specs,
    render,
    rendered,
)
from tieline.chassis.settings import COMMAND_LINE_VARIABLES, PREFIX, load_settings
from tieline.chassis.streams import SERVICES
from tieline.cli.administration import AdministrationSettings
from tieline.contacts.app import SETTINGS as CONTACTS
from tieline.directory.app import SETTINGS as DIRECTORY
from tieline.edge.app import SETTINGS as EDGE
from tieline.identity.app import SETTINGS as IDENTITY
from tieline.messaging.app import SETTINGS as MESSAGING
from tieline.operator.app import SETTINGS as OPERATOR
from tieline.payments.app import SETTINGS as PAYMENTS

SETTINGS: dict[str, type[BaseSettings]] = {
    "identity": IDENTITY,
    "directory": DIRECTORY,
    "messaging": MESSAGING,
    "contacts": CONTACTS,
    "payments": PAYMENTS,
    "operator": OPERATOR,
    "edge": EDGE,
    "migrations": AdministrationSettings,
}
ALL = {name: rendered(name) for name in EXAMPLES}
PODS = [
    pytest.param(spec, id=f"{example}-{name}")
    for example, manifests in ALL.items()
    for name, spec in (
        *pod_specs(manifests).items(),
        ("admin", admin_template(manifests)["spec"]),
    )
]
ROLES = [
    pytest.param(name, spec, id=f"{example}-{name}")
    for example, manifests in ALL.items()
    for name, spec in pod_specs(manifests).items()
    if name in SETTINGS
]


def containers(spec: Any) -> list[Any]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def runs_without_privilege(spec: Any) -> bool:
    pod = spec["securityContext"]
    return (
        pod["runAsNonRoot"] is True
        and pod["runAsUser"] > 0
        and pod["seccompProfile"] == {"type": "RuntimeDefault"}
        and all(
            each["securityContext"]
            == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            for each in containers(spec)
        )
    )


def shares_nothing_with_its_node(spec: Any) -> bool:
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    known = {"emptyDir", "configMap", "secret", "persistentVolumeClaim"}
    return kinds <= known and not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}


def has_bounds(spec: Any) -> bool:
    return all(
        {"cpu", "memory"} <= each["resources"]["requests"].keys()
        and "memory" in each["resources"]["limits"]
        for each in containers(spec)
    ) and all("sizeLimit" in each["emptyDir"] for each in spec["volumes"] if "emptyDir" in each)


def gets_no_service_variables(spec: Any) -> bool:
    return spec["enableServiceLinks"] is False


def says_whether_it_has_a_token(spec: Any) -> bool:
    is_operator = spec.get("serviceAccountName", "").endswith("-operator")
    return bool(spec["automountServiceAccountToken"] is is_operator)


def has_a_fixed_image(spec: Any) -> bool:
    return all(
        ":" in each["image"] and not each["image"].endswith(":latest") for each in containers(spec)
    )


@pytest.mark.parametrize(
    "rule",
    [
        runs_without_privilege,
        shares_nothing_with_its_node,
        has_bounds,
        gets_no_service_variables,
        says_whether_it_has_a_token,
        has_a_fixed_image,
    ],
)
@pytest.mark.parametrize("spec", PODS)
def test_every_pod(spec: Any, rule: Callable[[Any], bool]) -> None:
    assert rule(spec)


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_every_deployment_is_probed_spread_and_drained(example: str) -> None:
    budgets = {component(each) for each in of_kind(ALL[example], "PodDisruptionBudget")}
    for deployment in of_kind(ALL[example], "Deployment"):
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]

        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        assert len(spec["topologySpreadConstraints"]) == 2
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert component(deployment) in budgets


@pytest.mark.parametrize("service", SERVICES)
def test_liveness_of_a_service_does_not_depend_on_what_it_needs(service: str) -> None:
    (container,) = pod_specs(ALL["gateway"])[service]["containers"]

    assert container["readinessProbe"]["grpc"] == {"port": 7100}
    assert container["livenessProbe"]["grpc"] == {"port": 7100, "service": "liveness"}


@pytest.mark.parametrize("name", ["messaging", "edge"])
def test_pod_has_ten_seconds_beyond_its_leaving_and_the_grace_of_its_calls(name: str) -> None:
    changes = {"defaults": {"drainSeconds": 7, "shutdownGraceSeconds": 45}}
    spec = pod_specs(render(merged(example_values("production"), changes)))[name]
    given = spec["containers"][0]["env"]

    assert spec["terminationGracePeriodSeconds"] == 62
    assert {"name": "TIELINE_DRAIN_S", "value": "7"} in given
    assert {"name": "TIELINE_SHUTDOWN_GRACE_S", "value": "45"} in given


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
        (
            {"externalTrafficPolicy": "Cluster", "loadBalancerSourceRanges": ["203.0.113.0/24"]},
            {
                "type": "LoadBalancer",
                "externalTrafficPolicy": "Cluster",
                "loadBalancerSourceRanges": ["203.0.113.0/24"],
            },
        ),
        ({"serviceType": "ClusterIP"}, {"type": "ClusterIP"}),
    ],
)
def test_edge_sees_its_callers_addresses_behind_a_load_balancer(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    """It limits by address: with the nodes' addresses all callers would share one limit."""
    manifests = render(merged(example_values("production"), {"edge": changes}))
    (service,) = (each for each in of_kind(manifests, "Service") if component(each) == "edge")

    assert {
        key: service["spec"][key] for key in service["spec"].keys() - {"selector", "ports"}
    } == expected


def selectors(manifests: list[Manifest]) -> dict[str, Any]:
    return {
        each["metadata"]["name"]: each["spec"]["selector"]
        for each in of_kind(manifests, "Deployment", "StatefulSet")
    }


def test_selectors_stay_when_everything_else_changes() -> None:
    # Kubernetes refuses another selector for a Deployment that is there.
    changes = {
        "image": {"tag": "9.9.9"},
        "defaults": {"replicas": 7, "podLabels": {"team": "connect"}},
        "telemetry": {"otlpEndpoint": "http://collector:4318"},
    }

    assert selectors(render(merged(example_values("trial"), changes))) == selectors(ALL["trial"])
    for selector in selectors(ALL["trial"]).values():
        assert selector["matchLabels"].keys() == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/component",
        }


@pytest.mark.parametrize(("role", "spec"), ROLES)
def test_role_is_given_settings_that_it_knows(role: str, spec: Any) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in SETTINGS[role].model_fields}
    given = {each["name"] for each in spec["containers"][0]["env"]}

    assert {name for name in given if name.startswith(PREFIX)} <= known
    # The command line's own variables are no settings of a role.
    assert role == "migrations" or not given & COMMAND_LINE_VARIABLES


@pytest.mark.parametrize(("role", "spec"), ROLES)
def test_role_is_given_every_setting_that_it_requires(role: str, spec: Any) -> None:
    required = {
        f"{PREFIX}{name.upper()}"
        for name, field in SETTINGS[role].model_fields.items()
        if field.is_required()
    }

    assert required <= {each["name"] for each in spec["containers"][0]["env"]}


@pytest.mark.parametrize(("role", "spec"), ROLES)
def test_role_reads_what_it_is_given(role: str, spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for each in spec["containers"][0]["env"]:
        is_amount = "resourceFieldRef" in each.get("valueFrom", {})
        monkeypatch.setenv(each["name"], each.get("value", "512" if is_amount else "s" * 32))

    load_settings(SETTINGS[role])


@pytest.mark.parametrize(("role", "spec"), ROLES)
def test_secrets_come_from_secrets(role: str, spec: Any) -> None:
    secrets = {
        f"{PREFIX}{name.upper()}"
        for name, field in SETTINGS[role].model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    for each in spec["containers"][0]["env"]:
        if each["name"] in secrets and "value" in each:
            # A URL whose password Kubernetes puts in when it starts the container.
            assert re.search(r"://\w+:\$\((DATABASE|NATS)_PASSWORD\)@", each["value"])
        if each["name"].endswith("_PASSWORD"):
            assert each["valueFrom"].keys() == {"secretKeyRef"}


def test_no_role_reads_the_secret_of_another() -> None:
    read = {
        role: {
            each["valueFrom"]["secretKeyRef"]["name"]
            for each in spec["containers"][0]["env"]
            if "secretKeyRef" in each.get("valueFrom", {})
        }
        for role, spec in pod_specs(ALL["production"]).items()
    }

    assert all(len(secrets) == 1 for secrets in read.values())
    assert len({min(secrets) for secrets in read.values()}) == len(read)


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_job_begun_by_hand_reaches_what_the_job_that_migrates_does(example: str) -> None:
    """Commands of runbooks need the admin users, whose passwords no role has."""
    manifests = ALL[example]
    migrates = pod_specs(manifests)["migrations"]
    template = admin_template(manifests)
    (container,) = template["spec"]["containers"]
    (cron_job,) = of_kind(manifests, "CronJob")
    (policy,) = (
        each for each in of_kind(manifests, "NetworkPolicy") if component(each) == "migrations"
    )

    assert cron_job["spec"]["suspend"] is True
    assert container["env"] == migrates["containers"][0]["env"]
    assert template["spec"]["volumes"] == migrates["volumes"]
    assert (
        policy["spec"]["podSelector"]["matchLabels"].items()
        <= template["metadata"]["labels"].items()
    )


def test_job_begun_by_hand_has_the_claim_that_is_named() -> None:
    """A backup of the streams outlives the pod that takes it."""
    changes = {"admin": {"existingClaim": "tieline-backup"}}
    template = admin_template(render(merged(example_values("production"), changes)))
    (container,) = template["spec"]["containers"]

    assert {"name": "backup", "mountPath": "/backup"} in container["volumeMounts"]
    assert {
        "name": "backup",
        "persistentVolumeClaim": {"claimName": "tieline-backup"},
    } in template["spec"]["volumes"]


def files_named(spec: Any) -> set[str]:
    """Return the files below /etc/tieline that settings, DSNs and arguments of a pod name."""
    texts = [
        text
        for each in containers(spec)
        for text in (*each.get("args", []), *(one.get("value", "") for one in each["env"]))
    ]
    return {path for text in texts for path in re.findall(r"/etc/tieline/[^&\s]+", text)}


def files_mounted(spec: Any) -> set[str]:
    return {
        f"/etc/tieline/{volume['name']}/{item['path']}"
        for volume in spec["volumes"]
        if "secret" in volume
        for item in volume["secret"]["items"]
    }


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("has_edge", [False, True])
def test_no_pod_holds_a_key_that_it_does_not_read(*, asks: bool, has_edge: bool) -> None:
    """A pod that reads an authority's certificate is not given the authority's private key."""
    changes = {
        "tls": {"clientCertificates": asks},
        "roles": {"edge": {"enabled": has_edge}},
        "edge": {"tlsExistingSecret": "edge-tls" if has_edge else ""},
        "test": {"caExistingSecret": "edge-authority"} if has_edge else {"serverName": ""},
    }
    specs = pod_specs(render(merged(example_values("production"), changes)))

    assert files_mounted(specs["messaging"]) >= {"/etc/tieline/database-ca/ca.crt"}
    for name, spec in specs.items():
        assert files_mounted(spec) == files_named(spec), name


def allowed_to_operator(manifests: list[Manifest]) -> set[tuple[str, str, str, str]]:
    """Return what the Role allows: group, resource, name (empty for any), verb."""
    (role,) = of_kind(manifests, "Role")
    return {
        (group, resource, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def test_operator_may_do_what_it_does_and_nothing_else() -> None:
    ours = ("surgepolicies", "surgewindows", "surgeoverrides")
    group = "scaling.tieline.dev"
    name = "tieline-operator"

    assert allowed_to_operator(ALL["production"]) == {
        *((group, each, "", verb) for each in ours for verb in ("list", "watch")),
        *((group, f"{each}/status", "", "patch") for each in ours),
        *(("apps", "deployments", "", verb) for verb in ("list", "watch")),
        *(("apps", "deployments/scale", f"tieline-{role}", "patch") for role in SERVICES),
        *(("", "pods", "", verb) for verb in ("list", "watch")),
        *(("autoscaling", "horizontalpodautoscalers", "", verb) for verb in ("list", "watch")),
        ("", "events", "", "create"),
        *(("", "configmaps", f"{name}-memory", verb) for verb in ("get", "patch")),
        *(("coordination.k8s.io", "leases", name, verb) for verb in ("get", "update")),
        ("coordination.k8s.io", "leases", "", "create"),
    }
    assert of_kind(ALL["production"], "ClusterRole", "ClusterRoleBinding") == []


def test_operator_may_scale_what_has_a_policy_and_what_is_named() -> None:
    changes = {
        "surge": {"extraDeployments": ["crm-connector"]},
        "roles": {"payments": {"surge": {"enabled": False}}},
    }
    manifests = render(merged(example_values("gateway"), changes))
    scaled = {
        name
        for _, resource, name, _ in allowed_to_operator(manifests)
        if resource == "deployments/scale"
    }

    targets = {each["spec"]["targetRef"]["name"] for each in of_kind(manifests, "SurgePolicy")}
    assert scaled == targets | {"crm-connector"}
    assert "tieline-payments" not in scaled


def test_operator_that_scales_nothing_may_scale_nothing() -> None:
    manifests = render(
        merged(example_values("gateway"), {"defaults": {"surge": {"enabled": False}}})
    )

    assert "deployments/scale" not in {one for _, one, _, _ in allowed_to_operator(manifests)}


def test_place_for_what_the_operator_learns_is_there_and_empty() -> None:
    names = {
        name
        for _, resource, name, _ in allowed_to_operator(ALL["gateway"])
        if resource == "configmaps"
    }
    (place,) = (
        each for each in of_kind(ALL["gateway"], "ConfigMap") if component(each) == "operator"
    )

    assert names == {place["metadata"]["name"]}
    # What stands in a manifest an upgrade would put back.
    assert place.keys() == {"apiVersion", "kind", "metadata"}
