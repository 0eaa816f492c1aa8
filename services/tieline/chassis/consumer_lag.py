"""How far a replica's consumer is behind its stream, told without asking the server for it.

The event that is in hand, or put off until its next attempt, grows older here. What was last seen
stays while the server is silent, and for a minute after the last delivery: of several replicas one
at a time has an event, and between the attempts at one that fails nobody has it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, time

from tieline.chassis.reported_gauges import Gauge, ReportedGauges

_QUIET_S = 60.0
"""Above the longest delay of an attempt and the longest handling on another replica together."""


class ConsumerLag:
    """What one consumer has seen of its stream."""

    def __init__(self) -> None:
        self.pending = 0
        """Events behind the one that was delivered last."""

        self._stored_time: float | None = None
        self._settled_delay_s = 0.0
        self._delivered_at = 0.0

    @property
    def delay_s(self) -> float:
        """The age in seconds of the event in hand; between events of the last, if more wait."""
        if self._stored_time is None:
            return self._settled_delay_s
        return max(time() - self._stored_time, 0.0)

    def note_delivery(self, pending: int, stored_time: float) -> None:
        """An event is in hand, stored at that time in seconds since 1970, and so many behind it."""
        self.pending = pending
        self._stored_time = stored_time
        self._delivered_at = monotonic()

    def note_settled(self) -> None:
        """The event in hand needs no further attempt."""
        self._settled_delay_s = self.delay_s if self.pending else 0.0
        self._stored_time = None

    def note_nothing(self) -> None:
        """The server answers, and has had nothing for this consumer for a while."""
        if monotonic() - self._delivered_at >= _QUIET_S:
            self.pending = 0
            self.note_settled()


@contextmanager
def reporting(lag: ConsumerLag, service: str, stream: str) -> Iterator[None]:
    """Have the metrics tell of it until the block is left."""
    _gauges.report(lag, service, stream)
    try:
        yield
    finally:
        _gauges.withdraw(service, stream)


_gauges = ReportedGauges[ConsumerLag](
    ("service", "stream"),
    [
        Gauge(
            "consumer.pending",
            "{event}",
            "Events behind the one that was delivered last",
            lambda lag: lag.pending,
        ),
        Gauge(
            "consumer.delay",
            "s",
            "How old the event in hand is, or between events the last was",
            lambda lag: lag.delay_s,
        ),
    ],
)
