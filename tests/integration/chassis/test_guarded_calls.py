"""What a call meets on its way through the interceptors, over a real loopback server."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2
from opentelemetry.trace import get_tracer

from fakes.eventually import eventually
from fakes.guarded_calls import (
    SERVICE,
    Caller,
    bidirectional,
    guarded_server,
    read_reason,
    read_status,
    unary,
)
from fakes.tokens import claiming
from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.calls import Call, current_call, current_principal
from tieline.chassis.errors import (
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from tieline.chassis.health import BROKER, DATABASE
from tieline.chassis.interceptors.access import AccessRule
from tieline.chassis.interceptors.guarded_method import CallLimits
from tieline.chassis.interceptors.tracing import CallTracing
from tieline.chassis.principals import PrincipalKind
from tieline.chassis.revocation_list import Revocation
from tieline.chassis.telemetry import inject_headers

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
UUID_LENGTH = 36


async def echo(request: StringValue, _: Any) -> StringValue:
    return request


async def refused(caller: Caller, method: str, **options: Any) -> grpc.aio.AioRpcError:
    """Call and return the error that it must end with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.unary(method, **options)
    return caught.value


async def test_handler_knows_who_calls() -> None:
    async def who(_: StringValue, __: Any) -> StringValue:
        principal = current_principal()
        return StringValue(value=f"{principal.corp_id}/{principal.id}")

    async with guarded_server({"Who": unary(who)}) as caller:
        assert await caller.unary("Who") == "wwacme/li.wei"


@pytest.mark.parametrize(
    ("token", "code", "reason"),
    [
        pytest.param("", grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING", id="none"),
        pytest.param("garbage", grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", id="garbage"),
    ],
)
async def test_caller_without_a_valid_token_is_refused(
    token: str, code: grpc.StatusCode, reason: str
) -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        error = await refused(caller, "Echo", token=token)

    assert (error.code(), read_reason(error)) == (code, reason)


async def test_of_two_tokens_none_counts() -> None:
    """The edge looks at one of them, and would count the call as somebody else's."""
    async with guarded_server({"Echo": unary(echo)}) as caller:
        twice = caller.metadata(None)
        for _ in range(2):
            error = await refused(caller, "Echo", metadata=twice)
            assert read_reason(error) == "TOKEN_MISSING"
        repeated = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]
        assert await caller.unary("Echo", "hello", metadata=repeated) == "hello"


async def test_a_forged_token_that_nothing_can_hash_is_refused_like_any_other() -> None:
    """An error of the interceptor's own would end as UNKNOWN, with a traceback for each call."""
    forged = claiming({"kind": "member", "corp": "wwacme", "sub": "\ud800"})
    async with guarded_server({"Echo": unary(echo)}) as caller:
        # The first call of a method passes through another branch.
        for _ in range(2):
            error = await refused(caller, "Echo", token="", metadata=[("authorization", forged)])
            assert read_reason(error) == "TOKEN_INVALID"


async def test_other_scheme_than_bearer_is_no_token() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        error = await refused(
            caller, "Echo", token="", metadata=[("authorization", "Basic bGl3ZWk6eA==")]
        )

    assert read_reason(error) == "TOKEN_MISSING"


async def test_other_kind_of_caller_is_refused() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        error = await refused(caller, "Echo", token=caller.tokens.customer("wm1"))

    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert read_reason(error) == "CALLER_NOT_ALLOWED"


async def test_anonymous_method_takes_calls_without_and_with_bad_tokens() -> None:
    async with guarded_server({"Echo": unary(echo)}, access=AccessRule(anonymous=True)) as caller:
        assert await caller.unary("Echo", "hello", token="") == "hello"
        assert await caller.unary("Echo", "hello", token="garbage") == "hello"


async def test_method_that_the_access_table_does_not_know_is_closed() -> None:
    async with guarded_server({"Echo": unary(echo)}, undeclared=frozenset({"Echo"})) as caller:
        error = await refused(caller, "Echo", token=caller.tokens.platform())

    assert read_reason(error) == "CALLER_NOT_ALLOWED"


async def test_method_that_nobody_serves_is_unimplemented() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        error = await refused(caller, "Other")

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_service_errors_arrive_with_all_their_details() -> None:
    async def fail(request: StringValue, _: Any) -> StringValue:
        raise {
            "missing": NotFoundError("CORP_NOT_FOUND", "no such corp", {"corpId": "ww1"}),
            "fields": InvalidArgumentError({"a": "must be short", "b.c[1]": "must be set"}),
            "limit": ResourceExhaustedError("TOO_MANY", "wait", retry_after_s=1.5),
        }[request.value]

    async with guarded_server({"Fail": unary(fail)}) as caller:
        missing = await refused(caller, "Fail", text="missing")
        fields = await refused(caller, "Fail", text="fields")
        limit = await refused(caller, "Fail", text="limit")

    bad_request = error_details_pb2.BadRequest()
    assert read_status(fields).details[1].Unpack(bad_request)
    retry = error_details_pb2.RetryInfo()
    assert read_status(limit).details[1].Unpack(retry)
    assert (missing.code(), missing.details()) == (grpc.StatusCode.NOT_FOUND, "no such corp")
    assert fields.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [(v.field, v.description) for v in bad_request.field_violations] == [
        ("a", "must be short"),
        ("b.c[1]", "must be set"),
    ]
    assert limit.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry.retry_delay.ToMilliseconds() == 1500


async def test_fault_is_logged_once_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: StringValue, __: Any) -> StringValue:
        raise RuntimeError("password=hunter2")

    async with guarded_server({"Fail": unary(fail)}) as caller:
        error = await refused(caller, "Fail")

    incident = str(error.details()).removeprefix("internal error; incident ")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert len(incident) == UUID_LENGTH
    assert "hunter2" not in str(error.trailing_metadata())
    with_traceback = [record for record in caplog.records if record.exc_info]
    assert [incident in record.getMessage() for record in with_traceback] == [True]


