"""Authenticators as people hold them: enrolled, and asked for codes."""

import base64
import time
import uuid
from collections.abc import Awaitable

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from integration.identity.world import TIMEOUT_S, Identity, Metadata
from tieline.api.identity.v1 import second_factor_service_pb2

_STEP_S = 30


def code_of(secret: str) -> str:
    """Return what an authenticator shows now; good for the rest of this step and in the next."""
    return _generate(secret, time.time())


def next_code_of(secret: str) -> str:
    """Return what an authenticator shows in the step after this one: good from now on."""
    return _generate(secret, time.time() + _STEP_S)


def _generate(secret: str, at_s: float) -> str:
    raw = base64.b32decode(secret + "=" * (-len(secret) % 8))
    totp = TOTP(raw, 6, SHA1(), _STEP_S)  # noqa: S303 -- RFC 6238's
    return totp.generate(int(at_s)).decode()


async def begin(identity: Identity, metadata: Metadata) -> str:
    """Begin an enrolment; return the secret."""
    response = await identity.second_factors.BeginTotpEnrolment(
        second_factor_service_pb2.BeginTotpEnrolmentRequest(), metadata=metadata, timeout=TIMEOUT_S
    )
    assert response.enrolment.uri.startswith("otpauth://totp/Tieline:")
    return response.enrolment.secret


async def confirm(
    identity: Identity, metadata: Metadata, code: str, request_id: str = ""
) -> list[str]:
    """Confirm the enrolment; return the recovery codes."""
    response = await identity.second_factors.ConfirmTotpEnrolment(
        second_factor_service_pb2.ConfirmTotpEnrolmentRequest(
            request_id=request_id or str(uuid.uuid4()), code=code
        ),
        metadata=metadata,
        timeout=TIMEOUT_S,
    )
    return list(response.recovery_codes)


async def enrol(identity: Identity, metadata: Metadata) -> tuple[str, list[str]]:
    """Enrol; return the secret and the recovery codes. The step's code is used up."""
    secret = await begin(identity, metadata)
    return secret, await confirm(identity, metadata, code_of(secret))


def complete(
    identity: Identity, text: str, code: str
) -> Awaitable[second_factor_service_pb2.CompleteSecondFactorResponse]:
    """Answer a challenge."""
    return identity.second_factors.CompleteSecondFactor(
        second_factor_service_pb2.CompleteSecondFactorRequest(challenge=text, code=code),
        timeout=TIMEOUT_S,
    )
