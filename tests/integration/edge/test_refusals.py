"""What callers are told that the edge refuses, seen through an ordinary gRPC client."""

import asyncio
import base64
import socket
from collections import Counter
from collections.abc import Mapping, Sequence

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from fakes.edges import SERVICE, Edge, MakeReplica, StartEdge, token
from fakes.eventually import eventually
from fakes.raw_http2 import request
from tieline.client.errors import TielineError

pytestmark = pytest.mark.haproxy


async def test_calls_and_streams_pass_with_the_callers_address(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica())

    name, length, address, _ = (await edge.call(body=b"1234567")).split()
    stream = edge.subscribe()
    messages = [await stream.read() for _ in range(3)]
    stream.cancel()

    assert (length, address) == (b"7", b"127.0.0.1")
    assert messages == [name] * 3


async def test_a_call_without_room_is_told_when_to_come_back(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_slots=1, edge_queue_length=4)
    waiting = [asyncio.create_task(edge.code(delay_ms=40)) for _ in range(12)]

    codes = Counter(await asyncio.gather(*waiting))

    assert codes["RESOURCE_EXHAUSTED"] >= 6
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await asyncio.gather(*(edge.call(delay_ms=40) for _ in range(12)))
    error = TielineError.from_rpc_error(refused.value)
    assert (error.reason, error.domain) == ("OVERLOADED", "tieline.dev")
    assert error.pushback_s is not None
    assert 0.5 <= error.pushback_s <= 1.5
    assert error.retry_after_s == 0.5


async def test_what_can_wait_is_told_not_to_come_back_by_itself(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(
        make_replica(), edge_slots=1, edge_queue_length=4, edge_queue_time_ms=100
    )
    holding = asyncio.create_task(edge.call(delay_ms=2000))
    await eventually(lambda: is_busy(edge))

    # One finds the room that LOW has, and waits in vain; the others find none.
    errors = await asyncio.gather(
        *(edge.call(LOW_METHOD) for _ in range(4)), return_exceptions=True
    )

    refused = [
        TielineError.from_rpc_error(each)
        for each in errors
        if isinstance(each, grpc.aio.AioRpcError)
    ]
    assert {each.code.name for each in refused} == {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
    assert [(each.reason, each.pushback_s) for each in refused] == [("OVERLOADED", -0.001)] * 4
    await holding


async def test_a_call_waits_no_longer_than_the_queue_time(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_slots=1, edge_queue_time_ms=50)
    holding = asyncio.create_task(edge.call(delay_ms=500))
    await eventually(lambda: is_busy(edge))

    begin = asyncio.get_running_loop().time()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await edge.call()
    waited_s = asyncio.get_running_loop().time() - begin

    error = TielineError.from_rpc_error(refused.value)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
    assert error.pushback_s is not None
    assert 0.04 <= waited_s < 0.4
    await holding


async def test_the_important_find_room_and_go_first(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(
        make_replica(), edge_slots=1, edge_queue_length=16, edge_queue_time_ms=5000
    )
    order: list[str] = []
    holding = asyncio.create_task(edge.call(delay_ms=400))
    await eventually(lambda: is_busy(edge))

    async def call(method: str) -> str:
        code = await edge.code(method, delay_ms=5)
        order.append(f"{method} {code}")
        return code

    reads = [asyncio.create_task(call("ListMessages")) for _ in range(16)]
    await eventually(lambda: len(order) == 8)
    sends = [asyncio.create_task(call("SendMessage")) for _ in range(4)]
    await asyncio.gather(holding, *reads, *sends)

    # NORMAL fills half of the queue; HIGH comes later, finds room and is served first.
    assert order[:8] == ["ListMessages RESOURCE_EXHAUSTED"] * 8
    assert order[8:12] == ["SendMessage OK"] * 4
    assert order[12:] == ["ListMessages OK"] * 8


@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("/tieline.api.messaging.v1.MessagingService/Forget", "UNIMPLEMENTED", id="no"),
        pytest.param("/grpc.health.v1.Health/Check", "UNIMPLEMENTED", id="not for strangers"),
        pytest.param(
            "/tieline.api.payments.v1.PaymentsService/GetBalance", "UNIMPLEMENTED", id="no replicas"
        ),
    ],
)
async def test_a_method_that_nobody_answers_is_unimplemented(
    path: str, code: str, make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica())

    assert await edge.code(path) == code


async def test_an_oversized_request_is_refused_and_its_neighbour_passes(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_max_message_bytes=100_000)

    assert await edge.code(body=b"x" * 100_000, token=token("ww1")) == "OK"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await edge.call(body=b"x" * 100_001)
    assert TielineError.from_rpc_error(refused.value).reason == "REQUEST_TOO_LARGE"


LOW_METHOD = "/tieline.api.messaging.v1.SearchService/SearchMessages"
GRPC = {"content-type": "application/grpc", "te": "trailers"}
METHOD = f"{SERVICE}/ListMessages"
MESSAGE = b"\0\0\0\0\1x"


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        pytest.param("GET", GRPC, [], id="a GET"),
        pytest.param("POST", {"content-type": "application/json"}, [MESSAGE], id="JSON"),
        pytest.param("POST", {}, [MESSAGE], id="no content type"),
        pytest.param("POST", GRPC, [], id="no body"),
        pytest.param("POST", GRPC, [b""], id="an empty body"),
        pytest.param("POST", GRPC, [MESSAGE[:4]], id="less than a message's head"),
        pytest.param("POST", GRPC, [b"\2" + MESSAGE[1:]], id="a flag that is none"),
    ],
)
async def test_what_is_no_grpc_request_is_malformed_and_its_neighbour_passes(
    method: str,
    headers: Mapping[str, str],
    body: Sequence[bytes],
    make_replica: MakeReplica,
    start_edge: StartEdge,
) -> None:
    edge = await start_edge(make_replica())
    port = edge.settings.edge_port

    answer, neighbour, well_formed = await asyncio.gather(
        request(port, METHOD, method=method, headers=headers, body=body),
        edge.code(),
        request(port, METHOD, headers=GRPC, body=[MESSAGE]),
    )

    assert told(answer) == ("200", "INVALID_ARGUMENT", "REQUEST_MALFORMED")
    assert neighbour == "OK"
    assert well_formed["grpc-status"] == "0"


