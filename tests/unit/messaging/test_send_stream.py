"""The window and the order of a send stream, with outcomes that the test gives."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from fakes.eventually import eventually
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2
from tieline.chassis.errors import NotFoundError, ResourceExhaustedError
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.messaging.live.open_streams import OpenStreams
from tieline.messaging.sending.stream import (
    MAX_REQUEST_MESSAGES,
    MAX_SEND_STREAMS,
    MAX_UNANSWERED,
    SendStream,
)

Outcome = asyncio.Future[messaging_pb2.Message]


class Committer:
    """Takes messages in; their outcomes are the test's to give."""

    def __init__(self) -> None:
        self.taken: list[Outcome] = []

    async def begin(self, request: messaging_service_pb2.SendMessagesRequest) -> Iterator[Outcome]:
        if not request.messages:
            raise NotFoundError("CORP_NOT_FOUND", "no such corp")
        return (self._take() for _ in request.messages)

    def _take(self) -> Outcome:
        self.taken.append(asyncio.get_running_loop().create_future())
        return self.taken[-1]

    def store(self, number: int) -> None:
        self.taken[number].set_result(messaging_pb2.Message(sequence=number))


def request(count: int = 1) -> messaging_service_pb2.SendMessagesRequest:
    return messaging_service_pb2.SendMessagesRequest(
        messages=[messaging_pb2.OutgoingMessage()] * count
    )


async def feed(
    *requests: messaging_service_pb2.SendMessagesRequest,
) -> AsyncIterator[messaging_service_pb2.SendMessagesRequest]:
    for each in requests:
        yield each


async def test_results_come_in_the_order_of_the_messages_whatever_is_done_first() -> None:
    committer = Committer()
    responses = SendStream(feed(request(2), request()), committer.begin).run()
    first = asyncio.create_task(anext(responses))
    await eventually(lambda: len(committer.taken) == 3)
    committer.store(1)
    committer.store(2)
    await asyncio.sleep(0)

    assert not first.done()
    committer.store(0)
    results = [*(await first).results, *[each async for r in responses for each in r.results]]

    assert [result.message.sequence for result in results] == [0, 1, 2]


async def test_fault_of_one_message_is_its_own_and_tells_nothing_but_an_incident() -> None:
    committer = Committer()
    responses = SendStream(feed(request(2)), committer.begin).run()
    first = asyncio.create_task(anext(responses))
    await eventually(lambda: len(committer.taken) == 2)
    committer.taken[0].set_exception(ValueError("a secret of ours"))
    committer.store(1)

    fault, stored = (await first).results

    assert (fault.error.code, fault.error.reason) == (13, "INTERNAL")
    assert "secret" not in str(fault)
    assert stored.message.sequence == 1
    await responses.aclose()


async def test_client_that_reads_no_results_is_not_read_from_beyond_the_window() -> None:
    committer = Committer()
    requests = feed(*[request(MAX_REQUEST_MESSAGES)] * 20)
    responses = SendStream(requests, committer.begin).run()
    first = asyncio.create_task(anext(responses))
    await eventually(lambda: len(committer.taken) >= MAX_UNANSWERED)
    for number in range(len(committer.taken)):
        committer.store(number)
    await first
    await eventually(lambda: len(committer.taken) > MAX_UNANSWERED)
    for _ in range(100):
        await asyncio.sleep(0)

    # One response was taken, so room for one more request was made.
    assert len(committer.taken) <= MAX_UNANSWERED + MAX_REQUEST_MESSAGES
    await responses.aclose()


async def test_stream_that_is_left_takes_back_what_waits() -> None:
    committer = Committer()
    responses = SendStream(feed(request(3)), committer.begin).run()
    first = asyncio.create_task(anext(responses))
    await eventually(lambda: len(committer.taken) == 3)
    committer.store(0)
    await first

    await responses.aclose()

    assert [outcome.cancelled() for outcome in committer.taken] == [False, True, True]


async def test_request_that_ends_the_stream_does_so_behind_the_results_before_it() -> None:
    committer = Committer()
    responses = SendStream(feed(request(), request(0), request()), committer.begin).run()
    first = asyncio.create_task(anext(responses))
    await eventually(lambda: len(committer.taken) == 1)
    committer.store(0)

    assert len((await first).results) == 1
    with pytest.raises(NotFoundError):
        await anext(responses)
    assert len(committer.taken) == 1


def test_one_stream_too_many_is_refused_and_an_ended_one_makes_room() -> None:
    streams = OpenStreams(MAX_SEND_STREAMS, "TOO_MANY_SEND_STREAMS", "send streams")
    person = Principal(PrincipalKind.MEMBER, "li.wei", "ww0", "session")
    entered = [streams.entered(person) for _ in range(MAX_SEND_STREAMS)]
    for each in entered:
        each.__enter__()

    with pytest.raises(ResourceExhaustedError), streams.entered(person):
        pass
    with streams.entered(Principal(PrincipalKind.MEMBER, "zhang.san", "ww0", "session")):
        pass
    entered[0].__exit__(None, None, None)

    with streams.entered(person):
        pass
