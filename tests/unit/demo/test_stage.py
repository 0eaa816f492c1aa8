"""Working together, and patience that ends."""

import asyncio

import pytest

from tieline.demo.stage import CONCURRENCY, DemoError, together, wait_until


async def test_results_come_in_the_order_of_the_work_whatever_ends_first() -> None:
    async def work(number: int) -> int:
        for _ in range(10 - number % 10):
            await asyncio.sleep(0)
        return number

    assert await together(work(number) for number in range(200)) == list(range(200))


async def test_work_is_not_begun_before_there_is_room_for_it() -> None:
    begun = 0
    may_end = asyncio.Event()

    async def work() -> None:
        await may_end.wait()

    def pieces() -> list[int]:
        return list(range(CONCURRENCY * 2))

    async def begin() -> None:
        nonlocal begun

        def note(_: int) -> asyncio.Task[None]:
            nonlocal begun
            begun += 1
            return asyncio.create_task(work())

        await together(map(note, pieces()))

    task = asyncio.create_task(begin())
    for _ in range(10):
        await asyncio.sleep(0)
    begun_at_first = begun
    may_end.set()
    await task

    assert begun_at_first == CONCURRENCY
    assert begun == CONCURRENCY * 2


async def test_first_failure_ends_the_rest() -> None:
    async def work(number: int) -> None:
        if number == 3:
            raise DemoError("no")
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await together(work(number) for number in range(10))

    assert caught.group_contains(DemoError, match="no")


async def test_patience_ends_in_an_error_that_says_what_was_waited_for() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(DemoError, match="until the moon rose"):
        await wait_until("the moon rose", never, patience_s=0.0)
