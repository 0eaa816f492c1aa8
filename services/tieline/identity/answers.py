"""What identity answers to other services over NATS."""

from typing import Any

from tieline.api.identity.v1 import identity_pb2, identity_requests_pb2
from tieline.chassis.postgres import Pool
from tieline.chassis.requests import RequestHandler
from tieline.identity.repositories import signing_keys


def build_handlers(pool: Pool) -> dict[str, RequestHandler[Any, Any]]:
    """Return the handlers of ``requests.identity.v1.*`` by method."""

    async def get_signing_keys(
        request: identity_requests_pb2.GetSigningKeysRequest,
    ) -> identity_requests_pb2.GetSigningKeysResponse:
        # From the database each time, which the askers cache: a key that another replica made a
        # moment ago is there.
        async with pool.acquire() as connection:
            keys = await signing_keys.list_public_keys(connection)
        return identity_requests_pb2.GetSigningKeysResponse(
            keys=[
                identity_pb2.SigningKey(key_id=key.key_id, public_key=key.public_key)
                for key in keys
            ]
        )

    return {
        "get_signing_keys": RequestHandler(
            identity_requests_pb2.GetSigningKeysRequest, get_signing_keys
        )
    }
