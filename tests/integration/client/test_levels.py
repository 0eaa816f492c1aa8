"""What a caller of ours and a service tell each other of overload, over a real connection."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest

from fakes.platform import FakePlatform, Refusal
from fakes.tokens import TestTokens
from tieline.api.common.v1 import admission_pb2
from tieline.api.directory.v1 import directory_service_pb2
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.client import Endpoints, RetryPolicy, Tieline, TielineError, connect
from tieline.client.connection import SignedIn
from tieline.client.credentials import SessionTokens

QUICK = RetryPolicy(first_delay_s=0.001, max_delay_s=0.01, budget_capacity=1000)

# The levels of a service that takes nothing but CRITICAL calls, to a NORMAL call.
STRICT = (("tieline-admission", "255 500"),)

FROM_EDGE = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", metadata={"ring": "edge"})
FROM_SERVICE = Refusal(grpc.StatusCode.NOT_FOUND, "MEMBER_NOT_FOUND", trailers=STRICT)


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    fake = FakePlatform()
    async with fake.serving():
        yield fake


@pytest.fixture
async def tieline(platform: FakePlatform) -> AsyncIterator[Tieline]:
    async with connect(Endpoints.single(platform.target), retries=QUICK) as connection:
        yield connection


def answers_in_turn(*answers: Refusal | Any) -> Any:
    """Return an answer that gives these one after the other, the last one for ever."""
    left = list(answers)

    def answer(request: Any, metadata: Mapping[str, str]) -> Any:
        given = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(given, Refusal):
            raise given
        return given

    return answer


async def look_up(tieline: Tieline | SignedIn) -> str:
    """Call, and return the reason and the ring of what the call ended with."""
    try:
        await tieline.directory.GetMember(directory_service_pb2.GetMemberRequest())
    except TielineError as error:
        return f"{error.reason} {error.metadata.get('ring', '')}".strip()
    return "OK"


def sent(platform: FakePlatform, key: str) -> list[str | None]:
    return [call.metadata.get(key) for call in platform.received("GetMember")]


async def test_a_level_is_heeded_and_what_was_held_back_is_told_by_the_next_call(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["GetMember"] = answers_in_turn(
        FROM_SERVICE, directory_service_pb2.GetMemberResponse()
    )

    first = await look_up(tieline)
    held_back = [await look_up(tieline) for _ in range(3)]
    tieline._lines.by_service["directory"].levels.of("").note("639 500")
    later = await look_up(tieline)

    assert first == "MEMBER_NOT_FOUND"
    assert held_back == ["OVERLOADED caller"] * 3
    assert later == "OK"
    assert sent(platform, "tieline-held-back") == [None, "0,0,3,0"]


def resume(tieline: Tieline, corp_id: str, user_id: str) -> SignedIn:
    late = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    token = TestTokens().member(corp_id, user_id)
    return tieline.resume(SessionTokens("session", token, late, "refresh", late))


async def test_a_corps_level_is_heeded_by_its_own_parties_alone_who_tell_what_they_held_back(
    platform: FakePlatform, tieline: Tieline
) -> None:
    flood, other_of_flood = (resume(tieline, "wwflood", user) for user in ("li.wei", "wang.fang"))
    neighbour = resume(tieline, "wwneighbour", "li.wei")
    platform.answers["GetMember"] = answers_in_turn(
        FROM_SERVICE, directory_service_pb2.GetMemberResponse()
    )

    parties = [flood, flood, other_of_flood, neighbour]
    outcomes = [await look_up(party) for party in parties]
    tieline._lines.by_service["directory"].levels.of("wwflood").note("639 500")
    outcomes.append(await look_up(other_of_flood))

    held_back = ["OVERLOADED caller"] * 2
    assert outcomes == ["MEMBER_NOT_FOUND", *held_back, "OK", "OK"]
    assert sent(platform, "tieline-held-back") == [None, None, "0,0,2,0"]


async def test_what_was_held_back_is_told_until_the_service_has_read_it(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["GetMember"] = answers_in_turn(
        FROM_SERVICE, FROM_EDGE, FROM_SERVICE, directory_service_pb2.GetMemberResponse()
    )
    level = tieline._lines.by_service["directory"].levels.of("")

    outcomes = []
    for _ in range(4):
        outcomes += [await look_up(tieline), await look_up(tieline)]
        level.note("639 500")

    # The edge's answer tells no level: the call behind it is not held back.
    assert outcomes[:2] == ["MEMBER_NOT_FOUND", "OVERLOADED caller"]
    assert outcomes[2:4] == ["OVERLOADED edge", "MEMBER_NOT_FOUND"]
    assert sent(platform, "tieline-held-back")[:4] == [None, "0,0,1,0", "0,0,1,0", None]


@pytest.mark.parametrize("how", ["well", "refused"])
async def test_the_level_at_the_end_of_a_stream_is_heeded(
    how: str, platform: FakePlatform, tieline: Tieline
) -> None:
    async def import_members(requests: Any, metadata: Mapping[str, str]) -> AsyncIterator[Any]:
        # An end that comes while the client still writes is lost: gRPC reports INTERNAL.
        async for _ in requests:
            yield directory_service_pb2.ImportMembersResponse()
        if how == "refused":
            raise FROM_SERVICE

    platform.answers["ImportMembers"] = import_members
    platform.trailers = STRICT
    platform.answers["GetMember"] = answers_in_turn(directory_service_pb2.GetMemberResponse())

    call = tieline.directory.ImportMembers(iter([directory_service_pb2.ImportMembersRequest()]))
    with contextlib.suppress(TielineError):
        async for _ in call:
            pass

    assert await look_up(tieline) == "OVERLOADED caller"


async def test_a_retry_is_marked_with_the_attempts_before_it(
    platform: FakePlatform, tieline: Tieline
) -> None:
    away = Refusal(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", retry_after_s=0.001)
    platform.answers["GetMember"] = answers_in_turn(
        away, away, directory_service_pb2.GetMemberResponse()
    )

    assert await look_up(tieline) == "OK"
    assert sent(platform, "tieline-previous-attempts") == [None, "1", "2"]


SOME = messaging_service_pb2.SendMessagesRequest(corp_id="wwacme")


def tells(level: int) -> messaging_service_pb2.SendMessagesResponse:
    admission = admission_pb2.AdmissionLevel(level=level, priority=300)
    return messaging_service_pb2.SendMessagesResponse(admission=admission)


async def read_conversation(tieline: Tieline) -> str:
    """Call messaging, and return the reason that the call ended with."""
    try:
        await tieline.messaging.GetConversation(messaging_service_pb2.GetConversationRequest())
    except TielineError as error:
        return error.reason
    return "OK"


async def test_a_level_in_a_stream_is_heeded_and_what_was_held_back_is_told_by_its_next_message(
    platform: FakePlatform, tieline: Tieline
) -> None:
    received: list[Any] = []
    levels = [255, 639, 639]

    async def send_messages(requests: Any, metadata: Mapping[str, str]) -> AsyncIterator[Any]:
        async for request in requests:
            received.append(request)
            yield tells(levels.pop(0))

    platform.answers["SendMessages"] = send_messages
    answer = messaging_service_pb2.GetConversationResponse()
    platform.answers["GetConversation"] = answers_in_turn(answer)

    call = tieline.messaging.SendMessages()
    outcomes = []
    for _ in range(2):
        await call.write(SOME)
        await call.read()
        outcomes += [await read_conversation(tieline) for _ in range(3)]
    await call.write(SOME)
    await call.read()
    call.cancel()

    assert outcomes == ["OVERLOADED"] * 3 + ["OK"] * 3
    told = [request.held_back.normal for request in received]
    assert told == [0, 3, 0]
    # A call that is let in tells nothing that the stream has told.
    assert {each.metadata.get("tieline-held-back") for each in platform.calls} == {None}
    assert not SOME.HasField("held_back")


async def test_the_level_in_a_batchs_response_is_heeded(
    platform: FakePlatform, tieline: Tieline
) -> None:
    admission = admission_pb2.AdmissionLevel(level=255, priority=300)
    answer = messaging_service_pb2.BatchSendMessagesResponse(admission=admission)
    platform.answers["BatchSendMessages"] = answers_in_turn(answer)

    await tieline.messaging.BatchSendMessages(messaging_service_pb2.BatchSendMessagesRequest())

    assert await read_conversation(tieline) == "OVERLOADED"


@pytest.mark.parametrize(
    ("refusal", "is_read"),
    [(FROM_EDGE, False), (Refusal(grpc.StatusCode.UNAVAILABLE), False), (FROM_SERVICE, True)],
    ids=["edge", "nobody", "service"],
)
async def test_what_a_stream_begins_with_is_told_until_the_service_has_read_it(
    refusal: Refusal, is_read: bool, platform: FakePlatform, tieline: Tieline
) -> None:
    level = tieline._lines.by_service["messaging"].levels.of("")
    level.note("255 300")
    await read_conversation(tieline)
    level.note("639 300")

    async def send_messages(requests: Any, metadata: Mapping[str, str]) -> AsyncIterator[Any]:
        nothing: list[Any] = []
        for response in nothing:
            yield response
        raise refusal

    platform.answers["SendMessages"] = send_messages
    with pytest.raises(TielineError):
        await tieline.messaging.SendMessages().read()

    [begun] = platform.received("SendMessages")
    assert begun.metadata["tieline-held-back"] == "0,0,1,0"
    assert level.take_held_back() == ("" if is_read else "0,0,1,0")
