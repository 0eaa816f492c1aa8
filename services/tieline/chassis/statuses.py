"""ServiceErrors as ``google.rpc.Status`` and back, for every transport that carries them."""

from datetime import timedelta

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from tieline.chassis.errors import (
    AbortedError,
    AlreadyExistsError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)

ERROR_DOMAIN = "tieline.dev"

_ERROR_TYPES: dict[str, type[ServiceError]] = {
    error_type.code: error_type
    for error_type in (
        AbortedError,
        AlreadyExistsError,
        DeadlineExceededError,
        FailedPreconditionError,
        NotFoundError,
        PermissionDeniedError,
        ResourceExhaustedError,
        UnauthenticatedError,
        UnavailableError,
    )
}


def to_status(error: ServiceError) -> status_pb2.Status:
    """Return the error with ErrorInfo, and with BadRequest and RetryInfo where it has them."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(
            reason=error.reason, domain=ERROR_DOMAIN, metadata=dict(error.metadata)
        )
    ]
    if error.violations:
        bad_request = error_details_pb2.BadRequest()
        for field, rule in error.violations.items():
            bad_request.field_violations.add(field=field, description=rule)
        details.append(bad_request)
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(timedelta(seconds=error.retry_after_s))
        details.append(retry)
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=error.text)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def from_status(status: status_pb2.Status) -> ServiceError | None:
    """Return the error that the status tells of; None for one that is no ServiceError's."""
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    retry_after_s = None
    for detail in status.details:
        if detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
        else:
            _ = detail.Unpack(info) or detail.Unpack(bad_request)
    code = code_pb2.Code.Name(status.code)
    if code == InvalidArgumentError.code:
        violations = {v.field: v.description for v in bad_request.field_violations}
        return InvalidArgumentError(violations, reason=info.reason)
    error_type = _ERROR_TYPES.get(code)
    if error_type is None:
        return None
    return error_type(info.reason, status.message, dict(info.metadata), retry_after_s=retry_after_s)
