"""The second factor of platform administrators: asked for, required by a setting, disabled."""

import uuid

import pytest

from engines import Database
from fakes.eventually import eventually
from integration.identity.authenticators import code_of, complete, enrol, next_code_of
from integration.identity.world import (
    PLATFORM_PASSWORD,
    TIMEOUT_S,
    FakeDirectory,
    Identity,
    bearer,
    fast_settings,
    refusal,
    running_identity,
)
from tieline.api.identity.v1 import (
    identity_service_pb2,
    second_factor_service_pb2,
    sign_in_pb2,
)
from tieline.client import Endpoints, connect
from tieline.client.connection import SecondFactorNeededError
from tieline.embedded.nats import EmbeddedNats


async def new_administrator(identity: Identity) -> str:
    """Add an administrator with the password of the first one; return the name."""
    name = f"a-{uuid.uuid4().hex[:8]}"
    await identity.execute(
        "INSERT INTO identity.platform_administrators (name, password_hash)"
        " SELECT $1, password_hash FROM identity.platform_administrators WHERE name = 'platform'",
        name,
    )
    return name


async def challenge(identity: Identity, name: str) -> sign_in_pb2.SecondFactorChallenge:
    response = await identity.stub.SignInPlatformAdministrator(
        identity_service_pb2.SignInPlatformAdministratorRequest(
            name=name, password=PLATFORM_PASSWORD
        ),
        timeout=TIMEOUT_S,
    )
    assert not response.HasField("session")
    return response.second_factor_challenge


async def test_an_enrolled_platform_administrator_signs_in_with_both_factors(
    identity: Identity,
) -> None:
    """The password alone opens nothing; a code, or a recovery code once, opens a session."""
    name = await new_administrator(identity)
    secret, codes = await enrol(identity, bearer(await identity.sign_in_platform(name)))

    asked = await challenge(identity, name)
    by_code = await complete(identity, asked.challenge, next_code_of(secret))
    by_recovery_code = await complete(identity, asked.challenge, codes[0])
    again = await refusal(complete(identity, asked.challenge, codes[0]))

    assert not asked.enrolment_required
    assert again.reason == "CREDENTIALS_REJECTED"
    for response in (by_code, by_recovery_code):
        await identity.stub.ListCorps(
            identity_service_pb2.ListCorpsRequest(), metadata=bearer(response.session)
        )
    [stored] = await identity.execute(
        "SELECT sealed_secret FROM identity.second_factors WHERE corp_id = '' AND user_id = $1",
        name,
    )
    assert secret.encode() not in stored["sealed_secret"]

    async def is_in_the_platforms_log() -> bool:
        rows = await identity.execute(
            "SELECT action FROM identity.audit_entries WHERE corp_id = '' AND resource = $1",
            f"platformAdministrators/{name}",
        )
        return {row["action"] for row in rows} == {
            "identity.platform_administrator.sign_in",
            "identity.platform_administrator.sign_in_refused",
            "identity.second_factor.enrol",
        }

    await eventually(is_in_the_platforms_log)


async def test_a_disabled_second_factor_of_an_administrator_is_not_asked_for(
    identity: Identity,
) -> None:
    """Where nothing requires one, its owner ends it by a code and the password is enough again."""
    name = await new_administrator(identity)
    metadata = bearer(await identity.sign_in_platform(name))
    _, codes = await enrol(identity, metadata)

    await identity.second_factors.DisableTotp(
        second_factor_service_pb2.DisableTotpRequest(code=codes[0]), metadata=metadata
    )

    assert (await identity.sign_in_platform(name)).access_token


async def test_a_removed_administrators_token_enrols_nothing(identity: Identity) -> None:
    """A secret is sealed for nobody who is not there any more."""
    name = await new_administrator(identity)
    metadata = bearer(await identity.sign_in_platform(name))
    await identity.execute("DELETE FROM identity.platform_administrators WHERE name = $1", name)

    error = await refusal(enrol(identity, metadata))

    assert (error.code, error.reason) == ("UNAUTHENTICATED", "SESSION_ENDED")


async def test_a_required_second_factor_of_administrators_is_enrolled_at_sign_in(
    empty_database: Database, identity_nats: EmbeddedNats
) -> None:
    """With the setting on, whoever has none enrols one before the first session, and keeps it."""
    settings = fast_settings(empty_database, identity_nats)
    required = settings.model_copy(update={"platform_second_factor_required": True})
    async with running_identity(settings, empty_database, identity_nats, FakeDirectory()):
        pass
    async with running_identity(
        required, empty_database, identity_nats, FakeDirectory(), signs_in=False
    ) as identity:
        asked = await challenge(identity, "platform")
        begun = await identity.second_factors.BeginTotpEnrolmentAtSignIn(
            second_factor_service_pb2.BeginTotpEnrolmentAtSignInRequest(challenge=asked.challenge)
        )
        response = await complete(identity, asked.challenge, code_of(begun.enrolment.secret))
        metadata = bearer(response.session)
        status = await identity.second_factors.GetSecondFactor(
            second_factor_service_pb2.GetSecondFactorRequest(), metadata=metadata
        )
        error = await refusal(
            identity.second_factors.DisableTotp(
                second_factor_service_pb2.DisableTotpRequest(code=response.recovery_codes[0]),
                metadata=metadata,
            )
        )

    assert asked.enrolment_required
    assert (status.second_factor.enrolled, status.second_factor.required) == (True, True)
    assert status.second_factor.recovery_codes_left == 10
    assert error.reason == "SECOND_FACTOR_REQUIRED"


async def test_the_client_library_asks_for_the_code_or_gives_the_challenge_out(
    identity: Identity,
) -> None:
    """As it does for members."""
    name = await new_administrator(identity)
    secret, _ = await enrol(identity, bearer(await identity.sign_in_platform(name)))

    async def get_code() -> str:
        return next_code_of(secret)

    async with connect(Endpoints.single(f"127.0.0.1:{identity.settings.grpc_port}")) as tieline:
        with pytest.raises(SecondFactorNeededError) as raised:
            await tieline.sign_in_platform_administrator(name, PLATFORM_PASSWORD)
        signed_in = await tieline.sign_in_platform_administrator(
            name, PLATFORM_PASSWORD, get_code=get_code
        )
        await signed_in.identity.ListCorps(identity_service_pb2.ListCorpsRequest())

    assert not raised.value.challenge.enrolment_required
