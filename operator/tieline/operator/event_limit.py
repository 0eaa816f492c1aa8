"""At most one event a minute of each kind about an object, whatever it is about. Pure."""

from tieline.operator.resources import Kind, Meta

EVENT_INTERVAL_S = 60.0


class EventLimit:
    """Remembers what was told in the last minute."""

    def __init__(self) -> None:
        self._times: dict[tuple[Kind, str, str, str], float] = {}

    def allows(self, kind: Kind, about: Meta, reason: str, now: float) -> bool:
        """Tell whether an event may be told now, and take it for told if so."""
        # A time ahead of a clock that was set back would silence its kind until it has caught up.
        self._times = {
            key: min(time, now)
            for key, time in self._times.items()
            if now - time < EVENT_INTERVAL_S
        }
        key = (kind, about.name, about.uid, reason)
        if key in self._times:
            return False
        self._times[key] = now
        return True
