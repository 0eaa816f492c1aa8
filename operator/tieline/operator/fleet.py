"""The operator's picture of its namespace: policies, what they name, and the pods behind that.

Events of watches and lists of whole kinds paint it; the decision reads it each second. No I/O.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tieline.chassis.admission.reporter_names import name_reporter
from tieline.operator.decision_state import ServiceInput
from tieline.operator.pods import Pod, read_pod, select, selector_of, selects
from tieline.operator.policy import SurgePolicy
from tieline.operator.read_objects import (
    Read,
    ReadPolicy,
    read_override,
    read_policy,
    read_window,
    told_conflict,
)
from tieline.operator.replica_report import PodObservation, ReplicaReport
from tieline.operator.resources import (
    Body,
    Kind,
    Meta,
    integer_in,
    is_predecessor,
    mapping_in,
    read_meta,
)
from tieline.operator.scale_answers import ScaleAnswers
from tieline.operator.windows import SurgeWindow

_DELETED = "DELETED"
_Value = TypeVar("_Value")

# What a selector without labels is looked up by: no pod has it.
_NO_LABEL = ("", "")

# Of a Deployment between two ticks.
_MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a policy can't be carried out."""

    reason: str
    message: str
    is_conflict: bool = False
    """Whether somebody else has the target."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """One policy with all that concerns it, or with what is wrong with it."""

    meta: Meta
    status: Body
    given: ServiceInput | None
    trouble: Trouble | None


class Fleet:
    """What is known; every method takes what is true now, so that nothing is missed for long."""

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[str, Body]] = {kind: {} for kind in Kind}
        self._listings: dict[Kind, list[set[str]]] = {kind: [] for kind in Kind}
        self._policies: dict[str, ReadPolicy] = {}
        self._pods: dict[str, Pod | None] = {}
        self._windows: dict[str, Read] = {}
        self._overrides: dict[str, Read] = {}
        self._shown: dict[str, list[int]] = {}
        self._answers = ScaleAnswers()
        self._targets: dict[str, str] | None = None

    def note(self, kind: Kind, event: str | None, body: Body) -> None:
        """Take in what a watch says: ADDED, MODIFIED, DELETED, or None for what was listed."""
        meta = read_meta(body)
        name = meta.name
        if self._is_late(kind, event, meta):
            return
        for names in self._listings[kind]:
            names.add(name)
        if event == _DELETED:
            self._objects[kind].pop(name, None)
        else:
            self._objects[kind][name] = body
        self._read(kind, name)

    def _is_late(self, kind: Kind, event: str | None, meta: Meta) -> bool:
        """Tell whether this is of an object whose name another one has by now.

        kopf has a queue for each uid: whatever is told of one object, its end included, may come
        after the beginning of its successor.
        """
        body = self._objects[kind].get(meta.name)
        if body is None:
            return False
        known = read_meta(body)
        return is_predecessor(meta, known) or (event == _DELETED and meta.uid != known.uid)

    @contextmanager
    def listing(self, kind: Kind) -> Iterator[Set[str]]:
        """Yield the names that watches tell of while a list is made within the block."""
        names: set[str] = set()
        self._listings[kind].append(names)
        try:
            yield names
        finally:
            self._listings[kind].remove(names)

    def replace(self, kind: Kind, bodies: Iterable[Body], told: Set[str] = frozenset()) -> None:
        """Take in a list of all objects of a kind: what is not in it is gone.

        A list may be older than what watches have ``told`` since it was asked for, and versions
        have no order that every cluster keeps: of those names the watches' word stands.
        """
        before = self._objects[kind]
        listed = {name: body for body in bodies if (name := read_meta(body).name) not in told} | {
            name: before[name] for name in told & before.keys()
        }
        gone = self._objects[kind].keys() - listed.keys()
        self._objects[kind] = listed
        if kind is Kind.DEPLOYMENT:
            for name in listed.keys() - told:
                self._answers.forget(name)
        for name in [*gone, *listed]:
            self._read(kind, name)

    def note_scaled(self, target: str, replicas: int) -> None:
        """Take in that the API has acknowledged a scale, which watches show only later."""
        shown = self.find_replicas(target)
        if shown is None:
            return
        self._answers.note(target, replicas, shown)
        for names in self._listings[Kind.DEPLOYMENT]:
            names.add(target)

    def services(self) -> frozenset[str]:
        """Return the services that any policy is for."""
        # A list at once: metrics are read in a thread of their own.
        policies = list(self._policies.values())
        return frozenset(each.policy.service for each in policies if each.policy is not None)

    def is_replica(self, service: str, replica: str) -> bool:
        """Tell whether a name is that of a pod that serves a service, as long as there is one."""
        pod, target = self._pods.get(replica), self._target_of(service)
        if pod is None or target is None:
            return False
        deployment = self._objects[Kind.DEPLOYMENT].get(target)
        return deployment is not None and selects(selector_of(deployment), pod)

    def windows(self) -> Sequence[Read]:
        """Return all windows, by name."""
        return [self._windows[name] for name in sorted(self._windows)]

    def overrides(self) -> Sequence[Read]:
        """Return all overrides, by name."""
        return [self._overrides[name] for name in sorted(self._overrides)]

    def has_policy(self, name: str) -> bool:
        """Tell whether there is such a policy."""
        return name in self._policies

    def find_window_trouble(self, window: SurgeWindow) -> Trouble | None:
        """Return for whom a window is meant that is not there; None if it lacks nobody."""
        if window.policy_labels:
            if any(window.is_for(name, each.meta.labels) for name, each in self._policies.items()):
                return None
            labels = ", ".join(f"{key}={value}" for key, value in window.policy_labels)
            return Trouble("NoPolicy", f"no SurgePolicy in the namespace has the labels {labels}")
        missing = ", ".join(name for name in window.policies if name not in self._policies)
        if not missing:
            return None
        return Trouble("PolicyNotFound", f"there is no SurgePolicy {missing} in the namespace")

    def find_replicas(self, target: str) -> int | None:
        """Return the replicas that a Deployment was shown to ask for; None where there is none."""
        deployment = self._objects[Kind.DEPLOYMENT].get(target)
        return (
            None
            if deployment is None
            else integer_in(mapping_in(deployment, "spec"), "replicas", 1)
        )

    def told_conflicts(self) -> Mapping[str, str]:
        """Return what the statuses tell of conflicts, by target; empty for none."""
        return {
            each.policy.target: told_conflict(each.status)
            for each in self._policies.values()
            if each.policy is not None
        }

    def take_shown_replicas(self) -> Mapping[str, Sequence[int]]:
        """Return what each Deployment asked for since this was last taken, in order.

        Whoever sets replicas back within the second is seen in no second.
        """
        shown, self._shown = self._shown, {}
        return shown

    def views(
        self,
        reports_of: Callable[[str], tuple[ReplicaReport, ...]],
        conflict_of: Callable[[str], str],
    ) -> list[PolicyView]:
        """Return every policy, by name, with the reports of its service.

        ``conflict_of`` tells who else keeps setting a target's replicas; empty for nobody.
        """
        owners = self._owners(lambda policy: policy.target)
        servers = self._owners(lambda policy: policy.service)
        pods = self._observe_pods()
        return [
            self._view(
                self._policies[name],
                self._find_trouble(self._policies[name], owners, servers),
                pods,
                reports_of,
                conflict_of,
            )
            for name in sorted(self._policies)
        ]

    def _read(self, kind: Kind, name: str) -> None:
        body = self._objects[kind].get(name)
        if kind is Kind.POLICY:
            _put(self._policies, name, body, read_policy)
            self._targets = None
        elif kind is Kind.POD:
            _put(self._pods, name_reporter(name), body, read_pod)
        elif kind is Kind.WINDOW:
            _put(self._windows, name, body, read_window)
        elif kind is Kind.OVERRIDE:
            _put(self._overrides, name, body, read_override)
        elif kind is Kind.DEPLOYMENT and body is None:
            self._answers.forget(name)
        elif kind is Kind.DEPLOYMENT:
            self._note_shown(name)

    def _note_shown(self, name: str) -> None:
        shown, replicas = self._shown.setdefault(name, []), self.find_replicas(name)
        assert replicas is not None, "the Deployment is there"
        self._answers.note_shown(name, replicas)
        if shown[-1:] != [replicas]:
            shown.append(replicas)
            del shown[:-_MAX_SHOWN]

    def _target_of(self, service: str) -> str | None:
        # Asked for every report, thousands of times a second.
        if self._targets is None:
            policies = (
                self._policies[name].policy
                for name in self._owners(lambda policy: policy.service).values()
            )
            self._targets = {one.service: one.target for one in policies if one is not None}
        return self._targets.get(service)

    def _owners(self, key_of: Callable[[SurgePolicy], str]) -> dict[str, str]:
        """Return the policy that has each target, or service: of several the oldest."""
        by_age = sorted(
            self._policies.values(), key=lambda one: (one.meta.create_time, one.meta.name)
        )
        owners: dict[str, str] = {}
        for each in by_age:
            if each.policy is not None:
                owners.setdefault(key_of(each.policy), each.meta.name)
        return owners

    def _observe_pods(self) -> dict[str, tuple[PodObservation, ...]]:
        """Return the living pods of each target."""
        targets = {
            each.policy.target for each in self._policies.values() if each.policy is not None
        }
        selectors = {
            target: selector_of(deployment)
            for target in targets
            if (deployment := self._objects[Kind.DEPLOYMENT].get(target)) is not None
        }
        # Thousands of pods, dozens of selectors: each pod is looked at for its own labels only.
        firsts = {next(iter(selector.items()), _NO_LABEL) for selector in selectors.values()}
        labelled: dict[tuple[str, object], list[Pod]] = {first: [] for first in firsts}
        for pod in filter(None, self._pods.values()):
            for label in firsts & pod.labels.items():
                labelled[label].append(pod)
        return {
            target: select(labelled[next(iter(selector.items()), _NO_LABEL)], selector)
            for target, selector in selectors.items()
        }

    def _view(
        self,
        policy: ReadPolicy,
        trouble: Trouble | None,
        pods: Mapping[str, tuple[PodObservation, ...]],
        reports_of: Callable[[str], tuple[ReplicaReport, ...]],
        conflict_of: Callable[[str], str],
    ) -> PolicyView:
        read = policy.policy
        if trouble is not None or read is None:
            return PolicyView(policy.meta, policy.status, None, trouble)
        replicas = self.find_replicas(read.target)
        assert replicas is not None, "a policy without its target is in trouble"
        windows = [each.window for each in self.windows() if each.window is not None]
        overrides = [each.override for each in self.overrides() if each.override is not None]
        name = policy.meta.name
        given = ServiceInput(
            name=name,
            policy=read,
            current_replicas=self._answers.replicas_of(read.target, replicas),
            pods=pods.get(read.target, ()),
            reports=reports_of(read.service),
            windows=tuple(each for each in windows if each.is_for(name, policy.meta.labels)),
            overrides=tuple(each for each in overrides if each.policy == name),
            conflict=self._autoscaler_of(read.target) or conflict_of(read.target),
        )
        return PolicyView(policy.meta, policy.status, given, None)

    def _find_trouble(
        self, policy: ReadPolicy, owners: Mapping[str, str], servers: Mapping[str, str]
    ) -> Trouble | None:
        if policy.policy is None:
            return Trouble("InvalidSpec", policy.problem)
        target = policy.policy.target
        if owners[target] != policy.meta.name:
            text = f"the older policy {owners[target]} scales the Deployment {target}"
            return Trouble("TargetTaken", text, is_conflict=True)
        service = policy.policy.service
        if servers[service] != policy.meta.name:
            # Each would be sized for the load of both, and callers told of one or the other.
            text = f"the older policy {servers[service]} is for the service {service}"
            return Trouble("ServiceTaken", text, is_conflict=True)
        if target not in self._objects[Kind.DEPLOYMENT]:
            return Trouble("TargetNotFound", f"there is no Deployment {target} in the namespace")
        return None

    def _autoscaler_of(self, target: str) -> str:
        for body in self._objects[Kind.AUTOSCALER].values():
            reference = mapping_in(mapping_in(body, "spec"), "scaleTargetRef")
            if reference.get("kind") == "Deployment" and reference.get("name") == target:
                return f"the HorizontalPodAutoscaler {read_meta(body).name} scales {target} as well"
        return ""


def _put(
    into: dict[str, _Value], name: str, body: Body | None, read: Callable[[Body], _Value]
) -> None:
    if body is None:
        into.pop(name, None)
    else:
        into[name] = read(body)
