"""Failed calls as Python errors: the code, the reason and what else the service said about it.

The reason is a name of the service's published enum ``ErrorReason`` without ``ERROR_REASON_``; it
stays the same between releases, the text does not::

    except TielineError as error:
        if error.reason == "RED_PACKET_EMPTY": ...
"""

from collections.abc import Mapping
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

STATUS_DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"
PUSHBACK_KEY = "grpc-retry-pushback-ms"

# The one reason that the library answers by itself.
TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 -- no token

OVERLOADED = "OVERLOADED"
"""The service refused the call for its priority, or would have: nothing was done."""

# A pushback below zero, or one that is no number, means: do not retry (gRFC A6).
NEVER_RETRY_S = -1.0


class TielineError(Exception):
    """A call failed.

    UNAVAILABLE, DEADLINE_EXCEEDED and CANCELLED leave open whether it took effect: send the same
    request again, with the same request id. Every other code means that nothing was changed.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        text: str,
        *,
        reason: str = "",
        domain: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        pushback_s: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(f"{code.name}{f' {reason}' if reason else ''}: {text}")
        self.code = code
        self.text = text
        """For people; may change between releases."""
        self.reason = reason
        """Of ErrorInfo; empty where no service answered."""
        self.domain = domain
        """Whose reason it is: ``tieline.dev``, or empty."""
        self.metadata = metadata or {}
        """What the reason is about, such as ``{"userId": "li.wei"}``."""
        self.violations = violations or {}
        """Of BadRequest: field path to what the field must be."""
        self.retry_after_s = retry_after_s
        """Of RetryInfo: seconds after which the request may be sent again; None if not said."""
        self.pushback_s = pushback_s
        """Seconds to wait before a retry as the edge wants it; below 0 never; None if not said."""
        self.request_id = request_id
        """The request's name in the logs of every service that it passed."""

    @classmethod
    def from_rpc_error(cls, error: grpc.aio.AioRpcError) -> Self:
        """Read everything that came with a failed call."""
        trailers = dict(error.trailing_metadata() or ())
        details = _Details(trailers.get(STATUS_DETAILS_KEY))
        return cls(
            error.code(),
            error.details() or "no details",
            reason=details.info.reason,
            domain=details.info.domain,
            metadata=dict(details.info.metadata),
            violations={
                item.field: item.description for item in details.bad_request.field_violations
            },
            retry_after_s=details.retry_after_s,
            pushback_s=_read_pushback(trailers.get(PUSHBACK_KEY)),
            request_id=str(trailers.get(REQUEST_ID_KEY, "")),
        )


class _Details:
    """The google.rpc details of a failed call; empty where a proxy wrote something else there."""

    def __init__(self, raw: Any) -> None:
        self.info = error_details_pb2.ErrorInfo()
        self.bad_request = error_details_pb2.BadRequest()
        self.retry_after_s: float | None = None
        try:
            status = status_pb2.Status.FromString(raw or b"")
        except (DecodeError, TypeError):
            return
        for detail in status.details:
            self._read(detail)

    def _read(self, detail: Any) -> None:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            self.retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
        else:
            detail.Unpack(self.info) or detail.Unpack(self.bad_request)


def _read_pushback(raw: str | bytes | None) -> float | None:
    if raw is None:
        return None
    try:
        return int(raw) / 1000
    except ValueError:
        return NEVER_RETRY_S
