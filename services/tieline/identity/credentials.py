"""The one answer to whoever did not prove who they are, whatever was wrong. Pure."""

from tieline.chassis.errors import UnauthenticatedError


def credentials_rejected_error() -> UnauthenticatedError:
    """Return the error; nothing in it tells one cause from another."""
    return UnauthenticatedError("CREDENTIALS_REJECTED", "the credentials are not right")
