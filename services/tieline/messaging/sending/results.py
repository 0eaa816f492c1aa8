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
    if isinstance(outcome, messaging_pb2.Message):
        return messaging_pb2.SendResult(message=outcome)
    if isinstance(outcome, ServiceError):
        return messaging_pb2.SendResult(error=build_error(outcome))
    incident = report_fault(outcome)
    return messaging_pb2.SendResult(
        error=messaging_pb2.SendError(
            code=code_pb2.INTERNAL,
            reason="INTERNAL",
            text=f"internal error; incident {incident}",
            metadata={"incident": incident},
        )
    )


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
