"""The examples of windows, overrides and policies, beside the policies of the chart."""

from typing import Any

import yaml

from rendered_chart import ROOT, example_values, merged, of_kind, pod_specs, render, rendered
from tieline.operator.windows import window_from_spec

SCALING = ROOT / "helm" / "examples" / "scaling"
POLICIES = of_kind(rendered("production"), "SurgePolicy")
LABELS = {each["metadata"]["name"]: each["metadata"]["labels"] for each in POLICIES}


def examples(kind: str) -> dict[str, Any]:
    found = {}
    for path in sorted(SCALING.glob("*.yaml")):
        manifest = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
        if manifest.get("kind") == kind:
            found[path.name] = manifest
    assert found, f"there is an example of a {kind}"
    return found


def documented_windows() -> list[Any]:
    text = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    blocks = [block.split("```", 1)[0] for block in text.split("```yaml\n")[1:]]
    manifests = [yaml.load(block, yaml.CSafeLoader) for block in blocks]
    return [each for each in manifests if each.get("kind") == "SurgeWindow"]


def test_every_window_that_is_shown_is_for_policies_that_the_chart_makes() -> None:
    for manifest in [*examples("SurgeWindow").values(), *documented_windows()]:
        window = window_from_spec(manifest["metadata"]["name"], manifest["spec"])
        meant = {name for name, labels in LABELS.items() if window.is_for(name, labels)}

        assert meant, window.name
        assert set(window.policies) <= meant


def test_every_override_that_is_shown_is_for_a_policy_that_the_chart_makes() -> None:
    for manifest in examples("SurgeOverride").values():
        assert manifest["spec"]["policyRef"]["name"] in LABELS


def test_no_policy_that_is_shown_takes_the_target_or_the_name_of_one_of_the_chart() -> None:
    targets = {each["spec"]["targetRef"]["name"] for each in POLICIES}

    for manifest in examples("SurgePolicy").values():
        assert manifest["spec"]["targetRef"]["name"] not in targets
        assert manifest["metadata"]["name"] not in LABELS


def test_a_role_of_another_tier_is_left_out_of_the_window_for_the_first() -> None:
    changes = {"roles": {"contacts": {"surge": {"tier": "background"}}}}
    policies = of_kind(render(merged(example_values("gateway"), changes)), "SurgePolicy")
    window = window_from_spec("w", examples("SurgeWindow")["first-working-day.yaml"]["spec"])

    meant = {
        each["spec"]["service"]
        for each in policies
        if window.is_for(each["metadata"]["name"], each["metadata"]["labels"])
    }

    assert meant == {"identity", "directory", "messaging", "payments"}


def test_pods_bound_what_waits_by_the_capacity_of_their_policy() -> None:
    changes = {"roles": {"contacts": {"surge": {"requestsPerSecondPerPod": 700}}}}
    specs = pod_specs(render(merged(example_values("gateway"), changes)))

    def told(role: str) -> str | None:
        variables = {one["name"]: one.get("value") for one in specs[role]["containers"][0]["env"]}
        return variables.get("TIELINE_CAPACITY_PER_S")

    assert told("contacts") == "700"
    assert told("messaging") == "1500"
    assert told("operator") is None


def test_whoever_scales_a_role_otherwise_says_what_a_pod_does() -> None:
    changes = {"roles": {"contacts": {"surge": {"enabled": False}}}}
    specs = pod_specs(render(merged(example_values("gateway"), changes)))
    names = {one["name"] for one in specs["contacts"]["containers"][0]["env"]}
    assert "TIELINE_CAPACITY_PER_S" not in names
