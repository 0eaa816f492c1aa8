"""The chart as Helm's own engine renders it, without a cluster."""

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "tieline"
EXAMPLES = {path.parent.name: path for path in (ROOT / "helm" / "examples").glob("*/values.yaml")}

Manifest = Mapping[str, Any]


@cache
def chart() -> helm_python.Chart:
    """Return the chart, loaded once."""
    return helm_python.Chart.load(str(CHART))


def example_values(name: str) -> dict[str, Any]:
    """Return the values of an example, to be changed at will."""
    values = yaml.load(EXAMPLES[name].read_text(encoding="utf-8"), yaml.CSafeLoader)
    assert isinstance(values, dict)
    return values


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with changes, as a second `-f` of Helm merges them."""
    result = copy.deepcopy(dict(values))
    for key, change in changes.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(change, dict):
            result[key] = merged(old, change)
        else:
            result[key] = change
    return result


def render_files(
    values: Mapping[str, Any], *, name: str = "tieline", is_upgrade: bool = False
) -> dict[str, str]:
    """Return the text of each template, checked against the schema of the values first."""
    chart().validate_schema(dict(values))
    return chart().render(
        dict(values),
        name=name,
        namespace="connect",
        revision=2 if is_upgrade else 1,
        is_install=not is_upgrade,
        is_upgrade=is_upgrade,
    )


def render(values: Mapping[str, Any], *, name: str = "tieline") -> list[Manifest]:
    """Return all manifests."""
    return list(_manifests(render_files(values, name=name)))


@cache
def rendered(example: str) -> list[Manifest]:
    """Return all manifests of an example, rendered once for all who only read them."""
    return render(example_values(example))


def _manifests(files: Mapping[str, str]) -> Iterator[Manifest]:
    for path, text in files.items():
        if path.endswith(".yaml"):
            yield from (each for each in yaml.load_all(text, yaml.CSafeLoader) if each)


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Return the manifests of these kinds."""
    return [each for each in manifests if each["kind"] in kinds]


def component(manifest: Manifest) -> str:
    """Return which part of the platform it belongs to."""
    return str(manifest["metadata"]["labels"]["app.kubernetes.io/component"])


def admin_template(manifests: list[Manifest]) -> dict[str, Any]:
    """Return the pods' template of the jobs that are begun by hand."""
    (cron_job,) = of_kind(manifests, "CronJob")
    template = cron_job["spec"]["jobTemplate"]["spec"]["template"]
    assert isinstance(template, dict)
    return template


def pod_specs(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    """Return the pod specs by component."""
    return {
        component(each): each["spec"].get("template", each)["spec"]
        for each in of_kind(manifests, "Deployment", "StatefulSet", "Job", "Pod")
    }
