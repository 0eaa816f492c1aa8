"""Pods as the fleet sees them: whose they are, and whether they take calls. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tieline.chassis.admission.reporter_names import name_reporter
from tieline.operator.replica_report import PodObservation
from tieline.operator.resources import Body, list_in, mapping_in, read_time

_ENDED_PHASES = ("Failed", "Succeeded")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that has not ended."""

    labels: Body
    observation: PodObservation | None
    """None of one that is ending: it still answers the calls that it has."""


def selector_of(deployment: Body) -> Mapping[str, object]:
    """Return the labels that a Deployment's pods have."""
    return mapping_in(mapping_in(mapping_in(deployment, "spec"), "selector"), "matchLabels")


def select(pods: Iterable[Pod], selector: Body) -> tuple[PodObservation, ...]:
    """Return what is known of the pods with a selector's labels, by name."""
    found = [
        pod.observation for pod in pods if pod.observation is not None and selects(selector, pod)
    ]
    return tuple(sorted(found, key=lambda pod: pod.name))


def selects(selector: Body, pod: Pod) -> bool:
    """Tell whether a pod has a selector's labels; without any, none has."""
    return bool(selector) and all(pod.labels.get(key) == value for key, value in selector.items())


def read_pod(body: Body) -> Pod | None:
    """Return a pod; None for one that has ended."""
    if mapping_in(body, "status").get("phase") in _ENDED_PHASES:
        return None
    return Pod(mapping_in(mapping_in(body, "metadata"), "labels"), _observe_pod(body))


def _observe_pod(body: Body) -> PodObservation | None:
    """Return what the decision knows of a pod; None for one that is ending."""
    metadata, status = mapping_in(body, "metadata"), mapping_in(body, "status")
    if "deletionTimestamp" in metadata:
        return None
    ready = next(
        (each for each in list_in(status, "conditions") if each.get("type") == "Ready"), {}
    )
    is_ready = ready.get("status") == "True"
    return PodObservation(
        name=name_reporter(str(metadata.get("name", ""))),
        create_time=read_time(metadata.get("creationTimestamp")) or 0.0,
        ready_time=(read_time(ready.get("lastTransitionTime")) or 0.0) if is_ready else None,
    )
