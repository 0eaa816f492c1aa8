"""Long work waits for itself and for nobody else."""

import asyncio
import threading

from tieline.chassis.bulkheads import Bulkhead
from tieline.chassis.calls import Call, entered, find_call


async def test_a_full_bulkhead_holds_up_nothing_else() -> None:
    crowded, free = Bulkhead("crowded", threads=1), Bulkhead("free", threads=1)
    door = threading.Event()
    waiting = [asyncio.create_task(crowded.run(door.wait, 10)) for _ in range(50)]
    try:
        assert await asyncio.wait_for(free.run(lambda: "done"), 5) == "done"
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 5) == "done"
        assert not any(task.done() for task in waiting)
    finally:
        door.set()
    assert all(await asyncio.gather(*waiting))


async def test_work_knows_its_call_and_its_errors_come_back() -> None:
    def fail() -> None:
        raise ValueError(str(find_call()))

    call = Call("/test", "request-1")
    with entered(call):
        error = await asyncio.gather(Bulkhead("one", threads=1).run(fail), return_exceptions=True)

    assert "request-1" in str(error[0])
