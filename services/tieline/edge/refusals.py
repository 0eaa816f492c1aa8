"""What callers are told that the edge refuses: gRPC statuses with details, as services give them.

Pure. HAProxy writes a refusal as the head of a response without a body, which is how gRPC tells of
a call that failed before it gave anything.
"""

import base64
from dataclasses import dataclass, replace

from google.rpc import code_pb2

from tieline.chassis.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)
from tieline.chassis.interceptors.refusals import NEVER_RETRY, PUSHBACK_KEY
from tieline.chassis.statuses import to_status

# Sooner, the same callers would meet the same queue; later, new replicas would wait for them.
# Spread, so that those who were refused together don't come back together.
OVERLOAD_PUSHBACK_MS = (500, 1500)
# Limits look back for a minute at least: a few seconds later there is room for some.
LIMIT_PUSHBACK_MS = (2000, 6000)
# A replica that died is replaced, or another one is found, within about a second.
AWAY_PUSHBACK_MS = (200, 1000)


class _UnimplementedError(ServiceError):
    code = "UNIMPLEMENTED"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of answer that the edge gives by itself."""

    error: ServiceError
    pushback_ms: tuple[int, int] | None = None
    """Bounds of the random time after which callers may try again; None if that can't help."""

    is_final: bool = False
    """Whether callers are told not to try again by themselves: what can wait makes room."""

    def headers(self) -> str:
        """Return the response's headers in HAProxy's words."""
        status = to_status(self.error)
        details = base64.b64encode(status.SerializeToString()).decode().rstrip("=")
        parts = [
            f"hdr grpc-status {code_pb2.Code.Value(self.error.code)}",
            f'hdr grpc-message "{_percent_encode(self.error.text)}"',
            f"hdr grpc-status-details-bin {details}",
        ]
        if self.is_final:
            parts.append(f"hdr {PUSHBACK_KEY} {NEVER_RETRY}")
        elif self.pushback_ms is not None:
            low, high = self.pushback_ms
            parts.append(f'hdr {PUSHBACK_KEY} "%[rand({high - low}),add({low})]"')
        return " ".join(parts)


def _retry_after_s(pushback_ms: tuple[int, int]) -> float:
    return pushback_ms[0] / 1000


OVERLOADED = Refusal(
    ResourceExhaustedError(
        "OVERLOADED",
        "too many calls wait before this one; more important ones go first",
        {"ring": "edge"},
        retry_after_s=_retry_after_s(OVERLOAD_PUSHBACK_MS),
    ),
    OVERLOAD_PUSHBACK_MS,
)
OVERLOADED_LOW = replace(OVERLOADED, is_final=True)
QUEUE_TIME_PASSED = Refusal(
    UnavailableError(
        "OVERLOADED",
        "no replica took the call in time",
        {"ring": "edge"},
        retry_after_s=_retry_after_s(OVERLOAD_PUSHBACK_MS),
    ),
    OVERLOAD_PUSHBACK_MS,
)
NO_REPLICA = Refusal(
    UnavailableError(
        "SERVICE_UNAVAILABLE",
        "no replica of the service can take calls",
        retry_after_s=_retry_after_s(AWAY_PUSHBACK_MS),
    ),
    AWAY_PUSHBACK_MS,
)
REPLICA_LOST = Refusal(
    UnavailableError(
        "SERVICE_UNAVAILABLE",
        "the replica went away during the call",
        retry_after_s=_retry_after_s(AWAY_PUSHBACK_MS),
    ),
    AWAY_PUSHBACK_MS,
)
CORP_LIMIT = Refusal(
    ResourceExhaustedError(
        "RATE_LIMITED",
        "the corp calls this method too often",
        {"limit": "corp"},
        retry_after_s=_retry_after_s(LIMIT_PUSHBACK_MS),
    ),
    LIMIT_PUSHBACK_MS,
)
USER_LIMIT = Refusal(
    ResourceExhaustedError(
        "RATE_LIMITED",
        "the caller calls this method too often",
        {"limit": "user"},
        retry_after_s=_retry_after_s(LIMIT_PUSHBACK_MS),
    ),
    LIMIT_PUSHBACK_MS,
)
ADDRESS_LIMIT = Refusal(
    ResourceExhaustedError(
        "RATE_LIMITED",
        "too many calls from this address",
        {"limit": "address"},
        retry_after_s=_retry_after_s(LIMIT_PUSHBACK_MS),
    ),
    LIMIT_PUSHBACK_MS,
)
TOO_LARGE = Refusal(
    ResourceExhaustedError("REQUEST_TOO_LARGE", "the request is larger than a call may be")
)
LARGE_WITHOUT_TOKEN = Refusal(
    UnauthenticatedError("TOKEN_MISSING", "sign in first: the request is large")
)
MALFORMED = Refusal(
    InvalidArgumentError(
        {"request": "must be a gRPC request: POST, application/grpc, and for a call one message"},
        reason="REQUEST_MALFORMED",
    )
)
TOO_SLOW = Refusal(
    DeadlineExceededError("REQUEST_TOO_SLOW", "the request did not arrive in time"),
)
CALL_TIMED_OUT = Refusal(
    DeadlineExceededError("DEADLINE_PASSED", "the replica did not answer in time")
)
UNKNOWN_METHOD = Refusal(_UnimplementedError("METHOD_UNKNOWN", "no service has this method"))


def _percent_encode(text: str) -> str:
    # HAProxy and gRPC both read %; the texts above are ASCII.
    return text.replace("%", "%%25").replace('"', "'")
