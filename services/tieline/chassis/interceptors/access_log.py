"""One line for each call that met a fault, was slow, or is one of the sampled.

What a caller got wrong is a line for debugging only: a client in a loop must not fill the log.

Says who called what and how it ended. Never what was in it: no payload, no token.
"""

import logging

from tieline.chassis.calls import Call

_log = logging.getLogger(__name__)

# Faults of the service or of what it stands on. The rest is the caller's doing and no alarm.
FAULT_CODES = frozenset(
    {"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"}
)


def log_call(call: Call, code: str, duration_s: float, *, is_notable: bool) -> None:
    """Write the line; the formatter adds the request id, as on every line of a call.

    ``is_notable`` marks calls that are slow or sampled.
    """
    level = logging.INFO if is_notable else logging.DEBUG
    if code in FAULT_CODES:
        level = logging.WARNING
    if not _log.isEnabledFor(level):
        return
    principal = call.principal
    _log.log(
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
