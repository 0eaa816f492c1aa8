"""Helm's command renders the same as the engine in the tests, whichever version is installed."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from rendered_chart import CHART, EXAMPLES, Manifest, example_values, merged, rendered

pytestmark = pytest.mark.helm

Named = dict[tuple[str, str], Manifest]


def template(*options: str) -> subprocess.CompletedProcess[str]:
    """Run `helm template` as somebody without a cluster would."""
    return subprocess.run(
        ["helm", "template", "tieline", str(CHART), "--namespace", "connect", *options],
        capture_output=True,
        text=True,
        check=False,
    )


def named(manifests: list[Manifest]) -> Named:
    """Return manifests by kind and name; what is random in a Secret is left out."""
    return {
        (each["kind"], each["metadata"]["name"]): (
            {**each, "data": sorted(each["data"])} if each["kind"] == "Secret" else each
        )
        for each in manifests
    }


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_command_renders_what_the_engine_does(example: str) -> None:
    result = template("--values", str(EXAMPLES[example]), "--kube-version", "1.33")
    assert result.returncode == 0, result.stderr
    manifests = [each for each in yaml.load_all(result.stdout, yaml.CSafeLoader) if each]

    assert named(manifests) == named(rendered(example))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trail": {"enabled": True}}, "trail"),
        ({"database": {"host": "db"}}, "trial.enabled runs PostgreSQL and NATS in the release"),
    ],
)
def test_command_refuses_what_the_engine_does(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(merged(example_values("trial"), changes)))

    result = template("--values", str(values))

    assert result.returncode != 0
    assert sentence in result.stderr
