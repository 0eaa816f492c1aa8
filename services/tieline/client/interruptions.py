"""Which ends of a long-lived stream pass by themselves: another stream may fare better. Pure."""

import grpc

from tieline.client.errors import TOKEN_EXPIRED, TielineError

# What a restart, a slow reader or the network causes. Everything else stays wrong when repeated.
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNKNOWN,
    }
)

# Of the codes above, what another try can't help: the party's other streams stay open.
_LASTING_REASONS = frozenset({"TOO_MANY_SUBSCRIPTIONS", "TOO_MANY_SEND_STREAMS"})


def is_passing(error: TielineError) -> bool:
    """Tell whether another stream may be opened after one that ended with this error."""
    if error.reason == TOKEN_EXPIRED:
        return True
    return error.code in _PASSING and error.reason not in _LASTING_REASONS
