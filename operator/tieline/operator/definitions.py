"""Whether the cluster's definitions know every field that this operator reads. Pure.

The API server drops what a definition does not know, without a word: beside older definitions a
policy would do less than its file says. Newer ones do no harm until somebody uses what is new,
which the operator refuses by a condition of the object.
"""

from collections.abc import Iterator, Mapping

from tieline.operator.resources import GROUP, VERSION, Body, list_in, mapping_in

READ_FIELDS: Mapping[str, tuple[str, ...]] = {
    "SurgePolicy": (
        "targetRef.apiVersion",
        "targetRef.kind",
        "targetRef.name",
        "service",
        "minReplicas",
        "maxReplicas",
        "mode",
        "priority",
        "capacity.requestsPerSecondPerPod",
        "capacity.targetUtilizationPercent",
        "capacity.warmupSeconds",
        "surge.entryUtilizationPercent",
        "surge.queueWaitMilliseconds",
        "surge.holdSeconds",
        "surge.reservePercent",
        "surge.maxReserveReplicas",
        "scaleDown.windowSeconds",
        "scaleDown.maxWindowSeconds",
        "scaleDown.maxStepPercent",
        "scaleDown.minIntervalSeconds",
        "scaleDown.deadbandPercent",
        "prediction.mode",
        "prediction.quantilePercent",
        "signals.staleAfterSeconds",
        "signals.minCoveragePercent",
        "fallback.behavior",
        "fallback.replicas",
        "upstreams[].name",
        "upstreams[].fanoutMilli",
    ),
    "SurgeWindow": (
        "policies",
        "policySelector.matchLabels",
        "start",
        "end",
        "schedule",
        "durationSeconds",
        "timeZone",
        "preScaleSeconds",
        "minReplicas",
        "multiplierPercent",
    ),
    "SurgeOverride": ("policyRef.name", "action", "replicas", "expiresAt", "reason"),
}
"""Of each kind, the fields of its spec, with ``[]`` for the items of a list."""

_WAY_OUT = "install or upgrade the chart helm/tieline-crds in this operator's version first"


def find_older(published: Body) -> str:
    """Return what is older than this operator, in one sentence; empty for nothing.

    ``published`` is the OpenAPI document (v3) of the group and version, empty where the cluster
    has none.
    """
    if not published:
        return f"the cluster has no definitions of {GROUP}/{VERSION}: {_WAY_OUT}"
    lacking = []
    for kind, fields in READ_FIELDS.items():
        schema = _find_schema(published, kind)
        known = set(_leaves(mapping_in(mapping_in(schema, "properties"), "spec"), ""))
        unknown = ", ".join(f"spec.{field}" for field in fields if field not in known)
        if unknown:
            lacking.append(f"{kind} without {unknown}")
    if not lacking:
        return ""
    return (
        f"the cluster's definitions are older than this operator ({'; '.join(lacking)}): {_WAY_OUT}"
    )


def _find_schema(published: Body, kind: str) -> Body:
    schemas = mapping_in(mapping_in(published, "components"), "schemas")
    for schema in schemas.values():
        if isinstance(schema, Mapping) and any(
            each.get("kind") == kind for each in list_in(schema, "x-kubernetes-group-version-kind")
        ):
            return schema
    return {}


def _leaves(schema: Body, path: str) -> Iterator[str]:
    """Yield the paths of the fields that have no named fields of their own."""
    properties = mapping_in(schema, "properties")
    if not properties:
        items = mapping_in(schema, "items")
        if mapping_in(items, "properties"):
            yield from _leaves(items, f"{path}[]")
        else:
            yield path
    for name, part in properties.items():
        if isinstance(part, Mapping):
            yield from _leaves(part, f"{path}.{name}" if path else name)