async def test_refusals_without_a_grpc_client_say_the_same(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_request_timeout_s=1)
    port = edge.settings.edge_port

    unknown, slow = await asyncio.gather(
        request(port, f"{SERVICE}/Forget", headers=GRPC, body=[MESSAGE]),
        request(port, METHOD, headers=GRPC, body=[MESSAGE[:3]], is_ended=False),
    )

    assert told(unknown) == ("200", "UNIMPLEMENTED", "METHOD_UNKNOWN")
    assert told(slow) == ("200", "DEADLINE_EXCEEDED", "REQUEST_TOO_SLOW")
    assert await edge.code() == "OK"


def told(answer: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the HTTP status, gRPC's, and the reason."""
    info = error_details_pb2.ErrorInfo()
    raw = answer["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(raw + "=" * (-len(raw) % 4)))
    assert any(detail.Unpack(info) for detail in status.details)
    code = code_pb2.Code.Name(int(answer["grpc-status"]))
    assert code == code_pb2.Code.Name(status.code)
    return answer[":status"], code, info.reason


async def test_what_speaks_http_1_gets_no_answer(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica())

    answer = await asyncio.to_thread(http1_get, edge.settings.edge_port)

    assert b"200 OK" not in answer
    assert await edge.code() == "OK"


async def test_a_service_without_replicas_is_unavailable(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(is_started=False), ready=0)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await edge.call()

    error = TielineError.from_rpc_error(refused.value)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
    assert error.pushback_s is not None


def http1_get(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(1000)


async def is_busy(edge: Edge) -> bool:
    return await edge.in_flight() == 1
