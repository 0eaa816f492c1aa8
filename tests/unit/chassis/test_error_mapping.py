"""What callers see of failures."""

import logging

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from tieline.chassis.calls import Call
from tieline.chassis.errors import InvalidArgumentError, NotFoundError
from tieline.chassis.interceptors.error_mapping import (
    STATUS_DETAILS_KEY,
    Failure,
    describe_fault,
    describe_service_error,
)

CALL = Call("/a.B/C", "request-1")

# Clients' limit for all metadata of a call.
MAX_METADATA_BYTES = 8 * 1024


def size_bytes(failure: Failure) -> int:
    """Return an upper bound of what the failure takes on the wire: texts percent-encoded."""
    details = dict(failure.trailing_metadata)[STATUS_DETAILS_KEY]
    return len(details) * 4 // 3 + len(failure.text.encode()) * 3 + 500


def read_status(failure: Failure) -> status_pb2.Status:
    details = dict(failure.trailing_metadata)[STATUS_DETAILS_KEY]
    assert isinstance(details, bytes)
    return status_pb2.Status.FromString(details)


def test_service_error_keeps_code_reason_and_request_id() -> None:
    error = NotFoundError("CORP_NOT_FOUND", "no such corp", {"corpId": "wwacme"})

    failure = describe_service_error(error, CALL)

    info = error_details_pb2.ErrorInfo()
    assert read_status(failure).details[0].Unpack(info)
    assert failure.code is grpc.StatusCode.NOT_FOUND
    assert (info.reason, info.domain, info.metadata) == (
        "CORP_NOT_FOUND",
        "tieline.dev",
        {"corpId": "wwacme"},
    )
    assert ("x-request-id", "request-1") in failure.trailing_metadata


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(
            InvalidArgumentError({f"rows[{n}].name": "must be short" for n in range(1000)}),
            id="1,000 violations",
        ),
        pytest.param(InvalidArgumentError({"名" * 5000: "必" * 5000}), id="long violation"),
        pytest.param(
            NotFoundError("CORP_NOT_FOUND", "没有" * 9000, {"corpId": "企" * 9000}),
            id="the caller's own long id",
        ),
    ],
)
def test_large_failure_still_fits_into_the_metadata(
    error: InvalidArgumentError | NotFoundError,
) -> None:
    failure = describe_service_error(error, CALL)

    assert size_bytes(failure) < MAX_METADATA_BYTES
    assert len(read_status(failure).details) >= 1


def test_fault_tells_the_caller_an_incident_and_the_log_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = RuntimeError("password=hunter2 at /srv/secret.py")

    with caplog.at_level(logging.ERROR):
        failure = describe_fault(error, CALL)

    info = error_details_pb2.ErrorInfo()
    assert read_status(failure).details[0].Unpack(info)
    assert failure.code is grpc.StatusCode.INTERNAL
    assert failure.text == f"internal error; incident {info.metadata['incident']}"
    assert "hunter2" not in str(failure)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert info.metadata["incident"] in caplog.text
    assert "hunter2" in caplog.text
