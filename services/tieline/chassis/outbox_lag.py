"""How far a service's outbox is behind, as the relay that publishes it tells.

What was seen last stays while a relay begins again: that its rounds fail is when it is asked for. A
relay that waits for another one tells nothing.
"""

from time import monotonic

from tieline.chassis.reported_gauges import Gauge, ReportedGauges

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
        _gauges.report(self, self._schema)

    def withdraw(self) -> None:
        """Tell nothing any more."""
        _gauges.withdraw(self._schema)

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


_gauges = ReportedGauges[OutboxLag](
    ("service",),
    [
        Gauge(
            "outbox.oldest",
            "s",
            "Age of the oldest event that is committed and not yet published",
            lambda lag: lag.oldest_s,
        ),
        Gauge(
            "outbox.stuck", "s", "Since when events could not be published", lambda lag: lag.stuck_s
        ),
        Gauge(
            "outbox.waiting",
            "{event}",
            "Events committed and not yet published; 10,000 stands for that and more",
            lambda lag: lag.waiting,
        ),
    ],
)