async def test_request_that_is_no_message_is_the_callers_fault() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        call: Any = caller.channel.unary_unary(f"/{SERVICE}/Echo")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff\xff\xff", metadata=caller.metadata(None))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert read_reason(caught.value) == "INVALID_FIELD"


async def test_callers_request_id_is_kept_and_returned() -> None:
    async def request_id(_: StringValue, __: Any) -> StringValue:
        return StringValue(value=current_call().request_id)

    async with guarded_server({"RequestId": unary(request_id)}) as caller:
        seen = await caller.unary("RequestId", metadata=[("x-request-id", "order-17")])

        assert (seen, caller.trailers["x-request-id"]) == ("order-17", "order-17")


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "a;b"])
async def test_absent_or_malformed_request_id_is_replaced(given: str) -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        await caller.unary("Echo", metadata=[("x-request-id", given)] if given else [])

        assert len(caller.trailers["x-request-id"]) == UUID_LENGTH


async def test_request_id_is_returned_with_a_failure_too() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        await refused(caller, "Echo", token="", metadata=[("x-request-id", "order-17")])

        assert caller.trailers["x-request-id"] == "order-17"


@pytest.mark.parametrize(
    ("dependency", "reason"),
    [(DATABASE, "DATABASE_UNAVAILABLE"), (BROKER, "BROKER_UNAVAILABLE")],
)
async def test_calls_fail_with_a_retry_hint_while_a_dependency_is_away(
    dependency: str, reason: str
) -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        caller.guarded.health.mark_down(dependency)
        error = await refused(caller, "Echo")
        caller.guarded.health.mark_up(dependency)

        assert await caller.unary("Echo", "back") == "back"

    retry = error_details_pb2.RetryInfo()
    assert (error.code(), read_reason(error)) == (grpc.StatusCode.UNAVAILABLE, reason)
    assert read_status(error).details[1].Unpack(retry)
    assert retry.retry_delay.seconds == 1


async def test_call_without_a_deadline_gets_the_default_one() -> None:
    async def wait(_: StringValue, __: Any) -> StringValue:
        assert current_call().deadline is not None
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")

    limits = CallLimits(default_deadline_s=0.05, trace_sample_ratio=0)
    async with guarded_server({"Wait": unary(wait)}, limits=limits) as caller:
        error = await refused(caller, "Wait", timeout_s=None)

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert read_reason(error) == "DEADLINE_PASSED"


