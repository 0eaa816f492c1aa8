import asyncio

from tieline.chassis.tasks import end_task


async def test_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def run() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1

    task = asyncio.create_task(run())
    await asyncio.sleep(0)

    await end_task(task)

    assert swallowed == 1
    assert task.cancelled()


async def test_task_that_failed_or_ended_before_is_no_error() -> None:
    async def fail() -> None:
        raise ValueError("ours")

    for task in (asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))):
        await asyncio.wait([task])

        await end_task(task)
