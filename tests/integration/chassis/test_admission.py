"""Overload over real servers: who is refused, what is told, and what travels on."""

import asyncio
import json
import time
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import code_pb2, error_details_pb2, status_pb2

from fakes.broker_users import connected
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
from tieline.api.common.v1 import load_report_pb2
from tieline.chassis import streams
from tieline.chassis.admission.control import MAX_HELD_BACK, AdmissionControl
from tieline.chassis.admission.load_reports import LoadReporter, reporting
from tieline.chassis.admission.priorities import (
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    BusinessClass,
    class_of,
    priority_of,
)
from tieline.chassis.broker import Broker
from tieline.chassis.calls import Call, current_call, entered
from tieline.chassis.errors import UnavailableError
from tieline.chassis.health import Health
from tieline.chassis.message_headers import DEADLINE_HEADER, PRIORITY_HEADER
from tieline.chassis.outbox import build_event, insert_parameters
from tieline.chassis.requests import RequestHandler, answering, ask
from tieline.embedded.nats import EmbeddedNats

CLASSES = {"Pay": BusinessClass.CRITICAL, "Read": BusinessClass.NORMAL, "Search": BusinessClass.LOW}
NOTHING = HIGHEST_PRIORITY - 1


def new_control(**options: Any) -> AdmissionControl:
    return AdmissionControl(b"k" * 32, capacity_per_s=1500, **options)


async def echo(request: StringValue, _: Any) -> StringValue:
    return request


async def never(_: StringValue, __: Any) -> StringValue:
    raise AssertionError("a refused call reaches no handler")


