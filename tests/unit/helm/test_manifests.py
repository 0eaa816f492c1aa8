"""What the chart renders is what Kubernetes and our own definitions take."""

import json
import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fakes.kubernetes_api.definitions import load_definitions
from foreign_kinds import SPECS
from rendered_chart import (
    CHART,
    EXAMPLES,
    ROOT,
    Manifest,
    example_values,
    merged,
    of_kind,
    pod_specs,
    render,
    rendered,
)

# The oldest that Chart.yaml takes, and the newest whose schemas are known.
VERSIONS = ("1.29", kubernetes_validate.latest_version())

# Kinds of others, for which test_foreign_examples is.
FOREIGN_KINDS = {kind for _, kind in SPECS}

DEFINITIONS = {
    each.kind: each for each in load_definitions(ROOT / "helm" / "tieline-crds" / "templates")
}
EVERY_EXAMPLE = pytest.mark.parametrize("example", sorted(EXAMPLES))


def core_manifests(example: str) -> list[Manifest]:
    own = FOREIGN_KINDS | DEFINITIONS.keys()
    return [each for each in rendered(example) if each["kind"] not in own]


@EVERY_EXAMPLE
@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(example: str, version: str) -> None:
    for manifest in core_manifests(example):
        kubernetes_validate.validate(dict(manifest), version, strict=True)


@EVERY_EXAMPLE
def test_every_policy_is_valid_and_has_no_field_that_nobody_knows(example: str) -> None:
    for manifest in of_kind(rendered(example), *DEFINITIONS):
        definition = DEFINITIONS[manifest["kind"]]
        completed = definition.complete(manifest)

        assert definition.find_problems(completed) == []
        assert manifest["spec"].keys() <= completed["spec"].keys()


@EVERY_EXAMPLE
def test_every_object_is_named_once_in_its_namespace(example: str) -> None:
    named = [
        (each["kind"], each["metadata"]["name"], each["metadata"]["namespace"])
        for each in rendered(example)
    ]

    assert len(named) == len(set(named))
    assert {namespace for _, _, namespace in named} == {"connect"}


def test_long_release_name_still_makes_valid_names() -> None:
    manifests = render(example_values("trial"), name="r" * 53)

    # The longest name that a Service may have.
    assert max(len(each["metadata"]["name"]) for each in manifests) <= 63


def test_trial_keeps_its_database_on_the_claim_whatever_volumes_its_image_declares() -> None:
    """PostgreSQL's images declare one at the data folder up to 17, and one above it from 18 on."""
    (container,) = pod_specs(rendered("trial"))["postgresql"]["containers"]
    (claimed,) = (each["mountPath"] for each in container["volumeMounts"] if each["name"] == "data")
    folder = next(each["value"] for each in container["env"] if each["name"] == "PGDATA")

    # Of a claim from before, too, the folder `data`.
    assert folder == f"{claimed}/data"
    assert not f"{claimed}/".startswith("/var/lib/postgresql/")


def test_scaled_deployment_leaves_its_replicas_to_the_policy() -> None:
    manifests = rendered("production")
    targets = {each["spec"]["targetRef"]["name"] for each in of_kind(manifests, *DEFINITIONS)}

    for deployment in of_kind(manifests, "Deployment"):
        is_scaled = deployment["metadata"]["name"] in targets
        assert is_scaled != ("replicas" in deployment["spec"])
    assert len(targets) == 5


def test_settings_keep_the_form_of_their_numbers() -> None:
    # A YAML number that becomes 5e+07 would be refused by the role.
    values = merged(
        example_values("production"),
        {"roles": {"directory": {"settings": {"TIELINE_IMPORT_MAX_BYTES": 50_000_000}}}},
    )
    (deployment,) = (
        each
        for each in of_kind(render(values), "Deployment")
        if each["metadata"]["name"] == "tieline-directory"
    )
    environment: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"][0][
        "env"
    ]

    assert {"name": "TIELINE_IMPORT_MAX_BYTES", "value": "50000000"} in environment


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({}, "150"),
        ({"roles": {"messaging": {"surge": {"maxReplicas": 200}, "maxSurge": "1%"}}}, "404"),
        ({"defaults": {"surge": {"maxReplicas": 3}}}, "64"),
        ({"roles": {"contacts": {"surge": {"enabled": False}, "replicas": 99}}}, "248"),
    ],
)
def test_the_edge_has_a_place_for_every_pod_that_a_service_may_have(
    changes: dict[str, Any], places: str
) -> None:
    edge = pod_specs(render(merged(example_values("production"), changes)))["edge"]
    (given,) = (
        each["value"]
        for each in edge["containers"][0]["env"]
        if each["name"] == "TIELINE_EDGE_MAX_REPLICAS"
    )

    assert given == places


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        pytest.param(
            {},
            {"valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            id="the pod's limit",
        ),
        pytest.param({"TIELINE_EDGE_MEMORY_MIB": 300}, {"value": "300"}, id="a setting"),
    ],
)
def test_the_edge_knows_its_memory(settings: dict[str, Any], given: dict[str, Any]) -> None:
    values = merged(example_values("production"), {"roles": {"edge": {"settings": settings}}})
    edge = pod_specs(render(values))["edge"]

    told = [each for each in edge["containers"][0]["env"] if each["name"].endswith("MEMORY_MIB")]

    assert told == [{"name": "TIELINE_EDGE_MEMORY_MIB", **given}]


