"""How much of everything a corp may have. Pure."""

from tieline.chassis.errors import FailedPreconditionError


def check_limit(count: int, limit: str, maximum: int) -> None:
    """Raise FailedPreconditionError (LIMIT_REACHED) when ``count`` is above the maximum."""
    if count > maximum:
        raise FailedPreconditionError(
            "LIMIT_REACHED",
            f"there may be {maximum} {limit.replace('_', ' ')}: delete or move some first",
            {"limit": limit, "maximum": str(maximum)},
        )
