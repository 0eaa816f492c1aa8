import asyncio

import pytest

from tieline.api.messaging.v1 import messaging_pb2
from tieline.chassis.errors import ResourceExhaustedError, UnavailableError
from tieline.messaging.conversations.rules import member
from tieline.messaging.live.subscriber import MAX_QUEUED_UPDATES, Subscriber, Update


def update(sequence: int = 1) -> Update:
    return Update(message=messaging_pb2.Message(sequence=sequence))


def subscriber() -> Subscriber:
    return Subscriber(("wwcorp", member("li.wei")))


async def test_updates_come_out_in_the_order_of_their_pushes() -> None:
    queue = subscriber()
    for sequence in (1, 2, 3):
        queue.push(update(sequence))

    assert [await queue.next_update() for _ in range(3)] == [update(1), update(2), update(3)]


async def test_a_waiting_reader_gets_what_is_pushed() -> None:
    queue = subscriber()
    reader = asyncio.create_task(queue.next_update())
    await asyncio.sleep(0)

    queue.push(update(5))

    assert await reader == update(5)


async def test_one_update_too_many_ends_the_subscriber_and_frees_its_queue() -> None:
    queue = subscriber()
    for sequence in range(MAX_QUEUED_UPDATES):
        queue.push(update(sequence))
    before = queue.is_ended

    queue.push(update())
    queue.push(update())

    assert (before, queue.is_ended) == (False, True)
    with pytest.raises(ResourceExhaustedError) as caught:
        await queue.next_update()
    assert caught.value.reason == "SUBSCRIBER_TOO_SLOW"


async def test_a_waiting_reader_learns_of_the_end() -> None:
    queue = subscriber()
    reader = asyncio.create_task(queue.next_update())
    await asyncio.sleep(0)

    queue.end(UnavailableError("SHUTTING_DOWN", "over"))

    with pytest.raises(UnavailableError):
        await reader
