"""The batcher's promises, against a transaction that is only recorded."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.eventually import eventually
from tieline.chassis.calls import Call, entered
from tieline.chassis.commit_batch import CommitBatcher
from tieline.chassis.errors import (
    DeadlineExceededError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)
from tieline.chassis.postgres import Connection, Pool


class RecordingPool:
    """Stands in for PostgreSQL: remembers what was committed, transaction by transaction."""

    def __init__(self) -> None:
        self.committed: list[list[Any]] = []
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self._written: list[Any] = []

    @asynccontextmanager
    async def acquire(self, *, spares_reset: bool = False) -> AsyncIterator["RecordingPool"]:
        yield self

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self._written = []
        yield
        await self.may_commit.wait()
        self.committed.append(self._written)

    def write(self, items: Sequence[Any]) -> None:
        self._written += items


async def write_all(connection: Connection, items: Sequence[str]) -> list[str | ServiceError]:
    """Write each item; refuse those that begin with "missing", fail with those called "corrupt"."""
    outcomes: list[str | ServiceError] = []
    for item in items:
        if item == "away":
            raise UnavailableError("DATABASE_UNAVAILABLE", "away")
        if item == "corrupt":
            raise ValueError(item)
        if item.startswith("missing"):
            outcomes.append(NotFoundError("MISSING", item))
        else:
            cast(RecordingPool, connection).write([item])
            outcomes.append(item.upper())
    return outcomes


def batcher(pool: RecordingPool, **options: Any) -> CommitBatcher[str, str]:
    return CommitBatcher(cast(Pool, pool), write_all, **options)


async def submit_behind_a_commit(
    batches: CommitBatcher[str, str], pool: RecordingPool, items: Sequence[str]
) -> list[str | BaseException]:
    """Submit the items while another commit is under way, so that they wait together."""
    pool.may_commit.clear()
    first = asyncio.create_task(batches.submit("first"))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(batches.submit(item)) for item in items]
    await asyncio.sleep(0)
    pool.may_commit.set()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_idle_batcher_commits_one_item_at_once() -> None:
    pool = RecordingPool()
    async with batcher(pool) as batches:
        outcome = await batches.submit("a")

    assert outcome == "A"
    assert pool.committed == [["a"]]


async def test_what_waits_for_a_commit_shares_the_next_one() -> None:
    pool = RecordingPool()
    async with batcher(pool) as batches:
        outcomes = await submit_behind_a_commit(batches, pool, ["a", "b", "c"])

    assert outcomes == ["A", "B", "C"]
    assert pool.committed == [["first"], ["a", "b", "c"]]


async def test_batch_is_bounded() -> None:
    pool = RecordingPool()
    async with batcher(pool, max_batch=2) as batches:
        await submit_behind_a_commit(batches, pool, ["a", "b", "c", "d", "e"])

    assert pool.committed == [["first"], ["a", "b"], ["c", "d"], ["e"]]


async def test_refused_item_fails_alone_and_in_the_same_transaction() -> None:
    pool = RecordingPool()
    async with batcher(pool) as batches:
        outcomes = await submit_behind_a_commit(batches, pool, ["a", "missing", "b"])

    assert outcomes[0] == "A"
    assert isinstance(outcomes[1], NotFoundError)
    assert outcomes[2] == "B"
    assert pool.committed == [["first"], ["a", "b"]]


async def test_item_that_breaks_the_transaction_fails_alone() -> None:
    pool = RecordingPool()
    async with batcher(pool) as batches:
        outcomes = await submit_behind_a_commit(batches, pool, ["a", "corrupt", "b"])

    assert outcomes[0] == "A"
    assert isinstance(outcomes[1], ValueError)
    assert outcomes[2] == "B"
    assert pool.committed == [["first"], ["a"], ["b"]]


async def attempt_short(
    connection: Connection, items: Sequence[str]
) -> list[str | ServiceError] | None:
    """Commit at once what has short names alone; leave the rest."""
    if any(len(item) > 1 for item in items if item != "corrupt"):
        return None
    if "corrupt" in items:
        raise ValueError("corrupt")
    cast(RecordingPool, connection).committed.append([f"{item} at once" for item in items])
    return [item.upper() for item in items]


async def test_what_the_attempt_leaves_is_committed_in_a_transaction() -> None:
    pool = RecordingPool()
    async with batcher(pool, attempt=attempt_short) as batches:
        outcomes = await submit_behind_a_commit(batches, pool, ["a", "b"])
        outcomes += await submit_behind_a_commit(batches, pool, ["c", "long"])

    assert outcomes == ["A", "B", "C", "LONG"]
    assert pool.committed == [["first"], ["a at once", "b at once"], ["first"], ["c", "long"]]


async def test_item_that_breaks_the_attempt_fails_alone() -> None:
    pool = RecordingPool()
    async with batcher(pool, attempt=attempt_short) as batches:
        outcomes = await submit_behind_a_commit(batches, pool, ["a", "corrupt", "b"])

    assert outcomes[0] == "A"
    assert isinstance(outcomes[1], ValueError)
    assert outcomes[2] == "B"
    assert pool.committed == [["first"], ["a at once"], ["b at once"]]


async def test_lost_database_fails_the_whole_batch_and_not_the_next_one() -> None:
    pool = RecordingPool()
    async with batcher(pool) as batches:
        outcomes = await submit_behind_a_commit(batches, pool, ["a", "away", "b"])
        after = await batches.submit("after")

    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    assert after == "AFTER"


async def test_cancelled_caller_leaves_nothing_behind() -> None:
    pool = RecordingPool()
    async with batcher(pool) as batches:
        pool.may_commit.clear()
        first = asyncio.create_task(batches.submit("first"))
        await asyncio.sleep(0)
        cancelled = asyncio.create_task(batches.submit("cancelled"))
        await asyncio.sleep(0)
        cancelled.cancel()
        pool.may_commit.set()
        await first
        await batches.submit("last")

    assert pool.committed == [["first"], ["last"]]


async def test_item_whose_deadline_has_passed_is_not_committed() -> None:
    pool = RecordingPool()
    async with batcher(pool) as batches:
        late = Call("/test", "r", deadline=time.monotonic() - 1)
        with entered(late), pytest.raises(DeadlineExceededError):
            await batches.submit("late")
        with entered(Call("/test", "r", deadline=time.monotonic() + 60)):
            await batches.submit("in time")

    assert pool.committed == [["in time"]]


async def test_item_whose_deadline_passes_while_others_go_one_by_one_is_not_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.monotonic()
    pool = RecordingPool()

    async def commit(connection: Connection, items: Sequence[str]) -> list[str | ServiceError]:
        nonlocal now
        if items == ["a"]:
            now += 60  # as if it had waited
        return await write_all(connection, items)

    async def submit(batches: CommitBatcher[str, str], item: str) -> str:
        with entered(Call("/test", "r", deadline=now + 20)):
            return await batches.submit(item)

    monkeypatch.setattr("tieline.chassis.commit_batch.monotonic", lambda: now)
    async with CommitBatcher(cast(Pool, pool), commit) as batches:
        outcomes = await asyncio.gather(
            *(submit(batches, item) for item in ("corrupt", "a", "b")), return_exceptions=True
        )

    assert [type(outcome) for outcome in outcomes] == [ValueError, str, DeadlineExceededError]
    assert pool.committed == [["a"]]


async def test_leaving_commits_what_waits_and_refuses_what_comes_after() -> None:
    pool = RecordingPool()
    pool.may_commit.clear()
    batches = batcher(pool)
    async with batches:
        waiting = [asyncio.create_task(batches.submit(f"{n}")) for n in range(3)]
        await asyncio.sleep(0)
        pool.may_commit.set()

    assert await asyncio.gather(*waiting) == ["0", "1", "2"]
    with pytest.raises(UnavailableError) as raised:
        await batches.submit("late")
    assert raised.value.reason == "SHUTTING_DOWN"


async def test_lanes_commit_at_the_same_time_and_one_key_stays_in_order() -> None:
    begun: list[str] = []
    release = asyncio.Event()

    async def commit(_: Connection, items: Sequence[str]) -> list[str | ServiceError]:
        begun.extend(items)
        if "a1" in items:
            await release.wait()
        return list(items)

    # "a" and "d" fall into different lanes of two.
    batches = CommitBatcher(
        cast(Pool, RecordingPool()), commit, lanes=2, lane_of=lambda item: item[0]
    )
    async with batches:
        blocked = [asyncio.create_task(batches.submit("a1"))]
        await eventually(lambda: "a1" in begun)
        blocked.append(asyncio.create_task(batches.submit("a2")))
        await batches.submit("d1")
        release.set()
        await asyncio.gather(*blocked)

    assert begun == ["a1", "d1", "a2"]


@settings(max_examples=50, deadline=None)
@given(
    items=st.lists(st.sampled_from(["ok", "missing", "corrupt"]), min_size=1, max_size=40),
    max_batch=st.integers(1, 10),
)
def test_each_item_gets_exactly_its_own_outcome(items: list[str], max_batch: int) -> None:
    numbered = [kind if kind == "corrupt" else f"{kind}{n}" for n, kind in enumerate(items)]

    async def run() -> tuple[list[str | BaseException], RecordingPool]:
        pool = RecordingPool()
        async with batcher(pool, max_batch=max_batch) as batches:
            return await submit_behind_a_commit(batches, pool, numbered), pool

    outcomes, pool = asyncio.run(run())

    for item, outcome in zip(numbered, outcomes, strict=True):
        if item == "corrupt":
            assert isinstance(outcome, ValueError)
        elif item.startswith("missing"):
            assert isinstance(outcome, NotFoundError)
            assert str(outcome) == item
        else:
            assert outcome == item.upper()
    committed = [item for batch in pool.committed for item in batch]
    assert committed == ["first", *(item for item in numbered if item.startswith("ok"))]
