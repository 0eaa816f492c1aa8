"""Slow senders, TLS with renewal and client certificates, the PROXY protocol."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from fakes.certificates import Authority, replace_file, write_certificate
from fakes.edges import SERVICE, Edge, MakeReplica, StartEdge, has_begun, open_channel, token
from fakes.eventually import eventually
from fakes.raw_http2 import request
from tieline.edge.backends import Kind

pytestmark = pytest.mark.haproxy

# HTTP/2's greeting and empty settings.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


async def test_slow_senders_hold_no_slot_and_are_let_go(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_slots=1, edge_request_timeout_s=1)
    slow = [asyncio.create_task(send_half_a_message(edge)) for _ in range(5)]
    await eventually(lambda: has_begun(edge, 5))

    code = await edge.code()

    assert code == "OK"
    # gRPC shows the status or, where the reset arrives with it, that.
    assert {await task for task in slow} <= {"DEADLINE_EXCEEDED", "CANCELLED"}


async def test_slow_senders_of_large_calls_need_a_token_fill_no_stream_and_are_let_go(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    """What does not fit into the edge's buffer has places of its own, and a time altogether."""
    edge = await start_edge(
        make_replica(),
        edge_slots=1,
        edge_streams=1,
        edge_large_calls=2,
        edge_large_call_timeout_s=2,
    )

    stranger = await send_without_end(edge)
    slow = [asyncio.create_task(send_without_end(edge, token("ww1"))) for _ in range(2)]
    await eventually(lambda: has_large(edge, 2))
    code = await edge.code()
    stream = edge.subscribe()
    message = await stream.read()
    stream.cancel()

    assert stranger["grpc-status"] == "16"
    assert code == "OK"
    assert message
    assert [(await task)["grpc-status"] for task in slow] == ["4", "4"]


async def test_a_connection_that_says_nothing_is_closed(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_request_timeout_s=1)

    def wait_for_the_end() -> bytes:
        with socket.create_connection(("127.0.0.1", edge.settings.edge_port)) as connection:
            connection.settimeout(10)
            connection.sendall(GREETING)
            answer = b""
            while part := connection.recv(1000):
                answer += part
            return answer

    # Reading to the end without running into the timeout is the point.
    await asyncio.to_thread(wait_for_the_end)
    assert await edge.code() == "OK"


async def test_a_renewed_certificate_is_served_and_no_stream_ends_for_it(
    make_replica: MakeReplica, start_edge: StartEdge, tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path)
    first = certificate.read_bytes()
    edge = await start_edge(make_replica(), edge_tls_certificate=str(certificate))
    async with tls_channel(edge, first) as channel:
        assert await edge.code(channel=channel) == "OK"
        stream = edge.subscribe(channel=channel)
        assert await stream.read()
        served = await asyncio.to_thread(served_certificate, edge)

        write_certificate(tmp_path)
        second = certificate.read_bytes()

        async def is_renewed() -> bool:
            return await asyncio.to_thread(served_certificate, edge) != served

        await eventually(is_renewed, timeout_s=20)
        assert [bool(await stream.read()) for _ in range(20)] == [True] * 20
        stream.cancel()
    async with tls_channel(edge, second) as channel:
        assert await edge.code(channel=channel) == "OK"


async def test_without_a_client_certificate_nobody_comes_in_where_one_is_required(
    make_replica: MakeReplica, start_edge: StartEdge, tmp_path: Path
) -> None:
    pem = write_certificate(tmp_path)
    edge = await start_edge(
        make_replica(),
        edge_tls_certificate=str(pem),
        edge_tls_client_ca=str(pem),
        edge_tls_client_certificates="required",
    )

    async with tls_channel(edge, pem.read_bytes()) as stranger:
        assert await edge.code(channel=stranger) == "UNAVAILABLE"
    async with tls_channel(edge, pem.read_bytes(), own=pem.read_bytes()) as known:
        assert await edge.code(channel=known) == "OK"


async def test_an_optional_client_certificate_is_checked_where_one_is_shown(
    make_replica: MakeReplica, start_edge: StartEdge, tmp_path: Path
) -> None:
    pem = write_certificate(tmp_path)
    foreign = Authority("another").issue()
    edge = await start_edge(
        make_replica(),
        edge_tls_certificate=str(pem),
        edge_tls_client_ca=str(pem),
        edge_tls_client_certificates="optional",
    )

    codes = []
    for own in (None, pem.read_bytes(), foreign.key + foreign.pem):
        async with tls_channel(edge, pem.read_bytes(), own=own) as channel:
            codes.append(await edge.code(channel=channel))

    assert codes == ["OK", "OK", "UNAVAILABLE"]


async def test_replicas_are_called_by_tls_and_one_of_another_authority_gets_no_calls(
    make_replica: MakeReplica, start_edge: StartEdge, tmp_path: Path
) -> None:
    authority = Authority()
    trusted = replace_file(tmp_path / "ca.pem", authority.pem)
    issued = authority.issue()
    replica = make_replica(is_started=False)
    replica.pem = str(replace_file(tmp_path / "replica.pem", issued.key + issued.pem))
    replica.start()
    where = f"localhost:{replica.port}@{replica.agent_port}"
    edge = await start_edge(replica, edge_messaging=where, edge_replica_tls_ca=str(trusted))

    answers = [await edge.code() for _ in range(3)]
    replace_file(trusted, Authority("another").pem)

    assert answers == ["OK"] * 3
    await eventually(lambda: is_refused(edge), timeout_s=20)


async def is_refused(edge: Edge) -> bool:
    async with open_channel(edge.settings) as channel:
        return await edge.code(channel=channel) == "UNAVAILABLE"


async def test_the_address_of_a_proxy_header_is_the_callers(
    make_replica: MakeReplica, start_edge: StartEdge
) -> None:
    edge = await start_edge(make_replica(), edge_proxy_protocol=True)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", edge.settings.edge_port)
        far_writer.write(b"PROXY TCP4 203.0.113.7 127.0.0.1 5000 7100\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = await edge.call(channel=channel)
    server.close()

    assert answer.split()[2] == b"203.0.113.7"


async def send_half_a_message(edge: Edge) -> str:
    """Begin a call whose message never comes to its end; return its status."""
    call: Any = edge.channel.stream_unary(f"{SERVICE}/ListMessages")

    async def requests() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    try:
        await call(requests(), timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def send_without_end(edge: Edge, of: str = "") -> Mapping[str, str]:
    """Declare 4 MB, send more than a buffer of them and then a byte now and then."""
    part = b"x" * 16_000
    return await request(
        edge.settings.edge_port,
        f"{SERVICE}/ListMessages",
        headers={
            "content-type": "application/grpc",
            "te": "trailers",
            **({"authorization": f"Bearer {of}"} if of else {}),
        },
        body=[b"\0" + (4_000_000).to_bytes(4, "big"), part, part, part],
        is_ended=False,
        trickle_s=0.2,
    )


async def has_large(edge: Edge, count: int) -> bool:
    return await edge.in_flight(Kind.LARGE) == count


def tls_channel(edge: Edge, roots: bytes, own: bytes | None = None) -> grpc.aio.Channel:
    key, chain = (own, own) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(roots, key, chain)
    return grpc.aio.secure_channel(f"localhost:{edge.settings.edge_port}", credentials)


def served_certificate(edge: Edge) -> str:
    return ssl.get_server_certificate(("127.0.0.1", edge.settings.edge_port))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
