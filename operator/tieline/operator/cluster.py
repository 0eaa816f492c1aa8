"""The few verbs by which the operator acts on a cluster; who carries them out is another module's.

Watching is kopf's, which hands in what it sees; see ``handlers``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tieline.operator.decision_words import Event
from tieline.operator.resources import Body, Kind, Meta

WRITE_TIMEOUT_S = 1.5
"""A write that takes longer is given up; the next second decides and writes anew."""


class ClusterError(Exception):
    """The API refused something or is away; the text says what and why."""


class NoMemoryError(ClusterError):
    """There is no place for what was learned, and none may be made; the text says what to do."""


class ConflictError(ClusterError):
    """Somebody else changed the object meanwhile."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """Who holds a lease. Equal records mean that nothing has changed."""

    holder: str
    """Empty for nobody."""

    duration_s: int
    version: str
    """The object's resourceVersion."""


class Cluster(Protocol):
    """One namespace of a cluster. Every method raises ClusterError, within ``WRITE_TIMEOUT_S``
    unless it is for much at a time."""

    async def list_objects(self, kind: Kind) -> Sequence[Body]:
        """Return all objects of a kind."""
        ...

    async def set_replicas(self, deployment: str, replicas: int) -> None:
        """Write a Deployment's scale."""
        ...

    async def patch_status(self, kind: Kind, name: str, status: Mapping[str, object]) -> None:
        """Merge into the status of a custom resource. One that is gone is no error."""
        ...

    async def post_event(self, kind: Kind, about: Meta, event: Event, now: float) -> None:
        """Post a Kubernetes event about a custom resource."""
        ...

    async def find_memory(self, name: str) -> Mapping[str, bytes] | None:
        """Return what is stored under a name; None where there is no place of that name."""
        ...

    async def put_memory(self, name: str, entries: Mapping[str, bytes]) -> None:
        """Store the entries under a name, in place of all that were there.

        Raises NoMemoryError where there is no place of that name and none may be made.
        """
        ...

    async def find_lease(self, name: str) -> LeaseRecord | None:
        """Return the lease; None where there is none."""
        ...

    async def put_lease(
        self, name: str, holder: str, duration_s: int, before: LeaseRecord | None
    ) -> None:
        """Create the lease, or change it if it is still as ``before``; else ConflictError."""
        ...
