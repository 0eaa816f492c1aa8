"""What the examples render and say in their notes is what was reviewed; `make golden` renews it."""

import re
from collections.abc import Iterator

import pytest

from chart_summary import EXAMPLES, GOLDEN, notes, shorten, summaries, summary
from fakes.kubernetes_api.definitions import load_definitions
from rendered_chart import ROOT, Manifest, component, of_kind, rendered

DEFINITIONS = load_definitions(ROOT / "helm" / "tieline-crds" / "templates")
EVERY_EXAMPLE = pytest.mark.parametrize("example", EXAMPLES)


@pytest.mark.parametrize("name", sorted(summaries()))
def test_what_is_rendered_was_reviewed(name: str) -> None:
    reviewed = (GOLDEN / name).read_text(encoding="utf-8")

    assert summaries()[name] == reviewed, "run `make golden` and look at what changed"


def test_nothing_else_lies_beside_what_is_reviewed() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(summaries())


@EVERY_EXAMPLE
def test_every_object_stands_in_the_list(example: str) -> None:
    entries = re.findall(r"^(\w+ [a-z0-9-]+):", summary(rendered(example)), re.MULTILINE)

    assert entries == sorted(
        f"{each['kind']} {each['metadata']['name']}" for each in rendered(example)
    )


def test_no_password_stands_in_the_list() -> None:
    (secret,) = of_kind(rendered("trial"), "Secret")

    assert not {*secret["data"].values()} & {*str(shorten(secret)).split("'")}


def commands(example: str) -> list[str]:
    """Return the commands of the notes, each on one line."""
    text = notes(example).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if re.match("  (kubectl|helm) ", line)]


def objects(example: str, *kinds: str) -> Iterator[Manifest]:
    """Return the objects of these kinds by their name."""
    return (each for each in rendered(example) if each["kind"] in kinds)


@EVERY_EXAMPLE
def test_every_command_of_the_notes_names_the_release_and_its_namespace(example: str) -> None:
    assert len(commands(example)) == 3
    for command in commands(example):
        assert re.search(r"(-n|--namespace) connect\b", command)
        assert command.startswith(("kubectl ", "helm test tieline "))


@EVERY_EXAMPLE
def test_pods_that_the_notes_watch_are_those_of_the_release(example: str) -> None:
    (label,) = re.findall(r"get pods -l (\S+)", notes(example))
    name, _, value = label.partition("=")
    templates = [
        each["spec"]["template"] for each in objects(example, "Deployment", "StatefulSet", "Job")
    ]

    assert all(each["metadata"]["labels"][name] == value for each in templates)


@EVERY_EXAMPLE
def test_addresses_of_the_notes_are_services_with_that_port(example: str) -> None:
    services = {
        (each["metadata"]["name"], port["port"])
        for each in objects(example, "Service")
        for port in each["spec"]["ports"]
    }
    addresses = re.findall(r"([a-z-]+)\.connect\.svc:(\d+)", notes(example))

    assert addresses
    assert {(name, int(port)) for name, port in addresses} <= services


@EVERY_EXAMPLE
def test_test_of_the_notes_is_in_the_release(example: str) -> None:
    hooks = [
        each["metadata"].get("annotations", {}).get("helm.sh/hook") for each in rendered(example)
    ]

    assert ("helm test tieline" in notes(example)) == ("test" in hooks)


def test_password_that_the_notes_of_the_trial_ask_for_is_in_its_secret() -> None:
    (name,) = re.findall(r"get secret (\S+)", notes("trial"))
    (key,) = re.findall(r"jsonpath='\{\.data\.([a-z-]+)\}'", notes("trial"))
    (secret,) = objects("trial", "Secret")

    assert secret["metadata"]["name"] == name
    assert key in secret["data"]


def test_job_that_the_notes_of_the_trial_name_is_the_one_that_migrates() -> None:
    (name,) = re.findall(r"the job (\S+) is done", notes("trial"))
    (job,) = objects("trial", "Job")

    assert (job["metadata"]["name"], component(job)) == (name, "migrations")


def test_policies_that_the_notes_of_production_list_are_of_a_defined_kind() -> None:
    (plural,) = re.findall(r"get (surge\S+)", notes("production"))

    assert plural in {each.plural for each in DEFINITIONS}
    assert "surge" not in notes("trial")
