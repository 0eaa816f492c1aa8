"""What of the event loop's time goes into refusals. Pure.

A refusal takes about as long as a call of a method that does nothing, which machines that are old
or shared do a third or a quarter as many of. So it is measured: what the thread ran, less what the
calls that were let in are known to take.
"""

REFUSAL_S = 0.000_14
"""Of one refusal at least: 7,300 a second were measured on one fast core."""

# Of what is known of calls, each window: what they take is remembered for some ten of them.
_DECAY = 0.9

# Of the calls let in: a window with fewer refusals tells what calls take.
_FEW = 0.02


class RefusingTime:
    """Learns what calls take from windows without refusals, and reckons with it in the others."""

    def __init__(self) -> None:
        # Weighed by calls: a busy window tells more, and of calls as they are when it matters.
        self._calls = 0.0
        self._calls_s = 0.0

    def measure(self, admitted: int, refused: int, ran_s: float) -> float:
        """Return the seconds that the window's refusals took, of the ``ran_s`` of its thread."""
        least_s = refused * REFUSAL_S
        if refused <= _FEW * admitted:
            self._calls = _DECAY * self._calls + admitted
            self._calls_s = _DECAY * self._calls_s + ran_s
            return least_s
        call_s = self._calls_s / self._calls if self._calls else REFUSAL_S
        # It does less than a call, whatever else the thread ran meanwhile.
        most_s = max(refused * call_s, least_s)
        return min(max(ran_s - admitted * call_s, least_s), most_s)
