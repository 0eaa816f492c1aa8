"""What the chart renders, reduced to what a review of a change needs to see.

``python -m chart_summary [FOLDER]``, which is ``make golden``, writes one list for each example
that is reviewed, and its notes; a test compares them with what the chart renders.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from rendered_chart import CHART, ROOT, Manifest, example_values, render_files, rendered

GOLDEN = ROOT / "tests" / "unit" / "helm" / "golden"
EXAMPLES = ("trial", "production")

_HEAD = (
    "# What helm/examples/{}/values.yaml renders, in short. Written by `make golden`: review it.\n"
)
# No line is broken: where one breaks would change with what stands before.
_LINE_WIDTH = 1000
_SHORT = 80
_ON_ONE_LINE = ("annotations", "capacity", "podSelector", "scalableRef", "selector", "strategy")
_OWN = "app.kubernetes.io/"
_COMPONENT = f"{_OWN}component"
_RELEASE_LABELS = (f"{_OWN}instance", f"{_OWN}name")


def main() -> None:
    """Write all lists into the folder given, or where the test looks for them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in summaries().items():
        (folder / name).write_text(text, encoding="utf-8")


def summaries() -> dict[str, str]:
    """Return the text of each list by the name of its file."""
    lists = {f"{name}.yaml": _HEAD.format(name) + summary(rendered(name)) for name in EXAMPLES}
    return lists | {f"{name}-notes.txt": notes(name) for name in EXAMPLES}


def notes(example: str) -> str:
    """Return what an installation of the example says in the end."""
    return render_files(example_values(example))[f"{CHART.name}/templates/NOTES.txt"]


def summary(manifests: Iterable[Manifest]) -> str:
    """Return the manifests in short, by kind and name."""
    short = {f"{each['kind']} {each['metadata']['name']}": shorten(each) for each in manifests}
    return yaml.dump(short, Dumper=_Dumper, sort_keys=True, width=_LINE_WIDTH, allow_unicode=True)


class _OneLine(dict[str, Any]):
    """Written on one line, whatever it holds."""


def shorten(manifest: Manifest) -> dict[str, Any]:
    """Return the fields by which one object differs from others of its kind.

    What all pods have alike, security contexts and labels, has tests of its own. Passwords are
    random, and long texts are reviewed where they stand: of those the keys.
    """
    short: dict[str, Any] = {
        "annotations": manifest["metadata"].get("annotations"),
        "keys": sorted(manifest.get("data", {})),
        "type": manifest.get("type"),
        "rules": manifest.get("rules"),
        "subjects": [each["name"] for each in manifest.get("subjects", [])],
    }
    spec = dict(manifest.get("spec", {}))
    if manifest["kind"] == "Pod":
        short |= _pod(spec)
    elif "template" in spec:
        template = spec.pop("template")
        short |= {"pod annotations": template["metadata"].get("annotations")}
        short |= _without(spec, "selector") | _pod(template["spec"])
    elif manifest["kind"] == "CronJob":
        job = spec.pop("jobTemplate")["spec"]
        short |= _without(job, "template") | spec | _pod(job["template"]["spec"])
    elif manifest["kind"] == "PrometheusRule":
        short["alerts"] = [rule["alert"] for group in spec["groups"] for rule in group["rules"]]
    else:
        short |= spec
    return {
        name: _OneLine(value) if name in _ON_ONE_LINE else value
        for name, value in _by_component(short).items()
        if value not in (None, [], {}, "")
    }


def _by_component(value: Any) -> Any:
    """Leave out the labels that all pods of the release have, where the component is named."""
    if isinstance(value, dict):
        dropped = _RELEASE_LABELS if _COMPONENT in value else ()
        return type(value)(
            {
                name.removeprefix(_OWN): _by_component(part)
                for name, part in value.items()
                if name not in dropped
            }
        )
    if isinstance(value, list):
        return [_by_component(each) for each in value]
    return value


def _pod(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "grace": spec.get("terminationGracePeriodSeconds"),
        "service account": spec.get("serviceAccountName"),
        "token": spec.get("automountServiceAccountToken"),
        "spread": [each["topologyKey"] for each in spec.get("topologySpreadConstraints", [])],
        "containers": {
            each["name"]: _container(each)
            for each in (*spec.get("initContainers", []), *spec["containers"])
        },
        "volumes": {each["name"]: _source(each) for each in spec.get("volumes", [])},
    }


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    probes = {name: _OneLine(container[name]) for name in container if name.endswith("Probe")}
    short = {
        "image": container["image"],
        "args": container.get("args"),
        "env": [_variable(each) for each in container.get("env", [])],
        "ports": [f"{each['name']} {each['containerPort']}" for each in container.get("ports", [])],
        "mounts": [each["mountPath"] for each in container.get("volumeMounts", [])],
        "resources": _OneLine(container.get("resources", {})),
    }
    return {name: value for name, value in (short | probes).items() if value}


def _variable(variable: Mapping[str, Any]) -> str:
    source = variable.get("valueFrom", {})
    if "secretKeyRef" in source:
        reference = source["secretKeyRef"]
        return f"{variable['name']} <- Secret {reference['name']}, {reference['key']}"
    if "resourceFieldRef" in source:
        amount = source["resourceFieldRef"]
        return f"{variable['name']} <- {amount['resource']} in {amount['divisor']}"
    if "fieldRef" in source:
        return f"{variable['name']} <- {source['fieldRef']['fieldPath']}"
    return f"{variable['name']}={variable['value']}"


def _source(volume: Mapping[str, Any]) -> str:
    ((kind, source),) = _without(volume, "name").items()
    named = source.get("secretName") or source.get("name") or source.get("claimName")
    return f"{kind} {named or source.get('sizeLimit', '')}"


def _without(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


class _Dumper(yaml.SafeDumper):
    """No anchors: each entry is read by itself."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_one_line(self, data: _OneLine) -> yaml.Node:
        return self.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)

    def represent_entries(self, data: list[Any]) -> yaml.Node:
        # Of many entries each has a line of its own, so that a change of one is a change of one.
        is_short = all(isinstance(each, str) for each in data) and len(", ".join(data)) < _SHORT
        lines = [_OneLine(each) if isinstance(each, dict) else each for each in data]
        return self.represent_sequence("tag:yaml.org,2002:seq", lines, flow_style=is_short)


_Dumper.add_representer(_OneLine, _Dumper.represent_one_line)
_Dumper.add_representer(list, _Dumper.represent_entries)


if __name__ == "__main__":
    main()
