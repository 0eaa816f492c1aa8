"""What a replica can do, learned from the seconds in which it could do no more. Pure."""

from collections.abc import Mapping

from tieline.chassis.admission.priorities import BusinessClass

# Down at once by half of the difference: too large a number lets too much in. Up slowly.
_DOWN = 0.5
_UP = 0.1

ASSUMED_PER_S = 1500
"""Of a replica of which nobody has said what it can do."""

# A measurement far from what was configured is a fault of the measurement.
_MIN_FACTOR = 0.5
_MAX_FACTOR = 2.0

# Seconds of work that may be in flight; what waits for a database that has stopped, at most.
IN_FLIGHT_S = 0.5
_MIN_IN_FLIGHT = 64

# The same of a replica that strangers flood, and of a corp that is held to its share: for so long
# whatever is let in waits, where PostgreSQL can do no more. Refusals take a part of PostgreSQL's
# cores as well, so that of half a second's worth a call would wait for more than one.
_FLOODED_IN_FLIGHT_S = 0.05
_SHARE_IN_FLIGHT_S = 0.02
# Fewer calls could not keep a replica at work.
_LEAST_IN_FLIGHT = 16

# What is more important finds room where what is less important does not.
_SHARES = {
    BusinessClass.CRITICAL: 1.0,
    BusinessClass.HIGH: 0.9,
    BusinessClass.NORMAL: 0.7,
    BusinessClass.LOW: 0.5,
}

PENDING_S = 0.25
"""Seconds of work that may wait in the C core. Under a flood most of it is refused, for about a
quarter of a call's time and at most a quarter of the event loop's: it is gone in 0.15 s then, and
with its own time a call stays within 200 ms."""

# Of a replica that can do little refusals are quick beside its work, and would wait for it alone.
_MIN_PENDING = 130

# Before the capacity is known, bounds memory alone: a burst at an idle replica is let wait.
_PENDING_OF_UNKNOWN = 4000


class MeasuredCapacity:
    """Calls per second."""

    def __init__(self, configured_per_s: int) -> None:
        """0 stands for a capacity that nobody knows."""
        self.measured_per_s = 0.0
        """0 until the replica has been saturated for a second."""

        self._configured_per_s = configured_per_s or ASSUMED_PER_S

    @property
    def for_limits_per_s(self) -> float:
        """What limits are derived from: measured, within bounds of what was configured."""
        if self.measured_per_s == 0:
            return self._configured_per_s
        low, high = (factor * self._configured_per_s for factor in (_MIN_FACTOR, _MAX_FACTOR))
        return min(max(self.measured_per_s, low), high)

    def learn(self, admitted_per_s: float, *, is_saturated: bool) -> None:
        """Take in one second."""
        known = self.measured_per_s
        if not is_saturated:
            # More than was thought possible was done with ease.
            if 0 < known < admitted_per_s:
                self.measured_per_s = admitted_per_s
            return
        if known == 0:
            self.measured_per_s = admitted_per_s
            return
        step = _DOWN if admitted_per_s < self.measured_per_s else _UP
        self.measured_per_s += step * (admitted_per_s - self.measured_per_s)


def in_flight_limits(capacity_per_s: float) -> Mapping[int, int]:
    """Return, by class, how many unary calls may be in flight for one more to begin."""
    return _by_class(max(capacity_per_s * IN_FLIGHT_S, _MIN_IN_FLIGHT))


def flooded_limits(capacity_per_s: float) -> Mapping[int, int]:
    """Return the same while strangers flood the replica."""
    return _by_class(max(capacity_per_s * _FLOODED_IN_FLIGHT_S, _LEAST_IN_FLIGHT))


def share_limits(capacity_per_s: float) -> Mapping[int, int]:
    """Return the same for a corp that is held to its share."""
    return _by_class(max(capacity_per_s * _SHARE_IN_FLIGHT_S, _LEAST_IN_FLIGHT))


def _by_class(largest: float) -> Mapping[int, int]:
    return {of: int(share * largest) for of, share in _SHARES.items()}


def pending_limit(capacity_per_s: float) -> int:
    """Return how many calls may wait in the C core; 0 stands for an unknown capacity."""
    if not capacity_per_s:
        return _PENDING_OF_UNKNOWN
    return int(max(capacity_per_s * PENDING_S, _MIN_PENDING))
