"""Objects of kinds that others define have fields that those kinds have."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from foreign_kinds import SPECS, find_problems, find_problems_of_nats
from rendered_chart import CHART, EXAMPLES, ROOT, Manifest, example_values, of_kind, rendered
from tieline.chassis.streams import SERVICES

FOLDER = ROOT / "helm" / "examples"
NATS_FILES = (CHART / "files" / "nats-values.yaml", FOLDER / "production" / "nats-tls.yaml")


def load(*names: str) -> list[Manifest]:
    """Return the manifests of files of the examples."""
    texts = [(FOLDER / name).read_text(encoding="utf-8") for name in names]
    return [each for text in texts for each in yaml.load_all(text, yaml.CSafeLoader) if each]


FILES = sorted(
    str(path.relative_to(FOLDER))
    for path in FOLDER.glob("*/*.yaml")
    # Values have tests of their own, and so have our own kinds.
    if path.name != "values.yaml" and path not in NATS_FILES and path.parent.name != "scaling"
)


@pytest.mark.parametrize("name", FILES)
def test_every_object_of_an_example_has_known_fields(name: str) -> None:
    for manifest in load(name):
        assert find_problems(manifest) == [], manifest["metadata"]["name"]


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_every_foreign_object_of_the_release_has_known_fields(example: str) -> None:
    kinds = {kind for _, kind in SPECS}

    for manifest in of_kind(rendered(example), *kinds):
        assert find_problems(manifest) == [], manifest["metadata"]["name"]


@pytest.mark.parametrize("path", NATS_FILES, ids=lambda path: path.name)
def test_values_for_the_chart_of_nats_are_known_to_it(path: Any) -> None:
    values = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)

    assert find_problems_of_nats(values) == []


def misspelled(value: Any, closed: Any) -> Iterator[Any]:
    """Yield copies of a value in each of which one field within ``closed`` has another name."""

    def paths(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if isinstance(part, dict):
            for name, each in part.items():
                yield (*path, name)
                yield from paths(each, (*path, name))
        elif isinstance(part, list):
            for index, each in enumerate(part):
                yield from paths(each, (*path, index))

    for *parents, name in paths(value):
        if closed((*parents, name)):
            changed = copy.deepcopy(value)
            target = changed
            for parent in parents:
                target = target[parent]
            target[name + "s"] = target.pop(name)
            yield changed


def is_of_the_kind(path: tuple[Any, ...]) -> bool:
    """Tell whether a name is one of the kind, and not one that people choose."""
    chosen = {"parameters", "matchLabels", "labels", "annotations"}
    return not chosen & set(path[:-1])


@pytest.mark.parametrize("name", FILES)
def test_a_misspelled_field_is_found_wherever_it_is(name: str) -> None:
    for manifest in load(name):
        spec_only = [
            {**manifest, "spec": spec} for spec in misspelled(manifest["spec"], is_of_the_kind)
        ]

        assert spec_only
        assert [each for each in spec_only if not find_problems(each)] == []


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule", "CapacityBuffer"])
def test_a_misspelled_field_of_the_release_is_found(kind: str) -> None:
    (manifest,) = of_kind(rendered("production"), kind)

    for spec in misspelled(manifest["spec"], is_of_the_kind):
        assert find_problems({**manifest, "spec": spec})


@pytest.mark.parametrize(
    "values",
    [
        {"config": {"jetstreams": {"enabled": True}}},
        {"config": {"jetstream": {"fileStore": {"pvc": {"sise": "1Gi"}}}}},
        {"config": {"nats": {"tls": {"secret": "a"}}}},
        {"tlsCa": {"enabled": True}},
        {"config": {"cluster": {"replicas": "3"}}},
    ],
)
def test_a_misspelled_value_for_the_chart_of_nats_is_found(values: dict[str, Any]) -> None:
    assert find_problems_of_nats(values) != []


@pytest.mark.parametrize("example", ["production", "citus"])
def test_postgresql_has_the_roles_and_secrets_that_the_values_name(example: str) -> None:
    values = example_values(example)
    secrets = {name: values["roles"][name]["existingSecret"] for name in SERVICES}

    for cluster in load(f"{example}/postgresql.yaml"):
        spec = cluster["spec"]
        roles = {each["name"]: each["passwordSecret"]["name"] for each in spec["managed"]["roles"]}

        assert roles == {f"tieline_{name}": secret for name, secret in secrets.items()}
        assert spec["superuserSecret"]["name"] == values["migrations"]["existingSecret"]


def test_certificates_are_kept_in_the_secrets_that_the_values_name() -> None:
    values = example_values("production")
    certificates = of_kind(load("production/certificates.yaml"), "Certificate")
    made = {each["spec"]["secretName"] for each in certificates}

    assert made >= {
        values["tls"]["existingSecret"],
        values["nats"]["tls"]["caExistingSecret"],
        values["edge"]["tlsExistingSecret"],
    }


def test_routes_lead_to_the_services_of_the_release() -> None:
    services = {
        (each["metadata"]["name"], port["port"])
        for each in of_kind(rendered("gateway"), "Service")
        for port in each["spec"]["ports"]
    }
    led_to = {
        (backend["name"], backend["port"])
        for route in load("gateway/routes.yaml")
        for rule in route["spec"]["rules"]
        for backend in rule["backendRefs"]
    }

    assert led_to == services
