"""What the chart renders is what Kubernetes and our own definitions take."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from fakes.kubernetes_api.definitions import load_definitions
from rendered_chart import (
    EXAMPLES,
    ROOT,
    Manifest,
    example_values,
    merged,
    of_kind,
    render,
    rendered,
)

# The oldest that Chart.yaml takes, and the newest whose schemas are known.
VERSIONS = ("1.29", kubernetes_validate.latest_version())

# Kinds of others, whose definitions are not here.
FOREIGN_KINDS = {"PodMonitor", "PrometheusRule", "CapacityBuffer"}

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
