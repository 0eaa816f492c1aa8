"""How far a service's outbox is behind, as the relay that publishes it tells.

What was seen last stays while a relay begins again: that its rounds fail is when it is asked for. A
relay that waits for another one tells nothing.
"""

from collections.abc import Callable
from functools import cache
from time import monotonic

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

COUNT_AT_MOST = 10_000
"""Events that are counted: more than waits in ordinary traffic, and counted in milliseconds."""

_COUNT_INTERVAL_S = 5.0


class OutboxLag:
    """What one relay has seen of its outbox."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._oldest_since: float | None = None
        self._stuck_since: float | None = None
        self._waiting = 0
        self._count_at = 0.0

    def report(self) -> None:
        """Have the metrics tell of it, until :meth:`withdraw`."""
        _create_gauges()
        _reported[self._schema] = self

    def withdraw(self) -> None:
        """Tell nothing any more."""
        _reported.pop(self._schema, None)

    def note_head(self, age_s: float | None) -> None:
        """A round begins with an event of this age; None if there is none."""
        self._oldest_since = None if age_s is None else monotonic() - age_s

    def note_stuck(self) -> None:
        """A round failed, or not all of its events were stored."""
        self._stuck_since = self._stuck_since or monotonic()

    def note_moving(self) -> None:
        """All events of a round were stored."""
        self._stuck_since = None

    def note_empty(self) -> None:
        """Nothing waits, or another relay tells what does."""
        self._oldest_since = self._stuck_since = None
        self._waiting = 0

    @property
    def wants_count(self) -> bool:
        """Whether the last count is too old."""
        return monotonic() >= self._count_at

    def note_count(self, waiting: int) -> None:
        """So many events wait, :data:`COUNT_AT_MOST` standing for that and more."""
        self._waiting = waiting
        self._count_at = monotonic() + _COUNT_INTERVAL_S

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return self._waiting

    @property
    def oldest_s(self) -> float:
        """The age of the first event that waits, in seconds; 0 if none does."""
        return _seconds_since(self._oldest_since)

    @property
    def stuck_s(self) -> float:
        """For how long no round got all of its events stored, in seconds."""
        return _seconds_since(self._stuck_since)


def _seconds_since(time: float | None) -> float:
    return 0.0 if time is None else monotonic() - time


_reported: dict[str, OutboxLag] = {}


def _observing(
    read: Callable[[OutboxLag], float],
) -> Callable[[CallbackOptions], list[Observation]]:
    def observe(_: CallbackOptions) -> list[Observation]:
        return [
            Observation(read(lag), {"service": schema}) for schema, lag in list(_reported.items())
        ]

    return observe


@cache
def _create_gauges() -> None:
    meter = get_meter("tieline.chassis")
    meter.create_observable_gauge(
        "outbox.oldest",
        [_observing(lambda lag: lag.oldest_s)],
        unit="s",
        description="Age of the oldest event that is committed and not yet published",
    )
    meter.create_observable_gauge(
        "outbox.stuck",
        [_observing(lambda lag: lag.stuck_s)],
        unit="s",
        description="Since when events could not be published",
    )
    meter.create_observable_gauge(
        "outbox.waiting",
        [_observing(lambda lag: lag.waiting)],
        unit="{event}",
        description="Events committed and not yet published; 10,000 stands for that and more",
    )
