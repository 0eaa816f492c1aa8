"""Questions between two services' users over a real NATS."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from nats.aio.msg import Msg

from fakes.eventually import eventually
from tieline.chassis.admission.priorities import LOWEST_PRIORITY
from tieline.chassis.broker import Broker
from tieline.chassis.calls import Call, current_call, entered
from tieline.chassis.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from tieline.chassis.message_headers import DEADLINE_HEADER, LEVEL_HEADER, PRINCIPAL_HEADER
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.requests import InternalError, RequestHandler, answering, ask

SUBJECT = "requests.directory.v1.echo"

Answer = Callable[[StringValue], Awaitable[StringValue]]


def handlers(answer: Answer) -> dict[str, RequestHandler[StringValue, StringValue]]:
    return {"echo": RequestHandler(StringValue, answer)}


async def echo(request: StringValue) -> StringValue:
    return request


async def test_question_is_answered(identity_broker: Broker, directory_broker: Broker) -> None:
    async with answering(directory_broker, "directory", handlers(echo)):
        answer = await ask(
            identity_broker, "directory", "echo", StringValue(value="你好"), StringValue
        )

    assert answer.value == "你好"


async def test_caller_and_request_travel_and_the_deadline_shrinks(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    seen: list[Call] = []

    async def remember(request: StringValue) -> StringValue:
        seen.append(current_call())
        return request

    principal = Principal(
        PrincipalKind.MEMBER, "zhang", "ww1", "session", frozenset({"owner"}), "张三"
    )
    call = Call(
        "/test", "request-1", time.monotonic() + 1, principal, f"00-{'a' * 32}-{'b' * 16}-00"
    )
    async with answering(directory_broker, "directory", handlers(remember)):
        with entered(call):
            await ask(identity_broker, "directory", "echo", StringValue(), StringValue)

    (there,) = seen
    assert (there.request_id, there.principal) == ("request-1", principal)
    assert there.traceparent.split("-")[1] == "a" * 32
    assert there.deadline is not None
    assert call.deadline is not None
    assert there.deadline <= call.deadline + 0.1


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(NotFoundError("MISSING", "no such thing", {"id": "x"}), id="metadata"),
        pytest.param(InvalidArgumentError({"name": "must not be empty"}), id="violations"),
        pytest.param(ResourceExhaustedError("TOO_MANY", "too many", retry_after_s=1.5), id="retry"),
    ],
)
async def test_error_of_the_other_service_is_raised_as_it_was(
    identity_broker: Broker,
    directory_broker: Broker,
    error: NotFoundError | InvalidArgumentError | ResourceExhaustedError,
) -> None:
    async def refuse(request: StringValue) -> StringValue:
        raise error

    async with answering(directory_broker, "directory", handlers(refuse)):
        with pytest.raises(type(error)) as raised:
            await ask(identity_broker, "directory", "echo", StringValue(), StringValue)

    got = raised.value
    assert (got.reason, got.text, got.retry_after_s) == (
        error.reason,
        error.text,
        error.retry_after_s,
    )
    assert dict(got.metadata) == dict(error.metadata)
    assert dict(got.violations) == dict(error.violations)


async def test_fault_of_the_other_service_tells_nothing_and_is_logged_there(
    identity_broker: Broker, directory_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(request: StringValue) -> StringValue:
        raise ValueError("a secret detail")

    async with answering(directory_broker, "directory", handlers(crash)):
        with pytest.raises(InternalError) as raised:
            await ask(identity_broker, "directory", "echo", StringValue(), StringValue)

    assert "secret" not in str(raised.value)
    assert "a secret detail" in caplog.text


async def test_request_that_is_no_such_message_is_refused(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    async with answering(directory_broker, "directory", handlers(echo)):
        reply = await identity_broker.request(SUBJECT, b"\xff", timeout=5)

    assert reply.headers is not None
    assert reply.headers["Nats-Service-Error"] == "INVALID_ARGUMENT"


async def test_nobody_there_is_unavailable_at_once(identity_broker: Broker) -> None:
    started = time.monotonic()

    with pytest.raises(UnavailableError) as raised:
        await ask(identity_broker, "directory", "echo", StringValue(), StringValue, timeout_s=30)

    assert (raised.value.reason, raised.value.metadata) == (
        "SERVICE_UNAVAILABLE",
        {"service": "directory"},
    )
    assert time.monotonic() - started < 5


async def test_answer_that_does_not_come_is_unavailable_or_past_the_deadline(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    async def wait(request: StringValue) -> StringValue:
        await asyncio.Event().wait()
        return request

    async with answering(directory_broker, "directory", handlers(wait)):
        # The answering side gives up at the same time and says so; either may be heard first.
        with pytest.raises((UnavailableError, DeadlineExceededError)):
            await ask(
                identity_broker, "directory", "echo", StringValue(), StringValue, timeout_s=0.05
            )
        late = Call("/test", "r", time.monotonic() - 1)
        with entered(late), pytest.raises(DeadlineExceededError):
            await ask(identity_broker, "directory", "echo", StringValue(), StringValue)


async def test_slow_handler_does_not_hold_up_the_next(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    release = asyncio.Event()

    async def slow(request: StringValue) -> StringValue:
        if request.value == "slow":
            await release.wait()
        return request

    async with answering(directory_broker, "directory", handlers(slow)):
        waiting = asyncio.create_task(
            ask(
                identity_broker,
                "directory",
                "echo",
                StringValue(value="slow"),
                StringValue,
                timeout_s=10,
            )
        )
        await ask(identity_broker, "directory", "echo", StringValue(value="quick"), StringValue)
        assert not waiting.done()
        release.set()
        assert (await waiting).value == "slow"


async def test_leaving_answers_what_is_being_handled(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(request: StringValue) -> StringValue:
        started.set()
        await release.wait()
        return request

    async with answering(directory_broker, "directory", handlers(slow)):
        waiting = asyncio.create_task(
            ask(
                identity_broker,
                "directory",
                "echo",
                StringValue(value="x"),
                StringValue,
                timeout_s=10,
            )
        )
        await started.wait()
        asyncio.get_running_loop().call_later(0.1, release.set)

    assert (await waiting).value == "x"
    await eventually(lambda: _nobody_answers(identity_broker))


async def test_only_one_of_two_replicas_answers(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    count = 0

    async def counting(request: StringValue) -> StringValue:
        nonlocal count
        count += 1
        return request

    async with (
        answering(directory_broker, "directory", handlers(counting)),
        answering(directory_broker, "directory", handlers(counting)),
    ):
        for _ in range(20):
            await ask(identity_broker, "directory", "echo", StringValue(), StringValue)

    assert count == 20


async def _nobody_answers(broker: Broker) -> bool:
    try:
        await ask(broker, "directory", "echo", StringValue(), StringValue, timeout_s=0.5)
    except UnavailableError:
        return True
    return False


@pytest.mark.parametrize(
    "reply", ["$JS.API.STREAM.DELETE.IDENTITY", "tieline.directory.v1.members_imported"]
)
async def test_an_answer_is_never_published_elsewhere_than_to_an_inbox(
    identity_broker: Broker, directory_broker: Broker, reply: str
) -> None:
    answered = []

    async def answer(request: StringValue) -> StringValue:
        answered.append(request.value)
        return request

    async with answering(directory_broker, "directory", handlers(answer)):
        subject = "requests.directory.v1.echo"
        await identity_broker.publish(
            subject, StringValue(value="forged").SerializeToString(), reply=reply
        )
        # In order behind the other one.
        await ask(identity_broker, "directory", "echo", StringValue(value="honest"), StringValue)

    assert answered == ["honest"]


async def test_request_whose_deadline_passes_while_it_waits_is_refused_then_and_not_handled(
    identity_broker: Broker, directory_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tieline.chassis.requests._MAX_HANDLERS", 1)
    handled: list[str] = []
    release = asyncio.Event()

    async def slow(request: StringValue) -> StringValue:
        handled.append(request.value)
        await release.wait()
        return request

    async with answering(directory_broker, "directory", handlers(slow)):
        first = asyncio.create_task(question(identity_broker, "first", timeout_s=30))
        await eventually(lambda: handled)
        # The asker waits on, so that it hears the other side.
        late = await identity_broker.request(
            SUBJECT, b"", timeout=10, headers={DEADLINE_HEADER: "100"}
        )
        release.set()
        await first
        await question(identity_broker, "last", timeout_s=30)

    assert late.headers is not None
    assert late.headers["Nats-Service-Error"] == "DEADLINE_EXCEEDED"
    assert handled == ["first", "last"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({DEADLINE_HEADER: "9" * 5000}, id="a deadline of thousands of digits"),
        pytest.param({DEADLINE_HEADER: "soon"}, id="a deadline that is no number"),
        pytest.param({DEADLINE_HEADER: "-1"}, id="a deadline below zero"),
        pytest.param({PRINCIPAL_HEADER: "{"}, id="no JSON"),
        pytest.param({PRINCIPAL_HEADER: "[]"}, id="no object"),
        pytest.param({PRINCIPAL_HEADER: '{"kind": "god"}'}, id="a kind that is none"),
        pytest.param({PRINCIPAL_HEADER: "[" * 10_000}, id="nested too deeply"),
        pytest.param({PRINCIPAL_HEADER: f'{{"kind": "{"x" * 20_000}"}}'}, id="too long"),
    ],
)
async def test_question_whose_headers_can_not_be_read_is_answered_and_not_handled(
    headers: dict[str, str], identity_broker: Broker, directory_broker: Broker
) -> None:
    handled: list[str] = []

    async def note(request: StringValue) -> StringValue:
        handled.append(request.value)
        return request

    async with answering(directory_broker, "directory", handlers(note)):
        reply = await identity_broker.request(SUBJECT, b"", timeout=5, headers=headers)
        await question(identity_broker, "next", timeout_s=30)

    assert reply.headers is not None
    assert reply.headers["Nats-Service-Error"] == "INVALID_ARGUMENT"
    assert next(iter(headers)).encode() in reply.data
    assert handled == ["next"]


@pytest.mark.parametrize("told", ["", "garbage", "0", "-1", "9999", "4" * 5000, "٤٠٠"])
async def test_level_that_is_none_changes_nothing(
    told: str, identity_broker: Broker, directory_broker: Broker
) -> None:
    async def answer(message: Msg) -> None:
        content = StringValue(value="answered").SerializeToString()
        await directory_broker.publish(message.reply, content, headers={LEVEL_HEADER: told})

    subscription = await directory_broker.subscribe(SUBJECT, cb=answer)
    await directory_broker.flush()
    for _ in range(2):
        lowest = await ask(
            *(identity_broker, "directory", "echo", StringValue(), StringValue),
            priority=LOWEST_PRIORITY,
        )
        assert lowest.value == "answered"
    await subscription.unsubscribe()


async def test_request_behind_too_many_is_refused_at_once(
    identity_broker: Broker, directory_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tieline.chassis.requests._MAX_HANDLERS", 1)
    monkeypatch.setattr("tieline.chassis.requests._MAX_WAITING", 2)
    release = asyncio.Event()

    async def slow(request: StringValue) -> StringValue:
        await release.wait()
        return request

    async with answering(directory_broker, "directory", handlers(slow)):
        waiting = [
            asyncio.create_task(question(identity_broker, f"{n}", timeout_s=30)) for n in range(4)
        ]
        done, _ = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        release.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, UnavailableError)]
    assert [task.exception() for task in done] == [refused]
    assert (refused.reason, refused.metadata) == ("SERVICE_UNAVAILABLE", {"service": "directory"})
    assert refused.retry_after_s is not None


async def question(broker: Broker, value: str, *, timeout_s: float) -> StringValue:
    return await ask(
        broker, "directory", "echo", StringValue(value=value), StringValue, timeout_s=timeout_s
    )


async def test_flush_asks_behind_what_was_sent_before(
    directory_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    transport: Any = directory_broker._transport
    write, writelines = transport.write, transport.writelines

    def record(data: bytes) -> None:
        written.append(bytes(data))
        write(data)

    def record_lines(lines: list[bytes]) -> None:
        written.extend(bytes(line) for line in lines)
        writelines(lines)

    monkeypatch.setattr(transport, "write", record)
    monkeypatch.setattr(transport, "writelines", record_lines)

    await directory_broker.subscribe("wake.directory")
    await directory_broker.flush()

    assert [line[:4] for line in written] == [b"SUB ", b"PING"]
