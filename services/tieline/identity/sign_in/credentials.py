"""The one answer to whoever did not prove who they are, whatever was wrong. Pure."""

from tieline.chassis.errors import ResourceExhaustedError, UnauthenticatedError


def credentials_rejected_error() -> UnauthenticatedError:
    """Return the error; nothing in it tells one cause from another."""
    return UnauthenticatedError("CREDENTIALS_REJECTED", "the credentials are not right")


def sign_in_locked_error(wait_s: float) -> ResourceExhaustedError:
    """Return the error for an attempt that comes too soon after others, right or wrong."""
    return ResourceExhaustedError(
        "SIGN_IN_LOCKED", "too many attempts failed; try again later", retry_after_s=wait_s
    )