async def refused(caller: Caller, method: str, **options: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.unary(method, **options)
    return caught.value


def pushback_of(error: grpc.aio.AioRpcError) -> int:
    return int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"])


async def test_a_refused_caller_learns_when_to_come_back_and_the_level() -> None:
    control = new_control()
    control.level = priority_of(BusinessClass.HIGH, 127)
    async with guarded_server({"Read": unary(never)}, classes=CLASSES, control=control) as caller:
        # The first call of a method passes through another branch.
        errors = [await refused(caller, "Read", text="x" * 100_000) for _ in range(3)]
        told = str(caller.trailers["tieline-admission"])

    for error in errors:
        retry = error_details_pb2.RetryInfo()
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert read_reason(error) == "OVERLOADED"
        assert any(detail.Unpack(retry) for detail in read_status(error).details)
        assert 800 <= pushback_of(error) <= 1200
        assert abs(retry.retry_delay.ToMilliseconds() - pushback_of(error)) <= 1
    level, priority = told.split()
    assert int(level) == control.level
    assert class_of(int(priority)) == BusinessClass.NORMAL


async def test_the_push_back_follows_the_operator_and_low_calls_stay_away() -> None:
    control = new_control()
    control.level = NOTHING
    control.retry_delay_s = 7.0
    async with guarded_server(
        {"Read": unary(never), "Search": unary(never)}, classes=CLASSES, control=control
    ) as caller:
        read = await refused(caller, "Read")
        search = await refused(caller, "Search")

    assert 5600 <= pushback_of(read) <= 8400
    assert pushback_of(search) == -1


async def test_a_refused_send_stream_ends_with_the_same_words() -> None:
    async def take(requests: Any, _: Any) -> Any:
        async for request in requests:
            yield request

    control = new_control()
    control.level = NOTHING
    async with guarded_server({"Send": bidirectional(take)}, control=control) as caller:
        for _ in range(2):
            call = caller.stream("Send")
            for _ in range(20):
                await call.write(StringValue(value="x" * 1000))
            await call.done_writing()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert read_reason(caught.value) == "OVERLOADED"


async def test_a_stream_ends_with_the_level_of_its_end() -> None:
    async def take(requests: Any, _: Any) -> Any:
        async for request in requests:
            yield request

    now = 1000.0
    control = new_control(clock=lambda: now)
    async with guarded_server({"Send": bidirectional(take)}, control=control) as caller:
        call = caller.stream("Send")
        await call.write(StringValue(value="x"))
        await call.read()
        now += 10
        control.tick()
        control.level = priority_of(BusinessClass.HIGH, 127)
        await call.done_writing()
        end = await call.read()
        told = dict(await call.trailing_metadata())["tieline-admission"]

    assert end is grpc.aio.EOF
    assert told.startswith(f"{control.level} ")


async def take_each(requests: Any, _: Any) -> Any:
    """Say for each message whether it was let in."""
    call = current_call()
    async for _ in requests:
        yield StringValue(value="in" if call.admission.lets_in() else "refused")


async def exchange(call: Any) -> str:
    await call.write(StringValue(value="x"))
    return str((await call.read()).value)


@pytest.mark.parametrize("forgets", [False, True])
async def test_a_stream_of_a_flooding_corp_is_held_to_the_corps_share(forgets: bool) -> None:
    """By a token that the replica has not seen before, and after it has forgotten all corps."""
    now = 1000.0
    control = new_control(clock=lambda: now, busy_clock=lambda: now)
    async with guarded_server({"Send": bidirectional(take_each)}, control=control) as caller:
        call = caller.stream("Send")
        assert await exchange(call) == "in"
        if forgets:
            for number in range(10_001):
                control.callers.find_corp(f"ww{number}")
        for _ in range(3):
            for _ in range(500):
                await exchange(call)
            for number in range(50):
                neighbour = control.callers.find_corp(f"neighbour-{number}")
                control.lets_in(DEFAULT_PRIORITY, neighbour)
            control.note_queueing(0.03)
            now += 1.0
            control.tick()
        answers = {await exchange(call) for _ in range(100)}
        flood = control.callers.find_corp("wwacme")
        call.cancel()

    assert flood.level < LOWEST_PRIORITY
    assert "refused" in answers
    assert control.level_for(control.callers.find_corp("neighbour-1")) > flood.level


async def test_what_is_important_is_let_in_and_answered_with_the_level() -> None:
    control = new_control()
    control.level = priority_of(BusinessClass.CRITICAL, 127)
    async with guarded_server(
        {"Pay": unary(echo), "Search": unary(never)}, classes=CLASSES, control=control
    ) as caller:
        assert await caller.unary("Pay", "yes") == "yes"
        assert str(caller.trailers["tieline-admission"]).startswith(f"{control.level} ")
        await refused(caller, "Search")


@pytest.mark.parametrize(
    "metadata",
    [
        [("tieline-priority", str(HIGHEST_PRIORITY))],
        [("tieline-admission", "128 128")],
        [("tieline-held-back", "garbage")],
        [("tieline-previous-attempts", "garbage")],
    ],
)
async def test_a_client_can_not_raise_its_own_priority(metadata: list[tuple[str, str]]) -> None:
    control = new_control()
    control.level = priority_of(BusinessClass.HIGH, 127)
    async with guarded_server(
        {"Read": unary(never), "Pay": unary(echo)}, classes=CLASSES, control=control
    ) as caller:
        assert read_reason(await refused(caller, "Read", metadata=metadata)) == "OVERLOADED"
        assert await caller.unary("Pay", metadata=metadata) == ""


async def test_demand_counts_first_attempts_retries_and_what_was_held_back() -> None:
    control = new_control()
    async with guarded_server({"Read": unary(echo)}, classes=CLASSES, control=control) as caller:
        await caller.unary("Read")
        await caller.unary("Read", metadata=[("tieline-previous-attempts", "1")])
        await caller.unary("Read", metadata=[("tieline-held-back", "0,0,9,100000")])
    counts = control.current_counts()

    normal, low = BusinessClass.NORMAL, BusinessClass.LOW
    assert (counts.arrivals[normal], counts.retries[normal]) == (3, 1)
    assert (counts.held_back[normal], counts.held_back[low]) == (9, MAX_HELD_BACK - 9)


async def test_what_is_held_back_counts_also_where_the_token_is_new_to_the_replica() -> None:
    """Access tokens are new every quarter of an hour, and callers take it for told."""
    control = new_control()
    async with guarded_server({"Read": unary(echo)}, classes=CLASSES, control=control) as caller:
        token = caller.tokens.member("wwacme", "li.wei")
        told = [("tieline-held-back", "0,0,9,0")]
        for _ in range(2):
            await caller.unary("Read", token=token, metadata=told)
    counts = control.current_counts()

    assert counts.held_back[BusinessClass.NORMAL] == 18
    assert control.callers.find_corp("wwacme").held_back.total() == 18


async def test_what_those_hold_back_whose_calls_are_all_refused_goes_on_counting() -> None:
    """A surge lasts longer than admission remembers whom it has let in."""
    wall_time = 0.0
    # No window ends, so that the corp's counts stay.
    control = new_control(clock=lambda: 0.0, wall_clock=lambda: wall_time)
    async with guarded_server({"Read": unary(echo)}, classes=CLASSES, control=control) as caller:
        token = caller.tokens.member("wwacme", "li.wei")
        await caller.unary("Read", token=token)
        control.level = NOTHING
        for _ in range(3):
            wall_time += 61.0
            control.tick()
            held_back = [("tieline-held-back", "0,0,9,0")]
            await refused(caller, "Read", token=token, metadata=held_back)
    counts = control.current_counts()

    assert counts.held_back[BusinessClass.NORMAL] == 27
    # The first call came before its token was verified.
    assert control.callers.find_corp("wwacme").wanted == 3 + 27


async def test_those_whose_calls_are_all_refused_are_believed_though_their_token_is_new() -> None:
    """A surge lasts longer than tokens do."""
    control = new_control()
    async with guarded_server({"Read": unary(echo)}, classes=CLASSES, control=control) as caller:
        await caller.unary("Read")
        control.level = NOTHING
        token = caller.tokens.member("wwother", "li.wei")
        held_back = [("tieline-held-back", "0,0,9,0")]
        for _ in range(2):
            await refused(caller, "Read", token=token, metadata=held_back)
    counts = control.current_counts()

    assert counts.held_back[BusinessClass.NORMAL] == 18
    assert control.callers.find_corp("wwother").held_back.total() == 18


async def test_grpcs_own_retries_follow_the_push_back_and_are_no_demand() -> None:
    control = new_control()
    control.retry_delay_s = 0.2
    control.level = NOTHING
    retries = {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.001s",
                    "maxBackoff": "0.001s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
    options = [("grpc.service_config", json.dumps(retries))]
    async with (
        guarded_server({"Read": unary(echo)}, classes=CLASSES, control=control) as caller,
        grpc.aio.insecure_channel(f"127.0.0.1:{caller.port}", options=options) as channel,
    ):
        read: Any = channel.unary_unary(f"/{SERVICE}/Read")
        call = read(b"", metadata=caller.metadata(None))
        begun_at = time.monotonic()
        await eventually(lambda: control.current_counts().shed[BusinessClass.NORMAL] == 1)
        control.level = LOWEST_PRIORITY
        await call
        took_s = time.monotonic() - begun_at

    counts = control.current_counts()
    assert took_s >= 0.15
    assert counts.arrivals[BusinessClass.NORMAL] == 2
    assert counts.retries[BusinessClass.NORMAL] == 1


async def test_a_replica_with_too_much_to_do_begins_to_refuse_and_recovers() -> None:
    async def compute(request: StringValue, _: Any) -> StringValue:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass
        return request

    control = new_control()
    async with (
        guarded_server({"Search": unary(compute)}, classes=CLASSES, control=control) as caller,
        caller.guarded.probe.running(),
    ):
        refusals: list[str] = []

        async def call_on() -> None:
            while not refusals:
                try:
                    await caller.unary("Search")
                except grpc.aio.AioRpcError as error:
                    refusals.append(read_reason(error))

        async with asyncio.timeout(20):
            await asyncio.gather(*(call_on() for _ in range(60)))
        assert control.level < LOWEST_PRIORITY
        await eventually(lambda: control.level == LOWEST_PRIORITY, timeout_s=5)

    assert set(refusals) == {"OVERLOADED"}


async def test_a_burst_at_an_idle_replica_is_done_or_told_to_come_back() -> None:
    control = AdmissionControl(b"k" * 32, capacity_per_s=0)
    async with (
        guarded_server({"Read": unary(echo)}, classes=CLASSES, control=control) as caller,
        caller.guarded.probe.running(),
    ):
        burst = [caller.unary("Read", str(number), timeout_s=30) for number in range(900)]
        answers = await asyncio.gather(*burst, return_exceptions=True)

    errors = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(errors) < len(answers)
    assert {read_reason(error) for error in errors} <= {"OVERLOADED"}


async def test_reports_arrive_each_second_small_and_in_order(
    declared_nats: EmbeddedNats, identity_broker: Broker, health: Health
) -> None:
    control = new_control()
    reporter = LoadReporter("identity", control, health)
    reports: list[load_report_pb2.LoadReport] = []
    sizes: list[int] = []

    async def receive(message: Any) -> None:
        sizes.append(len(message.data))
        reports.append(load_report_pb2.LoadReport.FromString(message.data))

    async with connected(declared_nats, streams.OPERATOR) as (operator, errors):
        await operator.subscribe(streams.LOAD_REPORTS, cb=receive)
        await operator.flush()
        async with reporting(identity_broker, reporter, control):
            control.lets_in(priority_of(BusinessClass.HIGH, 3), control.no_corp)
            await eventually(lambda: len(reports) >= 3, timeout_s=10)
            state = load_report_pb2.SurgeState(service="identity", sequence=1)
            state.capacity_delay.FromSeconds(9)
            await operator.publish(streams.surge_subject("identity"), b"\xff garbage")
            await operator.publish(streams.surge_subject("identity"), state.SerializeToString())
            await eventually(lambda: control.retry_delay_s == 9, timeout_s=5)

    assert errors == []
    assert [report.sequence for report in reports[:3]] == [1, 2, 3]
    assert max(sizes) <= 300
    (high,) = reports[2].classes
    assert (high.first_attempts, high.admitted, high.shed) == (1, 1, 0)
    assert reports[2].HasField("ready_time")
    assert reports[2].admission_level == LOWEST_PRIORITY


def handler(answer: Any) -> dict[str, RequestHandler[StringValue, StringValue]]:
    return {"echo": RequestHandler(StringValue, answer)}


async def test_the_priority_of_a_call_reaches_its_third_hop_and_its_events(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    seen: list[int] = []
    headers: list[str] = []

    async def last(request: StringValue) -> StringValue:
        seen.append(current_call().priority)
        event = build_event("tieline.identity.v1.happened", "ww1", "key", request)
        *_, of_events = insert_parameters([event])
        assert isinstance(of_events, list)
        headers.append(json.loads(of_events[0])[PRIORITY_HEADER])
        return request

    async def between(request: StringValue) -> StringValue:
        return await ask(directory_broker, "identity", "echo", request, StringValue)

    async def search(request: StringValue, _: Any) -> StringValue:
        seen.append(current_call().priority)
        return await ask(identity_broker, "directory", "echo", request, StringValue)

    async with (
        answering(identity_broker, "identity", handler(last)),
        answering(directory_broker, "directory", handler(between)),
        guarded_server({"Search": unary(search)}, classes=CLASSES) as caller,
    ):
        await caller.unary("Search")

    first, third = seen
    assert class_of(first) == BusinessClass.LOW
    assert third == first
    assert headers == [str(first)]


async def test_an_overloaded_service_refuses_questions_which_are_then_not_asked(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    asked: list[int] = []

    async def count(request: StringValue) -> StringValue:
        asked.append(current_call().priority)
        return request

    control = new_control()
    control.level = priority_of(BusinessClass.HIGH, 127)
    low = priority_of(BusinessClass.LOW, 0)

    async def question(priority: int) -> StringValue:
        request = StringValue(value="?")
        return await ask(
            identity_broker, "directory", "echo", request, StringValue, priority=priority
        )

    async with answering(directory_broker, "directory", handler(count), control=control):
        for _ in range(5):
            with pytest.raises(UnavailableError) as caught:
                await question(low)
            assert caught.value.reason == "OVERLOADED"
        await question(HIGHEST_PRIORITY)

    assert asked == [HIGHEST_PRIORITY]
    # One was refused over there, the others here.
    assert control.current_counts().shed[BusinessClass.LOW] == 1


@pytest.mark.parametrize("forged", [None, "", "0", "9999", "-1", "garbage", "٢٠٠"])
async def test_a_question_with_a_forged_priority_or_none_has_the_usual_one(
    identity_broker: Broker, directory_broker: Broker, forged: str | None
) -> None:
    seen: list[int] = []

    async def remember(request: StringValue) -> StringValue:
        seen.append(current_call().priority)
        return request

    async with answering(directory_broker, "directory", handler(remember)):
        headers = {} if forged is None else {PRIORITY_HEADER: forged}
        await identity_broker.request("requests.directory.v1.echo", b"", headers=headers)

    assert seen == [DEFAULT_PRIORITY]


async def test_a_question_gets_less_time_than_its_asker_has(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    left: list[float] = []

    async def remember(request: StringValue) -> StringValue:
        remaining_s = current_call().remaining_s()
        assert remaining_s is not None
        left.append(remaining_s)
        return request

    call = Call("/test", "request-1", time.monotonic() + 1.0)
    async with answering(directory_broker, "directory", handler(remember)):
        with entered(call):
            await ask(identity_broker, "directory", "echo", StringValue(), StringValue)

    assert left[0] <= 0.98


async def test_a_call_whose_deadline_passed_in_the_queue_is_not_begun() -> None:
    control = new_control()
    async with guarded_server(
        {"Read": unary(echo), "Pay": unary(never)}, classes=CLASSES, control=control
    ) as caller:
        with grpc.insecure_channel(f"127.0.0.1:{caller.port}") as channel:
            # A connection that stands: what arrives next waits for the server's loop alone.
            await asyncio.to_thread(call_from_outside, channel, "Read", caller, 10)

            # On the loop's own thread, which begins nothing until the deadlines have passed.
            codes = calls_from_outside(channel, "Pay", caller, 0.2, count=5)

            pays = BusinessClass.CRITICAL
            await eventually(lambda: control.current_counts().expired[pays] == 5)
            await caller.unary("Read")
        answered = caller.guarded.interceptor.metrics.durations.series()
        counts = control.current_counts()

    assert set(codes) == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert {each.attributes["rpc.method"] for each in answered} == {f"/{SERVICE}/Read"}
    assert (counts.arrivals[pays], counts.shed[pays], sum(counts.expired)) == (5, 0, 5)


def calls_from_outside(
    channel: grpc.Channel, method: str, caller: Caller, timeout_s: float, *, count: int
) -> list[grpc.StatusCode]:
    """As `call_from_outside`, so many at the same time."""
    call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
    begun = [
        call.future(b"", timeout=timeout_s, metadata=caller.metadata(None)) for _ in range(count)
    ]
    return [each.code() for each in begun]


async def test_a_call_whose_deadline_passes_while_its_token_is_verified_is_counted_as_expired() -> (
    None
):
    control = new_control()
    async with guarded_server(
        {"Read": unary(never)}, classes=CLASSES, control=control, keys_come=False
    ) as caller:
        error = await refused(caller, "Read", timeout_s=0.3)
        await eventually(lambda: control.current_counts().expired[BusinessClass.NORMAL] == 1)

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_calls_that_had_their_turn_or_were_refused_are_not_counted_as_expired() -> None:
    async def wait(_: StringValue, __: Any) -> StringValue:
        await asyncio.Event().wait()
        raise AssertionError("nobody ends the wait")

    control = new_control()
    async with guarded_server(
        {"Read": unary(wait), "Pay": unary(echo), "Search": unary(never)},
        classes=CLASSES,
        control=control,
    ) as caller:
        await refused(caller, "Read", timeout_s=0.1)
        await refused(caller, "Pay", token="forged")
        await caller.unary("Pay")
        control.level = priority_of(BusinessClass.HIGH, 127)
        await refused(caller, "Search")
        await eventually(lambda: control.in_flight == 0)

    assert sum(control.current_counts().expired) == 0


def call_from_outside(
    channel: grpc.Channel, method: str, caller: Caller, timeout_s: float
) -> grpc.StatusCode:
    """Call as another process does, which needs no loop; return the status."""
    call: Any = channel.unary_unary(f"/{SERVICE}/{method}")
    try:
        call(b"", timeout=timeout_s, metadata=caller.metadata(None))
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_a_question_whose_deadline_passed_in_the_queue_is_not_begun(
    identity_broker: Broker, directory_broker: Broker
) -> None:
    async def never_answered(_: StringValue) -> StringValue:
        raise AssertionError("nobody waits for the answer")

    async def hold_up_the_loop() -> None:
        """Have whatever is begun wait for longer than the question's deadline."""
        while True:
            end = time.perf_counter() + 0.03
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0)

    control = new_control()
    headers = {DEADLINE_HEADER: "10", PRIORITY_HEADER: str(HIGHEST_PRIORITY)}
    async with answering(directory_broker, "directory", handler(never_answered), control=control):
        holding = asyncio.create_task(hold_up_the_loop())
        reply = await identity_broker.request(
            "requests.directory.v1.echo", b"", timeout=10, headers=headers
        )
        holding.cancel()

    assert status_pb2.Status.FromString(reply.data).code == code_pb2.DEADLINE_EXCEEDED
    assert control.current_counts().expired[BusinessClass.CRITICAL] == 1


async def test_probes_are_served_to_nobody_else() -> None:
    async with guarded_server({"Read": unary(echo)}) as caller:
        probe: Any = caller.channel.unary_unary("/tieline.chassis.Queue/Probe")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await probe(b"", metadata=(("probe-id", "1"),))

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
