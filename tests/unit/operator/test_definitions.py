"""The custom resource definitions: readable, bounded, and strict about what they are given."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.kubernetes_api.definitions import Definition, load_definitions, publish, walk
from tieline.operator import fleet
from tieline.operator.definitions import READ_FIELDS, find_older
from tieline.operator.policy import override_from_spec, policy_from_spec
from tieline.operator.resources import GROUP, VERSION
from tieline.operator.windows import window_from_spec

HELM = Path(__file__).parents[3] / "helm"
DEFINITIONS = {each.kind: each for each in load_definitions(HELM / "tieline-crds" / "templates")}
EXAMPLES = sorted((HELM / "examples" / "scaling").glob("*.yaml"))
BY_KIND = pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)

POLICY = {
    "targetRef": {"name": "messaging"},
    "maxReplicas": 9,
    "capacity": {"requestsPerSecondPerPod": 100},
}
WINDOW = {
    "policies": ["messaging"],
    "start": "2027-02-15T08:00:00+08:00",
    "end": "2027-02-15T10:00:00+08:00",
    "minReplicas": 5,
}
OVERRIDE = {
    "policyRef": {"name": "messaging"},
    "action": "Pin",
    "replicas": 5,
    "expiresAt": "2027-02-15T10:00:00+08:00",
    "reason": "INC-1",
}
GOOD = {"SurgePolicy": POLICY, "SurgeWindow": WINDOW, "SurgeOverride": OVERRIDE}


def find_problems(kind: str, spec: Any, before: Any = None) -> list[str]:
    definition = DEFINITIONS[kind]
    old = None if before is None else definition.complete({"spec": before})
    return definition.find_problems(definition.complete({"spec": copy.deepcopy(spec)}), old)


@BY_KIND
def test_every_field_is_described_and_bounded(definition: Definition) -> None:
    faults = []
    for path, part in walk(definition.schema):
        is_of_api = path in (".apiVersion", ".kind", ".metadata", ".status", "", ".spec")
        if not part.get("description") and path != ".metadata":
            faults.append(f"{path} has no description")
        if part.get("type") == "number":
            faults.append(f"{path} is a float")
        if part.get("type") == "integer" and path.startswith(".spec"):
            faults += [f"{path} has no {one}" for one in ("minimum", "maximum") if one not in part]
        if part.get("type") == "array" and "maxItems" not in part:
            faults.append(f"{path} has no maxItems")
        is_text = part.get("type") == "string" and not is_of_api
        if is_text and not {"maxLength", "enum", "format"} & part.keys():
            faults.append(f"{path} has no maxLength")
    assert faults == []


NO_DEFAULT = {
    ".spec.service": "is the target's name",
    ".spec.fallback.replicas": "is for one behavior, which requires it",
    ".spec.upstreams": "are none",
    ".spec.upstreams[].fanoutMilli": "is learned",
    ".spec.policies": "or policySelector",
    ".spec.policySelector": "or policies",
    ".spec.start": "or schedule",
    ".spec.end": "goes with start",
    ".spec.schedule": "or start",
    ".spec.durationSeconds": "goes with schedule",
    ".spec.timeZone": "would be refused beside start; UTC is the operator's",
    ".spec.minReplicas": "or multiplierPercent, in a window",
    ".spec.multiplierPercent": "or minReplicas",
    ".spec.replicas": "is for some actions, which require it",
}


def test_every_field_that_may_be_left_out_has_a_default_or_a_reason() -> None:
    lacking = set()
    for definition in DEFINITIONS.values():
        for path, part in walk(definition.schema):
            if not path.startswith(".spec"):
                continue
            for name, field in part.get("properties", {}).items():
                if name not in part.get("required", ()) and "default" not in field:
                    lacking.add(f"{path}.{name}")

    assert lacking == NO_DEFAULT.keys()


@BY_KIND
def test_columns_are_described_and_read_what_there_is(definition: Definition) -> None:
    known = {path for path, _ in walk(definition.schema)}

    for column in definition.columns:
        assert column["description"]
        path = column["jsonPath"].split("[")[0]
        assert path in known | {".metadata.creationTimestamp"}, column["name"]


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples_are_accepted_by_the_schema_and_read_by_the_operator(path: Path) -> None:
    manifest = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    completed = DEFINITIONS[manifest["kind"]].complete(manifest)

    assert DEFINITIONS[manifest["kind"]].find_problems(completed) == []
    # Nothing was pruned: a misspelled field would silently do nothing.
    assert completed["spec"] | manifest["spec"] | completed["spec"] == completed["spec"]
    match manifest["kind"]:
        case "SurgePolicy":
            policy_from_spec(completed["spec"])
        case "SurgeWindow":
            window_from_spec("w", completed["spec"])
        case "SurgeOverride":
            override_from_spec("o", completed["spec"], 0.0)


def test_defaults_of_the_schema_are_those_of_the_operator() -> None:
    completed = DEFINITIONS["SurgePolicy"].complete({"spec": POLICY})["spec"]

    assert policy_from_spec(completed) == policy_from_spec({**POLICY, "service": "messaging"})


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("SurgePolicy", {"minReplicas": 10}, "minReplicas must not be above"),
        ("SurgePolicy", {"maxReplicas": 0}, "maxReplicas"),
        ("SurgePolicy", {"maxReplicas": 2.5}, "maxReplicas"),
        ("SurgePolicy", {"mode": "Off"}, "mode"),
        ("SurgePolicy", {"targetRef": {"name": "a", "kind": "StatefulSet"}}, "kind"),
        ("SurgePolicy", {"capacity": {}}, "requestsPerSecondPerPod"),
        ("SurgePolicy", {"fallback": {"behavior": "RaiseToReplicas"}}, "fallback.replicas"),
        ("SurgePolicy", {"scaleDown": {"windowSeconds": 301}}, "windowSeconds must not be"),
        ("SurgePolicy", {"upstreams": [{"name": f"u{n}"} for n in range(10_000)]}, "upstreams"),
        ("SurgeWindow", {"end": "2027-02-15T07:00:00+08:00"}, "end must be after start"),
        ("SurgeWindow", {"schedule": "30 8 * * 1"}, "either start and end, or schedule"),
        ("SurgeWindow", {"multiplierPercent": 200}, "either minReplicas or multiplierPercent"),
        ("SurgeWindow", {"policies": []}, "policies"),
        ("SurgeWindow", {"timeZone": "Asia/Shanghai"}, "timeZone is for a schedule"),
        ("SurgeOverride", {"action": "Freeze"}, "replicas are for Pin"),
        ("SurgeOverride", {"reason": ""}, "reason"),
        ("SurgeOverride", {"expiresAt": None}, "expiresAt"),
        ("SurgeOverride", {"expiresAt": "soon"}, "expiresAt"),
        ("SurgeOverride", {"expiresAt": "2027-02-30T10:00:00Z"}, "expiresAt"),
        ("SurgeOverride", {"expiresAt": "2027-02-15T10:00:00"}, "expiresAt"),
        ("SurgeWindow", {"end": "2027-02-15"}, "end"),
        # As a text the end would be after the start.
        (
            "SurgeWindow",
            {"start": "2027-02-15T10:00:00+08:00", "end": "2027-02-15T11:00:00+10:00"},
            "after",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_schema(
    kind: str, changes: dict[str, Any], words: str
) -> None:
    assert find_problems(kind, GOOD[kind]) == []

    problems = find_problems(kind, {**GOOD[kind], **changes})

    assert any(words in problem for problem in problems), problems


def test_times_are_compared_as_times_whatever_their_offsets() -> None:
    # As a text the end would be before the start.
    over_night = {"start": "2027-02-15T08:00:00+08:00", "end": "2027-02-15T03:00:00Z"}

    assert find_problems("SurgeWindow", {**WINDOW, **over_night}) == []


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("SurgePolicy", {"targetRef": {"name": "contacts"}}),
        ("SurgeOverride", {"replicas": 6}),
    ],
)
def test_what_others_rely_on_can_not_be_changed(kind: str, changes: dict[str, Any]) -> None:
    assert find_problems(kind, GOOD[kind], before=GOOD[kind]) == []
    assert find_problems(kind, {**GOOD[kind], **changes}, before=GOOD[kind])


REQUIRED = ("maxReplicas", "capacity.requestsPerSecondPerPod")


def documented(table: str) -> dict[str, str]:
    """Return the second cell of each row of a table of the operator's page, by the first one."""
    text = (HELM.parent / "docs" / "operator.md").read_text(encoding="utf-8")
    rows = text.split(f"| {table} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0]: row[1] for row in cells}


def test_fields_on_the_operators_page_are_the_definitions_with_their_defaults() -> None:
    schema = dict(walk(DEFINITIONS["SurgePolicy"].schema))
    rows = documented("field")

    for fields, default in rows.items():
        for name, told in zip(re.findall(r"`([^`]+)`", fields), default.split(", "), strict=False):
            part = schema[f".spec.{name}"]
            assert told in ("required", str(part.get("default", "none"))), name
            assert (told == "required") == (name in REQUIRED)
    assert len(rows) >= 10


def test_operators_page_names_every_reason_that_a_policy_is_not_ready() -> None:
    sources = Path(fleet.__file__).parent
    troubles = re.findall(
        r'Trouble\(\s*"(\w+)"', (sources / "fleet.py").read_text(encoding="utf-8")
    )
    words = (sources / "decision_words.py").read_text(encoding="utf-8")
    reasons = re.findall(r'"Ready", "\w+", "(\w+)"', words)

    told = documented("condition")["Ready"]
    of_windows = {"NoPolicy", "PolicyNotFound"}
    assert len(reasons) == 3
    for reason in {*troubles, *reasons} - of_windows:
        assert reason in told


@BY_KIND
def test_the_fields_that_must_be_defined_are_all_there_are(definition: Definition) -> None:
    parts = dict(walk(definition.schema))
    leaves = {
        # Of a list or a map of texts the whole is the field.
        path.removeprefix(".spec.").removesuffix("[]").removesuffix("{}")
        for path, part in parts.items()
        if path.startswith(".spec.")
        and "properties" not in part
        and "properties" not in parts.get(f"{path}[]", {})
    }

    assert leaves == set(READ_FIELDS[definition.kind])


def test_definitions_of_this_version_and_newer_ones_are_not_older() -> None:
    published = publish(DEFINITIONS.values(), GROUP, VERSION)
    newer = copy.deepcopy(published)
    for schema in newer["components"]["schemas"].values():
        schema["properties"]["spec"]["properties"]["brandNew"] = {"type": "string"}

    assert find_older(published) == ""
    assert find_older(newer) == ""


def test_older_definitions_are_named_with_what_they_lack() -> None:
    published = copy.deepcopy(publish(DEFINITIONS.values(), GROUP, VERSION))
    schemas = published["components"]["schemas"]
    policy = schemas["dev.tieline.scaling.v1alpha1.SurgePolicy"]["properties"]["spec"]["properties"]
    del policy["surge"]["properties"]["reservePercent"]
    del policy["upstreams"]["items"]["properties"]["fanoutMilli"]
    del schemas["dev.tieline.scaling.v1alpha1.SurgeOverride"]

    assert find_older(published) == (
        "the cluster's definitions are older than this operator "
        "(SurgePolicy without spec.surge.reservePercent, spec.upstreams[].fanoutMilli; "
        "SurgeOverride without spec.policyRef.name, spec.action, spec.replicas, spec.expiresAt, "
        "spec.reason): "
        "install or upgrade the chart helm/tieline-crds in this operator's version first"
    )


def test_a_cluster_without_definitions_is_told_of_the_chart() -> None:
    assert find_older({}).startswith("the cluster has no definitions of scaling.tieline.dev/")
