"""One line for each call that met a fault, was slow, or is one of the sampled.

What a caller got wrong is a line for debugging only: a client in a loop must not fill the log.

Says who called what and how it ended. Never what was in it: no payload, no token.
"""

import logging
import time
from collections.abc import Callable

from tieline.chassis.calls import Call

logger = logging.getLogger(__name__)

# Faults of the service or of what it stands on. The rest is the caller's doing and no alarm.
FAULT_CODES = frozenset(
    {"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"}
)


# What an outage may write: a thousand refused calls a second say no more than these.
MAX_FAULT_LINES_PER_S = 10


class FaultLines:
    """Bounds the lines about faults; those left out are counted and told in the next second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = 0
        self._written = 0
        self._left_out = 0

    def claim(self) -> int | None:
        """Return how many lines were left out before this one; None to leave it out too."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= MAX_FAULT_LINES_PER_S:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


_fault_lines = FaultLines()


def log_call(call: Call, code: str, duration_s: float, *, is_notable: bool) -> None:
    """Write the line; the formatter adds the request id, as on every line of a call.

    ``is_notable`` marks calls that are slow or sampled.
    """
    level = logging.INFO if is_notable else logging.DEBUG
    left_out: int | None = 0
    if code in FAULT_CODES:
        level = logging.WARNING
        left_out = _fault_lines.claim()
    if left_out is None or not logger.isEnabledFor(level):
        return
    if left_out:
        logger.warning("%d more calls met a fault", left_out)
    principal = call.principal
    logger.log(
        level,
        "%s %s in %.1f ms",
        call.method,
        code,
        duration_s * 1000,
        extra={
            "fields": {
                "rpc_method": call.method,
                "rpc_code": code,
                "duration_ms": round(duration_s * 1000, 3),
                "principal_kind": str(principal.kind) if principal else "",
                "principal_id": principal.id if principal else "",
                "corp_id": principal.corp_id if principal else "",
            },
            "said": ("rpc_method", "rpc_code", "duration_ms"),
        },
    )
