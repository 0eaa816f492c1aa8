"""Failures as gRPC callers see them: a status with google.rpc details, and no more than that.

ServiceError        its code, text, ErrorInfo, and BadRequest or RetryInfo
a fault of ours     INTERNAL "internal error; incident <id>", logged once in full with the id
"""

import logging
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from tieline.chassis.calls import Call
from tieline.chassis.errors import InvalidArgumentError, ServiceError
from tieline.chassis.ids import new_uuid7
from tieline.chassis.interceptors.request_ids import REQUEST_ID_KEY
from tieline.chassis.logs import shorten
from tieline.chassis.statuses import ERROR_DOMAIN, to_status

STATUS_DETAILS_KEY = "grpc-status-details-bin"

# Clients refuse more than 8 KiB of metadata and then see no error but their own. What does not fit
# is shortened: 10 violations of 300 characters, or 3 metadata entries of 256 with 3 bytes each.
MAX_STATUS_BYTES = 3 * 1024
MAX_VIOLATIONS = 10
MAX_FIELD_LENGTH = 100
MAX_RULE_LENGTH = 200
MAX_METADATA_LENGTH = 256

# Sent twice, once percent-encoded: 9 bytes a Chinese character.
MAX_TEXT_LENGTH = 300

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """What to end a call with."""

    code: grpc.StatusCode
    text: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def describe_service_error(error: ServiceError, call: Call) -> Failure:
    """Return the caller's view of an expected failure."""
    status = to_status(error)
    if status.ByteSize() > MAX_STATUS_BYTES:
        status = to_status(_shortened(error))
    return _build_failure(grpc.StatusCode[error.code], status, call)


def describe_fault(error: BaseException, call: Call) -> Failure:
    """Return the caller's view of a fault of ours; log what the caller must not see."""
    incident = new_uuid7()
    logger.error("%s failed; incident %s", call.method, incident, exc_info=error)
    info = AnyMessage()
    info.Pack(
        error_details_pb2.ErrorInfo(
            reason="INTERNAL", domain=ERROR_DOMAIN, metadata={"incident": incident}
        )
    )
    code = grpc.StatusCode.INTERNAL
    text = f"internal error; incident {incident}"
    status = status_pb2.Status(code=code.value[0], message=text, details=[info])
    return _build_failure(code, status, call)


def _shortened(error: ServiceError) -> ServiceError:
    if isinstance(error, InvalidArgumentError):
        first = list(error.violations.items())[:MAX_VIOLATIONS]
        return InvalidArgumentError(
            {
                shorten(field, MAX_FIELD_LENGTH): shorten(rule, MAX_RULE_LENGTH)
                for field, rule in first
            },
            reason=error.reason,
        )
    return type(error)(
        error.reason,
        error.text,
        {key: shorten(value, MAX_METADATA_LENGTH) for key, value in error.metadata.items()},
        retry_after_s=error.retry_after_s,
    )


def _build_failure(code: grpc.StatusCode, status: status_pb2.Status, call: Call) -> Failure:
    status.message = shorten(status.message, MAX_TEXT_LENGTH)
    return Failure(
        code,
        status.message,
        ((STATUS_DETAILS_KEY, status.SerializeToString()), (REQUEST_ID_KEY, call.request_id)),
    )