async def test_timeout_of_the_handlers_own_is_a_fault_and_no_deadline() -> None:
    async def fail(_: StringValue, __: Any) -> StringValue:
        raise TimeoutError("of a socket")

    async with guarded_server({"Fail": unary(fail)}) as caller:
        error = await refused(caller, "Fail", timeout_s=None)

    assert error.code() is grpc.StatusCode.INTERNAL


async def test_callers_deadline_reaches_the_handler() -> None:
    async def remaining(_: StringValue, __: Any) -> StringValue:
        return StringValue(value=str(current_call().remaining_s()))

    async with guarded_server({"Remaining": unary(remaining)}) as caller:
        # gRPC rounds the time up on the wire. Without a deadline the handler has 20 s.
        assert 25 < float(await caller.unary("Remaining", timeout_s=30)) < 31


async def test_handler_is_cancelled_when_the_caller_hangs_up() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(_: StringValue, __: Any) -> StringValue:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("nobody sets the event")

    async with guarded_server({"Wait": unary(wait)}) as caller:
        call = asyncio.create_task(caller.unary("Wait"))
        await begun.wait()
        call.cancel()
        await eventually(cancelled.is_set)
        metrics = caller.guarded.interceptor.metrics
        await eventually(lambda: metrics.in_flight == 0)

        assert [s.attributes["rpc.response.status_code"] for s in metrics.durations.series()] == [
            "CANCELLED"
        ]


async def test_trace_of_the_caller_is_continued() -> None:
    async def inject(_: StringValue, __: Any) -> StringValue:
        headers: dict[str, str] = {}
        inject_headers(headers)
        return StringValue(value=headers["traceparent"])

    parent = f"00-{TRACE_ID}-b7ad6b7169203331-01"
    async with guarded_server({"Inject": unary(inject)}) as caller:
        sent_on = await caller.unary("Inject", metadata=[("traceparent", parent)])

    (span,) = caller.spans.get_finished_spans()
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (
        TRACE_ID,
        "b7ad6b7169203331",
    )
    assert sent_on == f"00-{TRACE_ID}-{span.context.span_id:016x}-01"


async def test_unsampled_trace_makes_no_span_and_travels_on() -> None:
    async def inject(_: StringValue, __: Any) -> StringValue:
        headers: dict[str, str] = {}
        inject_headers(headers)
        return StringValue(value=headers["traceparent"])

    parent = f"00-{TRACE_ID}-b7ad6b7169203331-00"
    async with guarded_server({"Inject": unary(inject)}) as caller:
        assert await caller.unary("Inject", metadata=[("traceparent", parent)]) == parent

    assert caller.spans.get_finished_spans() == ()


async def test_malformed_trace_context_is_not_sent_on() -> None:
    async def inject(_: StringValue, __: Any) -> StringValue:
        headers: dict[str, str] = {}
        inject_headers(headers)
        return StringValue(value=headers["traceparent"])

    async with guarded_server({"Inject": unary(inject)}) as caller:
        sent_on = await caller.unary("Inject", metadata=[("traceparent", "00-evil" + "x" * 60)])

    assert "evil" not in sent_on
    assert sent_on.endswith("-00")


