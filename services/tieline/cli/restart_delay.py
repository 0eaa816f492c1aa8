"""How long a crashed child waits before it is started again. Pure: no clock, no processes."""

FIRST_DELAY_S = 1.0
MAX_DELAY_S = 30.0
# A child that was well for this long crashes for a new reason.
STABLE_S = 60.0


def next_restart_delay_s(previous_delay_s: float | None, healthy_s: float) -> float:
    """Return 1, 2, 4 … 30 s for crashes in a row, and 1 s again after a minute of health.

    ``previous_delay_s`` is None for the first crash; ``healthy_s`` is 0 for a child that never
    became healthy.
    """
    if previous_delay_s is None or healthy_s >= STABLE_S:
        return FIRST_DELAY_S
    return min(2 * previous_delay_s, MAX_DELAY_S)
