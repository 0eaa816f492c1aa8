"""Calls over a real connection to a server that answers as the test wants."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest

from fakes.eventually import eventually
from fakes.platform import FakePlatform, Refusal
from tieline.api.directory.v1 import directory_service_pb2
from tieline.api.identity.v1 import app_service_pb2, identity_pb2, identity_service_pb2
from tieline.api.messaging.v1 import messaging_service_pb2
from tieline.client import (
    Endpoints,
    RetryPolicy,
    SessionTokens,
    Tieline,
    TielineError,
    connect,
    message_range,
    pages,
)

QUICK = RetryPolicy(first_delay_s=0.001, max_delay_s=0.01, budget_capacity=1000)
AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", retry_after_s=0.001)


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    fake = FakePlatform()
    async with fake.serving():
        yield fake


@pytest.fixture
async def tieline(platform: FakePlatform) -> AsyncIterator[Tieline]:
    async with connect(Endpoints.single(platform.target), retries=QUICK) as connection:
        yield connection


def session(number: int, *, lifetime_s: float = 900) -> identity_pb2.Session:
    made = identity_pb2.Session(
        session_id="session", access_token=f"access-{number}", refresh_token=f"refresh-{number}"
    )
    now = dt.datetime.now(dt.UTC)
    made.access_expire_time.FromDatetime(now + dt.timedelta(seconds=lifetime_s))
    made.refresh_expire_time.FromDatetime(now + dt.timedelta(days=30))
    return made


def kept_tokens(*, lifetime_s: float = 900) -> SessionTokens:
    return SessionTokens.from_proto(session(1, lifetime_s=lifetime_s))


def fails_first(times: int, failure: Refusal, response: Any) -> Any:
    """Return an answer that refuses a few attempts and then gives the response."""
    left = times

    def answer(request: Any, metadata: Mapping[str, str]) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise failure
        return response

    return answer


async def test_repeated_request_is_the_same_in_content_id_and_log_name(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["SendMessage"] = fails_first(
        3, AWAY, messaging_service_pb2.SendMessageResponse()
    )
    request = messaging_service_pb2.SendMessageRequest(conversation_id="c")

    await tieline.messaging.SendMessage(request)

    attempts = platform.received("SendMessage")
    assert len(attempts) == 4
    assert len({call.request.client_message_id for call in attempts} - {""}) == 1
    assert len({call.metadata["x-request-id"] for call in attempts}) == 1
    assert request.client_message_id == ""


async def test_request_that_must_not_be_repeated_goes_out_once(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["AcceptInvitation"] = fails_first(1, AWAY, None)

    with pytest.raises(TielineError, match="DATABASE_UNAVAILABLE"):
        await tieline.identity.AcceptInvitation(identity_service_pb2.AcceptInvitationRequest())

    assert len(platform.received("AcceptInvitation")) == 1


async def test_error_carries_everything_that_the_service_said(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["GetMember"] = fails_first(
        1,
        Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_FIELD",
            metadata={"userId": "li.wei"},
            violations={"user_id": "must not be empty"},
            retry_after_s=1.5,
            trailers=(("x-request-id", "r-1"), ("grpc-retry-pushback-ms", "-1")),
        ),
        None,
    )

    with pytest.raises(TielineError) as caught:
        await tieline.directory.GetMember(directory_service_pb2.GetMemberRequest())

    error = caught.value
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.reason, error.domain) == ("INVALID_FIELD", "tieline.dev")
    assert error.metadata == {"userId": "li.wei"}
    assert error.violations == {"user_id": "must not be empty"}
    assert (error.retry_after_s, error.request_id) == (1.5, "r-1")
    assert error.pushback_s is not None
    assert error.pushback_s < 0
    assert isinstance(error.__cause__, grpc.aio.AioRpcError)


async def test_details_that_are_no_details_leave_a_plain_error(
    platform: FakePlatform, tieline: Tieline
) -> None:
    garbage: Any = (("grpc-status-details-bin", b"\xff\xff\xff"),)
    platform.answers["GetMember"] = fails_first(
        1, Refusal(grpc.StatusCode.NOT_FOUND, trailers=garbage), None
    )

    with pytest.raises(TielineError) as caught:
        await tieline.directory.GetMember(directory_service_pb2.GetMemberRequest())

    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.NOT_FOUND, "")


async def test_pushback_below_zero_forbids_the_retry(
    platform: FakePlatform, tieline: Tieline
) -> None:
    refusal = Refusal(grpc.StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "-1"),))
    platform.answers["GetMember"] = fails_first(1, refusal, None)

    with pytest.raises(TielineError):
        await tieline.directory.GetMember(directory_service_pb2.GetMemberRequest())

    assert len(platform.received("GetMember")) == 1


async def test_every_call_has_a_deadline_that_its_retries_share(
    platform: FakePlatform, tieline: Tieline
) -> None:
    away_for_a_while = Refusal(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", retry_after_s=0.2)
    platform.answers["GetMember"] = fails_first(
        2, away_for_a_while, directory_service_pb2.GetMemberResponse()
    )

    await tieline.directory.GetMember(directory_service_pb2.GetMemberRequest())
    await tieline.directory.GetMember(directory_service_pb2.GetMemberRequest(), timeout=3)

    first, _, last, given = (call.time_remaining_s or 0 for call in platform.calls)
    # gRPC rounds deadlines to a few hundredths of a second.
    assert first == pytest.approx(10, abs=0.1)
    assert last < first - 0.3
    assert given == pytest.approx(3, abs=0.1)


async def test_retries_end_with_the_last_error_when_time_runs_out(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["GetMember"] = fails_first(10**6, AWAY, None)

    with pytest.raises(TielineError, match=r"DATABASE_UNAVAILABLE|DEADLINE_EXCEEDED"):
        await tieline.directory.GetMember(directory_service_pb2.GetMemberRequest(), timeout=0.2)

    assert len(platform.received("GetMember")) > 1


async def test_many_failing_calls_stay_within_the_budget_of_retries(
    platform: FakePlatform,
) -> None:
    platform.answers["GetMember"] = fails_first(10**6, AWAY, None)
    policy = RetryPolicy(
        first_delay_s=0.001, max_delay_s=0.001, budget_capacity=5, budget_per_second=0
    )

    async with connect(Endpoints.single(platform.target), retries=policy) as connection:
        request = directory_service_pb2.GetMemberRequest()
        for _ in range(50):
            with pytest.raises(TielineError):
                await connection.directory.GetMember(request)

    retries = len(platform.received("GetMember")) - 50
    assert 5 < retries <= 5 + 50 * policy.budget_ratio


async def test_call_outlives_a_restart_of_the_service() -> None:
    platform = FakePlatform()
    platform.answers["GetMember"] = lambda request, _: directory_service_pb2.GetMemberResponse()
    async with platform.serving():
        port = int(platform.target.rpartition(":")[2])
    async with connect(Endpoints.single(platform.target)) as connection:
        request = directory_service_pb2.GetMemberRequest()
        call: Any = connection.directory.GetMember(request)
        await eventually(lambda: call.attempt and call.attempt.done())

        async with platform.serving(port):
            await call

    assert len(platform.received("GetMember")) == 1


async def test_signed_in_calls_carry_the_token_and_anonymous_ones_do_not(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["SignInMember"] = lambda request, _: identity_service_pb2.SignInMemberResponse(
        session=session(1)
    )
    platform.answers["GetMember"] = lambda request, _: directory_service_pb2.GetMemberResponse()

    me = await tieline.sign_in_member("ww1", "li.wei", "a long password")
    await me.directory.GetMember(directory_service_pb2.GetMemberRequest())
    await tieline.directory.GetMember(directory_service_pb2.GetMemberRequest())

    tokens = [call.metadata.get("authorization") for call in platform.received("GetMember")]
    assert tokens == ["Bearer access-1", None]


async def test_token_found_expired_is_refreshed_once_for_all_concurrent_calls(
    platform: FakePlatform, tieline: Tieline
) -> None:
    def get_member(request: Any, metadata: Mapping[str, str]) -> Any:
        if metadata["authorization"] == "Bearer access-1":
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
        return directory_service_pb2.GetMemberResponse()

    platform.answers["GetMember"] = get_member
    platform.answers["RefreshSession"] = lambda request, _: (
        identity_service_pb2.RefreshSessionResponse(session=session(2))
    )
    saved: list[SessionTokens] = []
    me = tieline.resume(kept_tokens(), on_tokens=saved.append)

    request = directory_service_pb2.GetMemberRequest()
    await asyncio.gather(*(me.directory.GetMember(request) for _ in range(10)))

    assert [call.request.refresh_token for call in platform.received("RefreshSession")] == [
        "refresh-1"
    ]
    assert [tokens.access_token for tokens in saved] == ["access-2"]


async def test_token_that_expires_again_at_once_ends_in_the_error(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["GetMember"] = fails_first(
        10, Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED"), None
    )
    platform.answers["RefreshSession"] = lambda request, _: (
        identity_service_pb2.RefreshSessionResponse(session=session(2))
    )
    me = tieline.resume(kept_tokens())

    with pytest.raises(TielineError, match="TOKEN_EXPIRED"):
        await me.directory.GetMember(directory_service_pb2.GetMemberRequest())

    assert len(platform.received("GetMember")) == 2


async def test_app_calls_by_its_secret_and_gets_the_next_token_when_one_is_over(
    platform: FakePlatform, tieline: Tieline
) -> None:
    def create_app_token(request: Any, metadata: Mapping[str, str]) -> Any:
        given = app_service_pb2.CreateAppTokenResponse(
            access_token=f"access-{len(platform.received('CreateAppToken'))}"
        )
        given.expire_time.FromDatetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=7200))
        return given

    def get_member(request: Any, metadata: Mapping[str, str]) -> Any:
        if metadata["authorization"] == "Bearer access-1":
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
        return directory_service_pb2.GetMemberResponse()

    platform.answers["CreateAppToken"] = create_app_token
    platform.answers["GetMember"] = get_member
    app = await tieline.sign_in_app("ww1", "the-secret")

    request = directory_service_pb2.GetMemberRequest()
    await asyncio.gather(*(app.directory.GetMember(request) for _ in range(10)))

    asked = [call.request for call in platform.received("CreateAppToken")]
    assert [(request.corp_id, request.secret) for request in asked] == [("ww1", "the-secret")] * 2


async def test_stream_takes_a_fresh_token_before_it_begins(
    platform: FakePlatform, tieline: Tieline
) -> None:
    async def subscribe(request: Any, metadata: Mapping[str, str]) -> AsyncIterator[Any]:
        heartbeat = messaging_service_pb2.Heartbeat()
        yield messaging_service_pb2.SubscribeResponse(heartbeat=heartbeat)

    platform.answers["Subscribe"] = subscribe
    platform.answers["RefreshSession"] = lambda request, _: (
        identity_service_pb2.RefreshSessionResponse(session=session(2))
    )
    me = tieline.resume(kept_tokens(lifetime_s=-1))

    call = me.messaging.Subscribe(messaging_service_pb2.SubscribeRequest())
    updates = [update async for update in call]

    assert len(updates) == 1
    assert await call.code() is grpc.StatusCode.OK
    assert platform.received("Subscribe")[0].metadata["authorization"] == "Bearer access-2"


async def test_two_way_stream_sends_all_and_ends_in_a_typed_error(
    platform: FakePlatform, tieline: Tieline
) -> None:
    async def import_members(requests: Any, metadata: Mapping[str, str]) -> AsyncIterator[Any]:
        size = sum([len(request.chunk) async for request in requests])
        yield directory_service_pb2.ImportMembersResponse(committed_bytes=size)
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "CSV_MALFORMED", metadata={"line": "17"})

    platform.answers["ImportMembers"] = import_members
    chunks = [directory_service_pb2.ImportMembersRequest(chunk=b"x" * 10) for _ in range(3)]
    committed: list[int] = []

    async def follow() -> None:
        async for response in tieline.directory.ImportMembers(iter(chunks)):
            committed.append(response.committed_bytes)

    with pytest.raises(TielineError) as caught:
        await follow()

    assert committed == [30]
    assert caught.value.metadata == {"line": "17"}


async def test_cancelled_call_ends_on_the_service_as_well(
    platform: FakePlatform, tieline: Tieline
) -> None:
    is_cancelled = asyncio.Event()

    async def get_member(request: Any, metadata: Mapping[str, str]) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            is_cancelled.set()

    platform.answers["GetMember"] = get_member
    call = asyncio.ensure_future(
        tieline.directory.GetMember(directory_service_pb2.GetMemberRequest())
    )
    await eventually(lambda: platform.received("GetMember"))

    call.cancel()

    await eventually(is_cancelled.is_set)


async def test_pages_yield_every_item_once_and_leave_the_request_as_it_is(
    platform: FakePlatform, tieline: Tieline
) -> None:
    def list_members(
        request: directory_service_pb2.ListMembersRequest, _: Mapping[str, str]
    ) -> directory_service_pb2.ListMembersResponse:
        begin = int(request.page_token or 0)
        response = directory_service_pb2.ListMembersResponse(
            next_page_token=str(begin + 2) if begin < 4 else ""
        )
        for number in range(begin, begin + 2):
            response.members.add(user_id=f"u{number}")
        return response

    platform.answers["ListMembers"] = list_members
    request = directory_service_pb2.ListMembersRequest(page_size=2)

    found = [member.user_id async for member in pages(tieline.directory.ListMembers, request)]

    assert found == [f"u{number}" for number in range(6)]
    assert request.page_token == ""


async def test_empty_page_in_the_middle_does_not_end_the_pages(
    platform: FakePlatform, tieline: Tieline
) -> None:
    def search(request: Any, _: Mapping[str, str]) -> Any:
        if not request.page_token:
            return directory_service_pb2.SearchMembersResponse(next_page_token="2")
        response = directory_service_pb2.SearchMembersResponse()
        response.members.add(user_id="last")
        return response

    platform.answers["SearchMembers"] = search
    request = directory_service_pb2.SearchMembersRequest(query="x")

    found = [member.user_id async for member in pages(tieline.directory.SearchMembers, request)]

    assert found == ["last"]


async def test_range_follows_the_numbers_up_to_the_newest(
    platform: FakePlatform, tieline: Tieline
) -> None:
    def list_messages(request: Any, _: Mapping[str, str]) -> Any:
        response = messaging_service_pb2.ListMessagesResponse(last_sequence=7)
        for sequence in range(request.after_sequence + 1, min(request.after_sequence + 3, 7) + 1):
            response.messages.add(sequence=sequence)
        return response

    platform.answers["ListMessages"] = list_messages

    found = [
        message.sequence
        async for message in message_range(tieline.messaging, "c", after_sequence=2)
    ]

    assert found == [3, 4, 5, 6, 7]


async def test_customer_signs_in_with_a_new_assertion_for_each_attempt(
    platform: FakePlatform, tieline: Tieline
) -> None:
    response = identity_service_pb2.SignInCustomerResponse(session=session(1), customer_id="wm1")
    platform.answers["SignInCustomer"] = fails_first(2, AWAY, response)
    numbers = iter(range(10))

    customer = await tieline.sign_in_customer(lambda: f"assertion-{next(numbers)}")

    assert customer.customer_id == "wm1"
    assert [call.request.assertion for call in platform.received("SignInCustomer")] == [
        "assertion-0",
        "assertion-1",
        "assertion-2",
    ]


async def test_invitation_whose_answer_was_lost_ends_in_a_session_all_the_same(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["AcceptInvitation"] = fails_first(1, AWAY, None)
    platform.answers["SignInMember"] = lambda request, _: identity_service_pb2.SignInMemberResponse(
        session=session(7)
    )

    me = await tieline.accept_invitation("ww1", "li.wei", "CODE", "a long password")

    assert me.tokens.access_token == "access-7"


async def test_invitation_that_never_arrived_is_sent_again(
    platform: FakePlatform, tieline: Tieline
) -> None:
    platform.answers["AcceptInvitation"] = fails_first(
        1, AWAY, identity_service_pb2.AcceptInvitationResponse(session=session(3))
    )
    platform.answers["SignInMember"] = fails_first(
        1, Refusal(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_REJECTED"), None
    )

    me = await tieline.accept_invitation("ww1", "li.wei", "CODE", "a long password")

    assert me.tokens.access_token == "access-3"
