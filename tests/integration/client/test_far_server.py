"""A server that is far away or busy, so that a connection to it takes its time."""

import grpc
import pytest

from fakes.network import network_to
from tieline.client import Endpoints, RetryPolicy, TielineError, connect

NO_RETRIES = RetryPolicy(budget_ratio=0, budget_per_second=0, budget_capacity=0)


async def test_a_connection_that_takes_more_than_a_second_still_comes_about() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with (
            network_to(port, delay_s=1.2) as network,
            connect(Endpoints.single(f"127.0.0.1:{network.port}"), retries=NO_RETRIES) as tieline,
        ):
            with pytest.raises(TielineError) as caught:
                await tieline.sign_in_platform_administrator("platform", "password")
    finally:
        await server.stop(None)

    # Who answers knows no method: the call has come to it.
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED
