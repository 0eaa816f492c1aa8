"""How far a replica's consumer is behind its stream, told without asking the server for it.

The event that is in hand, or put off until its next attempt, grows older here. What was last seen
stays while the server is silent, and for a minute after the last delivery: of several replicas one
at a time has an event, and between the attempts at one that fails nobody has it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import monotonic, time

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

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
    _create_gauges()
    _reported[service, stream] = lag
    try:
        yield
    finally:
        _reported.pop((service, stream), None)


_reported: dict[tuple[str, str], ConsumerLag] = {}


def _observing(
    read: Callable[[ConsumerLag], float],
) -> Callable[[CallbackOptions], list[Observation]]:
    def observe(_: CallbackOptions) -> list[Observation]:
        return [
            Observation(read(lag), {"service": service, "stream": stream})
            for (service, stream), lag in list(_reported.items())
        ]

    return observe


@cache
def _create_gauges() -> None:
    meter = get_meter("tieline.chassis")
    meter.create_observable_gauge(
        "consumer.pending",
        [_observing(lambda lag: lag.pending)],
        unit="{event}",
        description="Events behind the one that was delivered last",
    )
    meter.create_observable_gauge(
        "consumer.delay",
        [_observing(lambda lag: lag.delay_s)],
        unit="s",
        description="How old the event in hand is, or between events the last was",
    )