def test_migrations_end_before_new_pods_start_and_do_not_run_before_a_rollback() -> None:
    (job,) = of_kind(rendered("production"), "Job")

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_tables_are_distributed_once_they_are_made() -> None:
    (job,) = of_kind(rendered("citus"), "Job")
    spec = job["spec"]["template"]["spec"]
    (first,), (then,) = spec["initContainers"], spec["containers"]

    assert (first["args"], then["args"]) == (["migrate"], ["migrate", "--citus"])
    assert first["env"] == then["env"]


def test_every_node_of_the_citus_example_has_the_roles_and_their_secrets() -> None:
    text = (EXAMPLES["citus"].parent / "postgresql.yaml").read_text(encoding="utf-8")
    clusters = list(yaml.load_all(text, yaml.CSafeLoader))
    values = example_values("citus")
    wanted = {
        (f"tieline_{role}", given["existingSecret"])
        for role, given in values["roles"].items()
        if role != "operator"
    }

    assert values["database"]["host"] == f"{clusters[0]['metadata']['name']}-rw"
    assert len(clusters) == 3
    for cluster in clusters:
        roles = cluster["spec"]["managed"]["roles"]
        assert {(each["name"], each["passwordSecret"]["name"]) for each in roles} == wanted
        secret = cluster["spec"]["superuserSecret"]["name"]
        assert secret == values["migrations"]["existingSecret"]
        assert cluster["spec"]["postgresql"]["shared_preload_libraries"] == ["citus"]


def test_trial_migrates_without_a_hook_since_its_database_is_of_the_release() -> None:
    (job,) = of_kind(rendered("trial"), "Job")

    assert "annotations" not in job["metadata"]
    assert job["metadata"]["name"].endswith("-1")


def policies(changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the policies' specs by service, complete as the API stores them."""
    manifests = of_kind(render(merged(example_values("gateway"), changes)), "SurgePolicy")
    definition = DEFINITIONS["SurgePolicy"]
    completed = [definition.complete(each) for each in manifests]
    assert [definition.find_problems(each) for each in completed] == [[]] * len(completed)
    return {each["spec"]["service"]: each["spec"] for each in completed}


def test_every_field_of_a_policy_can_be_given_in_the_values() -> None:
    given = {
        "mode": "Advisory",
        "capacity": {"targetUtilizationPercent": 70, "warmupSeconds": 30},
        "surge": {"reservePercent": 30, "queueWaitMilliseconds": 40},
        "scaleDown": {"windowSeconds": 120},
        "prediction": {"mode": "Floor"},
        "signals": {"staleAfterSeconds": 10},
        "fallback": {"behavior": "RaiseToReplicas", "replicas": 8},
        "upstreams": [{"name": "gateway", "fanoutMilli": 1_000_000}],
    }
    changes = {
        "defaults": {"surge": {"policy": {"prediction": {"mode": "Floor"}}}},
        "roles": {"contacts": {"surge": {"policy": given}}},
    }
    specs = policies(changes)

    for name, value in given.items():
        found = specs["contacts"][name]
        assert found | value == found if isinstance(value, dict) else found == value
    assert specs["contacts"]["capacity"]["requestsPerSecondPerPod"] == 1500
    assert specs["payments"]["prediction"]["mode"] == "Floor"
    # What a role says of its own does not take away what it has from all.
    assert specs["messaging"]["upstreams"] == [{"name": "payments"}]


def test_callers_are_those_that_ask_over_nats_and_that_have_a_policy() -> None:
    text = (CHART.parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = (line.split("|") for line in text.splitlines() if line.count("|") == 7)
    asked = {row[1].strip(): set(re.findall(r"(\w+): `", row[6])) for row in rows}
    specs = policies({})

    called = {
        (caller["name"], name) for name, spec in specs.items() for caller in spec["upstreams"]
    }
    asks = {(asker, name) for asker, names in asked.items() for name in names}
    # A ring would be cut by the operator, somewhere: clients call identity first.
    assert called == asks - {("directory", "identity")}
    alone = policies({"roles": {"messaging": {"surge": {"enabled": False}}}})
    assert alone["directory"]["upstreams"] == [{"name": "identity"}]
    assert alone["identity"]["upstreams"] == []


def test_values_know_of_a_policy_what_its_definition_knows() -> None:
    def strict(part: Any) -> dict[str, Any]:
        rules = {"type", "enum", "minimum", "maximum", "minLength", "maxLength", "maxItems"}
        kept = {key: value for key, value in part.items() if key in rules | {"required"}}
        if "properties" in part:
            kept["additionalProperties"] = False
            kept["properties"] = {name: strict(one) for name, one in part["properties"].items()}
        if "items" in part:
            kept["items"] = strict(part["items"])
        return kept

    expected = strict(DEFINITIONS["SurgePolicy"].schema["properties"]["spec"])
    # What has values of its own.
    del expected["required"]
    for name in ("targetRef", "service", "minReplicas", "maxReplicas", "priority"):
        del expected["properties"][name]
    del expected["properties"]["capacity"]["required"]
    del expected["properties"]["capacity"]["properties"]["requestsPerSecondPerPod"]

    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert schema["$defs"]["policy"] == expected
