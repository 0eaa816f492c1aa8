"""A server's ports, its health service and its drain."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fakes.eventually import eventually
from fakes.guarded_calls import (
    SERVICE,
    bidirectional,
    guarded_server,
    read_reason,
    unary,
)
from tieline.api.identity.v1 import identity_service_pb2
from tieline.chassis.authentication import TokenVerifier
from tieline.chassis.grpc_server import (
    Served,
    Transport,
    bind,
    build_server,
    check_port_is_free,
    serving,
)
from tieline.chassis.health import DATABASE, Health, Stage
from tieline.chassis.health_servicer import LIVENESS
from tieline.chassis.interceptors.guarded_method import CallLimits
from tieline.chassis.process import StartError
from tieline.chassis.telemetry import telemetry
from tieline.embedded.ports import find_free_port

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def echo(request: StringValue, _: Any) -> StringValue:
    return request


async def endless(_: AsyncIterator[StringValue], __: Any) -> AsyncIterator[StringValue]:
    yield StringValue(value="subscribed")
    await asyncio.Event().wait()


async def test_drain_finishes_the_call_in_flight_and_refuses_new_ones() -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def work(_: StringValue, __: Any) -> StringValue:
        begun.set()
        await finish.wait()
        return StringValue(value="done")

    async with guarded_server({"Work": unary(work), "Echo": unary(echo)}) as caller:
        stack = AsyncExitStack()
        await stack.enter_async_context(serving(caller.guarded, grace_s=10))
        in_flight = asyncio.create_task(caller.unary("Work"))
        await begun.wait()
        drain = asyncio.create_task(stack.aclose())
        await eventually(lambda: not caller.guarded.health.is_ready)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await caller.unary("Echo")
        finish.set()

        assert await in_flight == "done"
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await drain


async def test_replica_that_leaves_says_so_and_serves_on_for_its_time() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        health = caller.guarded.health
        stack = AsyncExitStack()
        await stack.enter_async_context(serving(caller.guarded, grace_s=10, drain_s=1))
        drain = asyncio.create_task(stack.aclose())
        await eventually(lambda: not health.is_ready)
        stub: Any = health_pb2_grpc.HealthStub(caller.channel)

        told = (await stub.Check(health_pb2.HealthCheckRequest())).status
        answer = await caller.unary("Echo", "x")
        await drain

        assert told == NOT_SERVING
        assert answer == "x"
        assert health.stage is Stage.DRAINING


async def test_drain_ends_subscriptions_long_before_the_grace_is_over() -> None:
    async with guarded_server({"Subscribe": bidirectional(endless)}) as caller:
        async with serving(caller.guarded, grace_s=600):
            stream = caller.stream("Subscribe")
            await stream.read()

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()

        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert read_reason(caught.value) == "SHUTTING_DOWN"


async def test_drain_cancels_what_is_not_done_when_the_grace_is_over() -> None:
    begun = asyncio.Event()

    async def hang(_: StringValue, __: Any) -> StringValue:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")

    async with guarded_server({"Hang": unary(hang)}) as caller:
        async with serving(caller.guarded, grace_s=0.1):
            in_flight = asyncio.create_task(caller.unary("Hang"))
            await begun.wait()

        with pytest.raises(grpc.aio.AioRpcError):
            await in_flight


async def test_health_follows_readiness_and_needs_no_token() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        stub: Any = health_pb2_grpc.HealthStub(caller.channel)

        async def ask(service: str) -> int:
            return int((await stub.Check(health_pb2.HealthCheckRequest(service=service))).status)

        assert [await ask(""), await ask(SERVICE)] == [SERVING, SERVING]
        caller.guarded.health.mark_down(DATABASE)
        assert [await ask(""), await ask(SERVICE)] == [NOT_SERVING, NOT_SERVING]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask("another.Service")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_liveness_depends_on_nothing_and_outlives_the_drain() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        stub: Any = health_pb2_grpc.HealthStub(caller.channel)
        request = health_pb2.HealthCheckRequest(service=LIVENESS)

        caller.guarded.health.mark_down(DATABASE)
        assert (await stub.Check(request)).status == SERVING
        caller.guarded.health.mark_draining()
        assert (await stub.Check(request)).status == SERVING


async def test_watcher_hears_of_each_change_and_is_let_go_by_the_drain() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        health = caller.guarded.health
        stub: Any = health_pb2_grpc.HealthStub(caller.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        told = [(await watch.read()).status]
        health.mark_down(DATABASE)
        told.append((await watch.read()).status)
        health.mark_up(DATABASE)
        told.append((await watch.read()).status)
        health.mark_draining()
        told.append((await watch.read()).status)

        assert told == [SERVING, NOT_SERVING, SERVING, NOT_SERVING]
        assert await watch.read() is grpc.aio.EOF


async def test_taken_port_is_named_with_its_setting() -> None:
    async with guarded_server({"Echo": unary(echo)}) as caller:
        with pytest.raises(StartError) as caught:
            check_port_is_free("127.0.0.1", caller.port)

    assert f"port {caller.port} " in caught.value.text
    assert "TIELINE_GRPC_PORT" in caught.value.text


async def test_two_services_never_share_a_port_by_accident() -> None:
    async with (
        guarded_server({"Echo": unary(echo)}) as caller,
        guarded_server({"Echo": unary(echo)}) as other,
    ):
        # As if the port had been taken between the check and the opening of it.
        with pytest.raises(StartError, match="TIELINE_GRPC_PORT"):
            bind(other.guarded, "127.0.0.1", caller.port)


async def test_worker_shares_the_port_of_its_siblings() -> None:
    async with (
        guarded_server({"Echo": unary(echo)}, transport=Transport(shares_port=True)) as caller,
        guarded_server({"Echo": unary(echo)}, transport=Transport(shares_port=True)) as sibling,
    ):
        assert bind(sibling.guarded, "127.0.0.1", caller.port) == caller.port


def test_address_that_is_not_ours_is_named_with_its_setting() -> None:
    with pytest.raises(StartError, match="TIELINE_GRPC_HOST"):
        check_port_is_free("192.0.2.1", find_free_port())


def test_port_of_a_server_that_ended_a_moment_ago_is_free() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            # The side that closes first keeps the address in TIME_WAIT.
            accepted.close()
            client.recv(1)

    check_port_is_free("127.0.0.1", port)


async def test_reflection_lists_the_services_without_a_token() -> None:
    async def fetch_keys() -> dict[str, Any]:
        return {}

    async with AsyncExitStack() as stack:
        measured = stack.enter_context(telemetry("test"))
        service = identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"]
        guarded = build_server(
            [Served(lambda _servicer, _server: None, None, service)],
            verifier=TokenVerifier(fetch_keys),
            health=Health(),
            telemetry=measured,
            limits=CallLimits(),
        )
        port = bind(guarded, "127.0.0.1", 0)
        await guarded.server.start()
        stack.push_async_callback(guarded.server.stop, None)
        channel: Any = await stack.enter_async_context(
            grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        )
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        answer = await answers.read()

    listed = {service.name for service in answer.list_services_response.service}
    assert {"tieline.api.identity.v1.IdentityService", "grpc.health.v1.Health"} <= listed
