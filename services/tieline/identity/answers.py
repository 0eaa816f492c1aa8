"""What identity answers to other services over NATS."""

from typing import Any

from tieline.api.identity.v1 import identity_pb2, identity_requests_pb2
from tieline.chassis.postgres import Pool
from tieline.chassis.requests import RequestHandler
from tieline.identity.apps.messages import range_to_proto
from tieline.identity.apps.rules import app_not_found_error
from tieline.identity.repositories import apps, corps, signing_keys


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

    async def get_app_range(
        request: identity_requests_pb2.GetAppRangeRequest,
    ) -> identity_requests_pb2.GetAppRangeResponse:
        async with pool.acquire() as connection:
            app = await apps.find_app(connection, request.corp_id, request.agent_id)
        if app is None:
            raise app_not_found_error(request.agent_id)
        return identity_requests_pb2.GetAppRangeResponse(
            visible_range=range_to_proto(app.fields.visible_range),
            disabled=app.fields.disabled,
        )

    async def find_corp(
        request: identity_requests_pb2.FindCorpRequest,
    ) -> identity_requests_pb2.FindCorpResponse:
        async with pool.acquire() as connection:
            corp = await corps.find_corp(connection, request.corp_id)
        if corp is None:
            return identity_requests_pb2.FindCorpResponse()
        return identity_requests_pb2.FindCorpResponse(
            kind=identity_pb2.CorpKind.Value(f"CORP_KIND_{corp.kind.name}"),
            verified=corp.verify_time is not None,
            verified_label=corp.verified_label,
        )

    return {
        "get_app_range": RequestHandler(identity_requests_pb2.GetAppRangeRequest, get_app_range),
        "find_corp": RequestHandler(identity_requests_pb2.FindCorpRequest, find_corp),
        "get_signing_keys": RequestHandler(
            identity_requests_pb2.GetSigningKeysRequest, get_signing_keys
        ),
    }
