"""Etags: what a caller read is what the caller changes. Pure."""

from tieline.chassis.errors import AbortedError


def check_etag(given: str, current: int | str) -> None:
    """Raise AbortedError (ETAG_MISMATCH) unless ``given`` is empty or the resource's etag now."""
    if given and given != str(current):
        raise AbortedError(
            "ETAG_MISMATCH",
            "somebody else changed it meanwhile: read it and decide again",
            {"etag": str(current)},
        )
