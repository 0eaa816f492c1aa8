"""The kinds of objects that the operator looks at, and what it reads of them. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

GROUP = "scaling.tieline.dev"
VERSION = "v1alpha1"

Body = Mapping[str, object]
"""An object as the API gives it."""


class Kind(Enum):
    """Group, version and plural of a kind of objects."""

    POLICY = (GROUP, VERSION, "surgepolicies")
    WINDOW = (GROUP, VERSION, "surgewindows")
    OVERRIDE = (GROUP, VERSION, "surgeoverrides")
    DEPLOYMENT = ("apps", "v1", "deployments")
    POD = ("", "v1", "pods")
    AUTOSCALER = ("autoscaling", "v2", "horizontalpodautoscalers")


@dataclass(frozen=True, slots=True)
class Meta:
    """What every object has."""

    name: str
    uid: str
    version: str
    """The resourceVersion, as it was when this was told."""

    generation: int
    create_time: float
    labels: Mapping[str, str]


def read_meta(body: Body) -> Meta:
    """Return the object's metadata."""
    metadata = mapping_in(body, "metadata")
    labels = mapping_in(metadata, "labels")
    return Meta(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        version=str(metadata.get("resourceVersion", "")),
        generation=integer_in(metadata, "generation"),
        create_time=read_time(metadata.get("creationTimestamp")) or 0.0,
        labels={str(key): str(value) for key, value in labels.items()},
    )


def is_predecessor(one: Meta, other: Meta) -> bool:
    """Tell whether one is an earlier object of the name that the other has now.

    By resourceVersion where both are numbers, which from Kubernetes 1.35 on may be compared within
    a kind; else by creation, which is told to the second.
    """
    if one.uid == other.uid:
        return False
    if one.version.isdecimal() and other.version.isdecimal():
        return int(one.version) < int(other.version)
    return one.create_time < other.create_time


def mapping_in(body: Body, name: str) -> Body:
    """Return the mapping under a name; an empty one where there is none."""
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def list_in(body: Body, name: str) -> Sequence[Body]:
    """Return the mappings in the list under a name; none where there is no list."""
    value = body.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return [item for item in value if isinstance(item, Mapping)]


def integer_in(body: Body, name: str, default: int = 0) -> int:
    """Return the whole number under a name, or the default."""
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def read_time(value: object) -> float | None:
    """Return the seconds since the epoch of a time as the API writes it; None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        return dt.datetime.fromisoformat(value).timestamp()
    except ValueError:
        return None


def write_time(time: float) -> str:
    """Return a time as the API writes it, to the second."""
    return dt.datetime.fromtimestamp(int(time), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
