"""A namespace in memory for the scaler: what it writes is what the fleet then shows."""

import asyncio
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tieline.operator.cluster import ClusterError, LeaseRecord, NoMemoryError
from tieline.operator.decision_words import Event
from tieline.operator.fleet import Fleet
from tieline.operator.resources import Kind, Meta

LABELS = {"component": "messaging"}


class Killed(BaseException):
    """The process is gone; nothing may catch it."""


class MemoryCluster:
    """Deployments, policies and pods. ``kill_at`` ends whoever makes that call."""

    def __init__(self) -> None:
        self.objects: dict[Kind, dict[str, Any]] = {kind: {} for kind in Kind}
        self.scales: list[tuple[str, int]] = []
        self.statuses: list[str] = []
        self.events: list[str] = []
        self.memories: dict[str, dict[str, bytes]] = {}
        self.is_away = False
        """For what is remembered."""

        self.may_create = True
        """Whether a place for what is remembered may be made."""

        self.event_times: list[tuple[str, float]] = []
        self.calls = 0
        self.loses_answers = False
        """Whether scales are carried out, and nobody is told."""

        self.refuses_statuses = False
        self.hidden: set[Kind] = set()
        """Kinds whose watches lag."""

        self.kill_at: tuple[int, bool] | None = None
        """Number of the call, and whether it was carried out before the end."""

    def put(self, kind: Kind, body: dict[str, Any]) -> None:
        """Store an object."""
        self.objects[kind][body["metadata"]["name"]] = body

    def replicas(self, deployment: str = "messaging") -> int:
        """Return what a Deployment asks for."""
        found: int = self.objects[Kind.DEPLOYMENT][deployment]["spec"]["replicas"]
        return found

    def show(self, fleet: Fleet) -> None:
        """Let watches tell everything that is not hidden."""
        for kind in self.objects.keys() - self.hidden:
            bodies = self.objects[kind]
            fleet.replace(kind, copy.deepcopy(list(bodies.values())))

    async def list_objects(self, kind: Kind) -> Sequence[Any]:
        return list(self.objects[kind].values())

    async def set_replicas(self, deployment: str, replicas: int) -> None:
        with_effect = self._call()
        if with_effect:
            self.objects[Kind.DEPLOYMENT][deployment]["spec"]["replicas"] = replicas
            self.scales.append((deployment, replicas))
        self._end_if_killed()
        if self.loses_answers:
            raise ClusterError(f"scaling {deployment} to {replicas}: no answer in time")
        await asyncio.sleep(0)

    async def patch_status(self, kind: Kind, name: str, status: Mapping[str, object]) -> None:
        if self.refuses_statuses:
            raise ClusterError(f"the status of {name}: no")
        with_effect = self._call()
        if with_effect:
            self.statuses.append(name)
            if name in self.objects[kind]:
                self.objects[kind][name]["status"] = dict(status)
        self._end_if_killed()

    async def post_event(self, kind: Kind, about: Meta, event: Event, now: float) -> None:
        with_effect = self._call()
        if with_effect:
            self.events.append(event.reason)
            self.event_times.append((event.reason, now))
        self._end_if_killed()

    async def find_memory(self, name: str) -> Mapping[str, bytes] | None:
        if self.is_away:
            raise ClusterError("reading: no answer in time")
        found = self.memories.get(name)
        return None if found is None else dict(found)

    async def put_memory(self, name: str, entries: Mapping[str, bytes]) -> None:
        if self.is_away:
            raise ClusterError("writing: no answer in time")
        if name not in self.memories and not self.may_create:
            raise NoMemoryError(f"there is no ConfigMap {name}")
        self.memories[name] = dict(entries)

    async def find_lease(self, name: str) -> LeaseRecord | None:
        return None

    async def put_lease(
        self, name: str, holder: str, duration_s: int, before: LeaseRecord | None
    ) -> None:
        return None

    def _call(self) -> bool:
        self.calls += 1
        return self.kill_at is None or self.kill_at[0] != self.calls or self.kill_at[1]

    def _end_if_killed(self) -> None:
        if self.kill_at is not None and self.kill_at[0] == self.calls:
            raise Killed
