"""Whether this replica can do its work now: its dependencies and its own stage of life.

Readiness only. Liveness is the process answering at all and never depends on a dependency: a
restart brings no database back, and a thousand restarts at once keep it down.
"""

from collections.abc import Callable
from enum import Enum, auto

from tieline.chassis.errors import UnavailableError

DATABASE = "database"
BROKER = "broker"

# Order of preference when several are away: the first one is what the caller is told.
_REASONS = {
    DATABASE: ("DATABASE_UNAVAILABLE", "the database can't be reached"),
    BROKER: ("BROKER_UNAVAILABLE", "the message broker can't be reached"),
}

# Dependencies are tried again about every second; an earlier retry would meet the same answer.
RETRY_AFTER_S = 1.0


class Stage(Enum):
    """Stage of a replica's life; it only moves forward."""

    STARTING = auto()
    SERVING = auto()
    LEAVING = auto()
    """Told that it is not ready, which takes those who ask a while to hear; calls are served."""

    DRAINING = auto()


_SERVING_STAGES = (Stage.SERVING, Stage.LEAVING)


class Health:
    """Collects what is up and what is down, and tells listeners of every change.

    Both answers are kept up to date on every change, so that reading one per call costs nothing.
    """

    def __init__(self) -> None:
        self.is_ready = False
        """What probes and the edge are told: whether calls should come here."""

        self.takes_calls = False
        """Whether calls that come all the same are served."""

        self._stage = Stage.STARTING
        self._down: set[str] = set()
        self._listeners: list[Callable[[], None]] = []

    @property
    def stage(self) -> Stage:
        """The stage of this replica's life."""
        return self._stage

    @property
    def down(self) -> frozenset[str]:
        """Names of the dependencies that are away."""
        return frozenset(self._down)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change of the readiness or the stage."""
        self._listeners.append(listener)

    def mark_up(self, dependency: str) -> None:
        """Record that ``DATABASE`` or ``BROKER`` answers; a repeat changes nothing."""
        if _known(dependency) in self._down:
            self._down.remove(dependency)
            self._notify()

    def mark_down(self, dependency: str) -> None:
        """Record that ``DATABASE`` or ``BROKER`` is away; a repeat changes nothing."""
        if _known(dependency) not in self._down:
            self._down.add(dependency)
            self._notify()

    def mark_serving(self) -> None:
        """Record that start-up is over. Draining is final: nothing serves after it."""
        if self._stage is Stage.STARTING:
            self._stage = Stage.SERVING
            self._notify()

    def mark_leaving(self) -> None:
        """Record that no calls should come here any more; those that do are still served."""
        if self._stage is Stage.SERVING:
            self._stage = Stage.LEAVING
            self._notify()

    def mark_draining(self) -> None:
        """Record that this replica is going away: new calls are refused from now on."""
        if self._stage is not Stage.DRAINING:
            self._stage = Stage.DRAINING
            self._notify()

    def check_takes_calls(self) -> None:
        """Raise the UnavailableError that tells why new work can't be taken now."""
        if self.takes_calls:
            return
        if self._stage is Stage.DRAINING:
            raise UnavailableError(
                "SHUTTING_DOWN", "this replica is shutting down", retry_after_s=RETRY_AFTER_S
            )
        for dependency, (reason, text) in _REASONS.items():
            if dependency in self._down:
                raise UnavailableError(reason, text, retry_after_s=RETRY_AFTER_S)
        raise UnavailableError(
            "SERVICE_UNAVAILABLE", "this replica is starting", retry_after_s=RETRY_AFTER_S
        )

    def _notify(self) -> None:
        self.is_ready = self._stage is Stage.SERVING and not self._down
        self.takes_calls = self._stage in _SERVING_STAGES and not self._down
        for listener in self._listeners:
            listener()


def _known(dependency: str) -> str:
    assert dependency in _REASONS, f"{dependency} is no dependency that callers are told about"
    return dependency
