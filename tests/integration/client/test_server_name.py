"""A server whose certificate has another name than its address, as an edge within a cluster."""

import grpc
import pytest

from fakes.certificates import Authority
from tieline.client import Endpoints, RetryPolicy, TielineError, connect

NO_RETRIES = RetryPolicy(budget_ratio=0, budget_per_second=0, budget_capacity=0)


@pytest.mark.parametrize(
    ("server_name", "code"),
    [
        # Who answers knows no method: the call has come to it.
        pytest.param("connect.example", grpc.StatusCode.UNIMPLEMENTED, id="the certificate's"),
        pytest.param(None, grpc.StatusCode.UNAVAILABLE, id="the address's"),
        pytest.param("other.example", grpc.StatusCode.UNAVAILABLE, id="another"),
    ],
)
async def test_only_the_name_that_is_asked_for_is_trusted(
    server_name: str | None, code: grpc.StatusCode
) -> None:
    authority = Authority()
    issued = authority.issue("connect.example")
    server = grpc.aio.server()
    credentials = grpc.ssl_server_credentials([(issued.key, issued.pem)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    endpoints = Endpoints.single(f"127.0.0.1:{port}")
    try:
        async with connect(
            endpoints,
            tls=True,
            root_certificates=authority.pem,
            server_name=server_name,
            retries=NO_RETRIES,
        ) as tieline:
            with pytest.raises(TielineError) as caught:
                await tieline.sign_in_platform_administrator("platform", "password")
    finally:
        await server.stop(None)

    assert caught.value.code is code
