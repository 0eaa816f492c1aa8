"""What became of each of many messages, as the API tells it. Pure."""

from collections.abc import Callable

from google.rpc import code_pb2

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import ServiceError

# Results stand in the order of the messages, which say this themselves.
_SAID_BY_THE_MESSAGE = frozenset({"conversationId", "clientMessageId"})


def build_result(
    outcome: messaging_pb2.Message | BaseException, report_fault: Callable[[BaseException], str]
) -> messaging_pb2.SendResult:
    """Return the result of one message.

    ``report_fault`` is told of faults of ours, and returns the incident number under which they are
    logged: the caller learns no more than that.
    """
    result = messaging_pb2.SendResult()
    write_result(result, outcome, report_fault)
    return result


def write_result(
    result: messaging_pb2.SendResult,
    outcome: messaging_pb2.Message | BaseException,
    report_fault: Callable[[BaseException], str],
) -> None:
    """Fill in what :func:`build_result` returns, in its place in a response: half the copies."""
    if isinstance(outcome, messaging_pb2.Message):
        result.message.CopyFrom(outcome)
    elif isinstance(outcome, ServiceError):
        result.error.CopyFrom(build_error(outcome))
    else:
        incident = report_fault(outcome)
        result.error.code = code_pb2.INTERNAL
        result.error.reason = "INTERNAL"
        result.error.text = f"internal error; incident {incident}"
        result.error.metadata["incident"] = incident


def build_error(error: ServiceError) -> messaging_pb2.SendError:
    """Return the error without what its message says itself."""
    proto = messaging_pb2.SendError(
        code=code_pb2.Code.Value(error.code),
        reason=error.reason,
        text=error.text,
        metadata={
            key: value for key, value in error.metadata.items() if key not in _SAID_BY_THE_MESSAGE
        },
        violations=dict(error.violations),
    )
    if error.retry_after_s is not None:
        proto.retry_delay.FromNanoseconds(round(error.retry_after_s * 1e9))
    return proto