async def test_stream_is_guarded_and_fails_like_a_unary_call() -> None:
    async def shout(requests: AsyncIterator[StringValue], _: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            if request.value == "stop":
                raise NotFoundError("NOTHING_THERE", "nothing there")
            yield StringValue(value=f"{current_principal().id}: {request.value.upper()}")

    async with guarded_server({"Shout": bidirectional(shout)}) as caller:
        stream = caller.stream("Shout")
        await stream.write(StringValue(value="hello"))
        first = await stream.read()
        await stream.write(StringValue(value="stop"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()

    assert first.value == "li.wei: HELLO"
    assert read_reason(caught.value) == "NOTHING_THERE"


async def test_response_of_a_stream_may_come_encoded() -> None:
    async def repeat(requests: AsyncIterator[StringValue], _: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield request
            yield request.SerializeToString()

    async with guarded_server({"Repeat": bidirectional(repeat)}) as caller:
        stream = caller.stream("Repeat")
        await stream.write(StringValue(value="hello"))
        responses = [await stream.read() for _ in range(2)]
        stream.cancel()

    assert responses == [StringValue(value="hello")] * 2


async def test_message_in_a_stream_that_is_no_message_is_the_callers_fault() -> None:
    async def swallow(requests: AsyncIterator[StringValue], _: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield request

    async with guarded_server({"Swallow": bidirectional(swallow)}) as caller:
        method: Any = caller.channel.stream_stream(f"/{SERVICE}/Swallow")
        stream = method(metadata=caller.metadata(None))
        await stream.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()

    assert read_reason(caught.value) == "INVALID_FIELD"


async def test_a_stranger_who_writes_on_and_on_is_read_for_a_moment_alone() -> None:
    """Read for as long as it writes, the call would last 5 s."""

    async def take(requests: AsyncIterator[StringValue], _: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield request

    async with guarded_server({"Take": bidirectional(take)}) as caller:
        begun_at = time.monotonic()
        stream = caller.stream("Take", token="")
        # Which error it is depends on whether the end comes while the client writes.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while time.monotonic() < begun_at + 10:
                await stream.write(StringValue(value="x" * 10_000))
        took_s = time.monotonic() - begun_at
        stream.cancel()

    assert took_s < 4


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_refused_message_that_is_no_message_changes_no_reason(is_known: bool) -> None:
    async def refuse(requests: AsyncIterator[StringValue], _: Any) -> AsyncIterator[StringValue]:
        if is_known:
            raise NotFoundError("NOTHING_THERE", "nothing there")
        async for request in requests:
            yield request

    async with guarded_server({"Swallow": bidirectional(refuse)}) as caller:
        method: Any = caller.channel.stream_stream(f"/{SERVICE}/Swallow")
        stream = method(metadata=caller.metadata(None if is_known else ""))
        await stream.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()

    assert read_reason(caught.value) == ("NOTHING_THERE" if is_known else "TOKEN_MISSING")


async def _read_to_the_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_response_stream_ends_with_the_callers_token() -> None:
    async def count(_: AsyncIterator[StringValue], __: Any) -> AsyncIterator[StringValue]:
        while True:
            yield StringValue(value="tick")
            await asyncio.sleep(0.01)

    async with guarded_server({"Count": bidirectional(count)}) as caller:
        expiry = {"kind": "member", "corp": "wwacme", "sub": "li.wei", "exp": int(time.time()) + 2}
        token = caller.tokens.sign(expiry)
        stream = caller.stream("Count", token=token)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _read_to_the_end(stream)

    assert read_reason(caught.value) == "TOKEN_EXPIRED"
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_response_stream_of_a_revoked_session_ends_and_those_of_others_go_on() -> None:
    async def count(_: AsyncIterator[StringValue], __: Any) -> AsyncIterator[StringValue]:
        while True:
            yield StringValue(value="tick")
            await asyncio.sleep(0.01)

    async with guarded_server({"Count": bidirectional(count), "Echo": unary(echo)}) as caller:
        lost, kept = (
            caller.stream("Count", token=caller.tokens.member("wwacme", user_id))
            for user_id in ("li.wei", "li.na")
        )
        await lost.read()
        await kept.read()

        holder = (PrincipalKind.MEMBER, "li.wei")
        caller.revocations.add(Revocation("wwacme", holder, time.time()))

        async with asyncio.timeout(2):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _read_to_the_end(lost)
        await kept.read()
        error = await refused(caller, "Echo", token=caller.tokens.member("wwacme", "li.wei"))
        assert await caller.unary("Echo", "x", token=caller.tokens.member("wwacme", "li.na")) == "x"
        kept.cancel()

    assert read_reason(caught.value) == read_reason(error) == "TOKEN_EXPIRED"


@pytest.mark.parametrize("tracestate", ["a=b\r\nTieline-Principal: {}", "a\0b", "x" * 513])
def test_tracestate_that_is_no_list_of_printable_keys_is_dropped(tracestate: str) -> None:
    call = Call("/a.B/C", "request-1")
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"

    CallTracing(get_tracer("test"), 0).begin(
        call, {"traceparent": parent, "tracestate": tracestate}
    )

    assert (call.traceparent, call.tracestate) == (parent, "")


async def test_handlers_generator_is_closed_in_its_own_task_when_the_caller_hangs_up() -> None:
    closed = asyncio.Event()
    tasks: set[asyncio.Task[Any] | None] = set()

    async def count(_: AsyncIterator[StringValue], __: Any) -> AsyncIterator[StringValue]:
        tasks.add(asyncio.current_task())
        try:
            while True:
                yield StringValue(value="tick")
        finally:
            tasks.add(asyncio.current_task())
            closed.set()

    async with guarded_server({"Count": bidirectional(count)}) as caller:
        stream = caller.stream("Count")
        await stream.read()
        stream.cancel()

        await eventually(closed.is_set)

    # The context of a call is its task's: cleaning up elsewhere would be nobody's work.
    assert len(tasks) == 1


async def test_access_log_names_the_caller_and_never_the_token_or_the_payload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_: StringValue, __: Any) -> StringValue:
        raise NotFoundError("NOTHING_THERE", "nothing there")

    with caplog.at_level(logging.DEBUG, logger="tieline"):
        async with guarded_server({"Fail": unary(fail), "Echo": unary(echo)}) as caller:
            token = caller.tokens.member("wwacme", "li.wei")
            await refused(caller, "Fail", text="my diagnosis", token=token)
            await refused(caller, "Echo", token="secret-garbage")
            await caller.unary("Echo", "my diagnosis", token=token)

    lines = [record for record in caplog.records if record.name.endswith("access_log")]
    written = [f"{line.getMessage()} {line.__dict__['fields']}" for line in lines]
    assert [line.split(" in ")[0] for line in written] == [
        f"/{SERVICE}/Fail NOT_FOUND",
        f"/{SERVICE}/Echo UNAUTHENTICATED",
    ]
    # What callers get wrong must not fill the log of a service that is well.
    assert {line.levelname for line in lines} == {"DEBUG"}
    assert "'principal_id': 'li.wei', 'corp_id': 'wwacme'" in written[0]
    everything = " ".join([*written, caplog.text])
    assert token not in everything
    assert token.split(".")[2] not in everything
    assert "secret-garbage" not in everything
    assert "diagnosis" not in everything


async def test_slow_success_is_logged_and_a_fast_one_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, logger="tieline"):
        async with guarded_server({"Echo": unary(echo)}) as caller:
            await caller.unary("Echo")
        fast = [record for record in caplog.records if record.name.endswith("access_log")]
        limits = CallLimits(slow_call_s=0, trace_sample_ratio=0)
        async with guarded_server({"Echo": unary(echo)}, limits=limits) as caller:
            await caller.unary("Echo")
    slow = [record for record in caplog.records if record.name.endswith("access_log")]

    assert fast == []
    assert [record.levelname for record in slow] == ["INFO"]


async def test_durations_are_counted_by_method_and_code() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        await caller.unary("Echo")
        await caller.unary("Echo")
        await refused(caller, "Echo", token="")
        metrics = caller.guarded.interceptor.metrics

    assert {
        (s.attributes["rpc.method"], s.attributes["rpc.response.status_code"]): sum(s.counts)
        for s in metrics.durations.series()
    } == {(f"/{SERVICE}/Echo", "OK"): 2, (f"/{SERVICE}/Echo", "UNAUTHENTICATED"): 1}


async def test_durations_tell_the_class_of_the_method() -> None:
    methods = {"Pay": unary(echo), "Look": unary(echo)}
    async with guarded_server(methods, classes={"Pay": BusinessClass.CRITICAL}) as caller:
        await caller.unary("Pay")
        await caller.unary("Look")
        metrics = caller.guarded.interceptor.metrics

    assert {
        s.attributes["rpc.method"].rpartition("/")[2]: s.attributes["class"]
        for s in metrics.durations.series()
    } == {"Pay": "critical", "Look": "normal"}


async def test_corp_administrators_method_is_closed_to_other_members() -> None:
    rule = AccessRule(kinds=frozenset({PrincipalKind.MEMBER}), corp_administrator=True)

    async with guarded_server({"Echo": unary(echo)}, access=rule) as caller:
        error = await refused(caller, "Echo")
        answer = await caller.unary(
            "Echo", "hello", token=caller.tokens.administrator("wwacme", "boss")
        )

    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert answer == "hello"
