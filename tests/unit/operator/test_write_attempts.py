"""Writes that may fail."""

import asyncio

import pytest

from tieline.operator.cluster import ClusterError, ConflictError
from tieline.operator.write_attempts import Write, WriteAttempts


async def test_a_write_that_is_cancelled_before_its_turn_was_never_begun() -> None:
    begun = []

    async def write() -> None:
        begun.append(True)

    attempt = asyncio.create_task(WriteAttempts().succeeds(Write.EVENT, write))
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)

    assert attempt.cancelled()
    assert not begun


@pytest.mark.parametrize(
    ("error", "conflicts"), [(ClusterError("away"), 0), (ConflictError("changed"), 1)]
)
async def test_a_write_that_fails_is_counted_and_raises_nothing(
    error: ClusterError, conflicts: int
) -> None:
    async def write() -> None:
        raise error

    attempts = WriteAttempts()

    assert not await attempts.succeeds(Write.SCALE, write)
    assert attempts.failed[Write.SCALE] == 1
    assert attempts.conflicts[Write.SCALE] == conflicts
