"""What PostgreSQL says of a command that it has done."""


def count_rows(tag: str) -> int:
    """Return how many rows a command changed, by its tag: ``DELETE 3``, ``INSERT 0 3``."""
    return int(tag.rpartition(" ")[2])
