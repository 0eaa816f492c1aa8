"""What a caller can act on, as exceptions. Imports no transport: rules raise these.

    ServiceError
    ├── InvalidArgumentError      fix the request
    ├── UnauthenticatedError      sign in, or refresh the token
    ├── PermissionDeniedError     somebody else must do it
    ├── NotFoundError             not there, or not visible to the caller
    ├── AlreadyExistsError        the name is taken
    ├── FailedPreconditionError   change the state first
    ├── AbortedError              lost against a concurrent change: send it again
    ├── ResourceExhaustedError    a limit is reached: wait
    ├── DeadlineExceededError     too late to begin
    └── UnavailableError          send it again after a while

The code says what the caller should do, the reason (a value of a proto enum ``ErrorReason``) what
happened. Everything dynamic in the text is also in the metadata.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

NO_METADATA: Mapping[str, str] = MappingProxyType({})


class ServiceError(Exception):
    """An expected failure: its text and metadata are shown to the caller as they are."""

    code: ClassVar[str]
    """Name of the gRPC status code."""

    def __init__(
        self,
        reason: str,
        text: str,
        metadata: Mapping[str, str] = NO_METADATA,
        *,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.metadata = metadata
        self.retry_after_s = retry_after_s
        self.violations: Mapping[str, str] = NO_METADATA


class InvalidArgumentError(ServiceError):
    """No state of the service could satisfy this request.

    ``violations`` maps field paths, such as ``members[3].user_id``, to what each must be; callers
    get all of them at once.
    """

    code = "INVALID_ARGUMENT"

    def __init__(self, violations: Mapping[str, str], *, reason: str = "INVALID_FIELD") -> None:
        text = "; ".join(f"{field} {rule}" for field, rule in violations.items())
        super().__init__(reason, text)
        self.violations = violations


class UnauthenticatedError(ServiceError):
    """The caller is not known."""

    code = "UNAUTHENTICATED"


class PermissionDeniedError(ServiceError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class NotFoundError(ServiceError):
    """There is no such thing, or the caller may not know of it."""

    code = "NOT_FOUND"


class AlreadyExistsError(ServiceError):
    """The name or id is taken."""

    code = "ALREADY_EXISTS"


class FailedPreconditionError(ServiceError):
    """The state must change before this request can succeed."""

    code = "FAILED_PRECONDITION"


class AbortedError(ServiceError):
    """A concurrent change won; the whole request may be sent again."""

    code = "ABORTED"


class ResourceExhaustedError(ServiceError):
    """A limit is reached."""

    code = "RESOURCE_EXHAUSTED"


class DeadlineExceededError(ServiceError):
    """The deadline had passed before the work began."""

    code = "DEADLINE_EXCEEDED"


class UnavailableError(ServiceError):
    """Something that the request needs is away; the same request succeeds later."""

    code = "UNAVAILABLE"


RETRY_DELAY_S = 1.0
"""When the overloaded are to be asked again: a level changes no sooner."""

OVERLOADED_TEXT = "the service is overloaded; try again after the time given"


def overloaded_error(delay_s: float) -> UnavailableError:
    """Return what somebody is told whose request is refused for its priority: nothing was done."""
    return UnavailableError("OVERLOADED", OVERLOADED_TEXT, retry_after_s=delay_s)
