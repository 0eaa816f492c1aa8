"""SigningKeyService: the published keys, and a new one out of turn."""

import base64

from tieline.api.identity.v1 import (
    signing_key_pb2,
    signing_key_service_pb2,
    signing_key_service_pb2_grpc,
)
from tieline.chassis.audit import PLATFORM_LOG, build_audit_event
from tieline.chassis.authentication import ALGORITHM
from tieline.chassis.fields import to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection, Pool
from tieline.identity.repositories import SCHEMA
from tieline.identity.signing_keys.rotation import SigningKeys
from tieline.identity.signing_keys.rules import SealedKey


class SigningKeyServicer(signing_key_service_pb2_grpc.SigningKeyServiceServicer):
    """The calls of SigningKeyService."""

    def __init__(self, pool: Pool, keys: SigningKeys) -> None:
        self._pool = pool
        self._keys = keys

    async def GetJwks(
        self, request: signing_key_service_pb2.GetJwksRequest, context: Context
    ) -> signing_key_service_pb2.GetJwksResponse:
        """Return the keys as this replica last read them: anybody may ask, and it costs no I/O."""
        return signing_key_service_pb2.GetJwksResponse(
            keys=[_to_jwk(key) for key in self._keys.keys]
        )

    async def RotateSigningKey(
        self, request: signing_key_service_pb2.RotateSigningKeyRequest, context: Context
    ) -> signing_key_service_pb2.RotateSigningKeyResponse:
        """Make the next key now, at most once per request id."""
        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            signing_key_service_pb2.RotateSigningKeyResponse,
            lambda connection: self._rotate(connection, request),
            corp_id=PLATFORM_LOG,
        )
        await self._keys.refresh()
        return response

    async def _rotate(
        self, connection: Connection, request: signing_key_service_pb2.RotateSigningKeyRequest
    ) -> signing_key_service_pb2.RotateSigningKeyResponse:
        key = await self._keys.rotate(connection, withdraw=request.withdraw)
        event = await build_audit_event(
            connection,
            SCHEMA,
            corp_id=PLATFORM_LOG,
            action="identity.signing_key.rotate",
            resource=f"signing_keys/{key.key_id}",
            details={"withdraw": str(request.withdraw).lower()},
        )
        await insert_events(connection, SCHEMA, [event])
        return signing_key_service_pb2.RotateSigningKeyResponse(
            key_id=key.key_id, sign_time=to_timestamp(key.sign_time)
        )


def _to_jwk(key: SealedKey) -> signing_key_pb2.JsonWebKey:
    return signing_key_pb2.JsonWebKey(
        kty="OKP",
        crv="Ed25519",
        x=base64.urlsafe_b64encode(key.public_key).decode().rstrip("="),
        kid=key.key_id,
        alg=ALGORITHM,
        use="sig",
    )
