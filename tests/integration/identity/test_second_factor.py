"""Enrolling an authenticator, signing in with it, recovery codes, resets and policies."""

import asyncio
import base64
import uuid
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from integration.identity.authenticators import (
    begin,
    code_of,
    complete,
    confirm,
    enrol,
    next_code_of,
)
from integration.identity.world import (
    PASSWORD,
    TIMEOUT_S,
    Identity,
    Metadata,
    NewCorp,
    bearer,
    describe,
    refusal,
)
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import (
    identity_pb2,
    identity_service_pb2,
    second_factor_service_pb2,
    sign_in_pb2,
)

EVERYONE = sign_in_pb2.SECOND_FACTOR_REQUIREMENT_EVERYONE
ADMINISTRATORS = sign_in_pb2.SECOND_FACTOR_REQUIREMENT_ADMINISTRATORS


async def challenge(
    identity: Identity, corp_id: str, user_id: str = "boss"
) -> sign_in_pb2.SecondFactorChallenge:
    response = await identity.stub.SignInMember(
        identity_service_pb2.SignInMemberRequest(
            corp_id=corp_id, user_id=user_id, password=PASSWORD
        ),
        timeout=TIMEOUT_S,
    )
    assert not response.HasField("session")
    return response.second_factor_challenge


async def set_policy(identity: Identity, corp: NewCorp, requirement: int, etag: str = "") -> str:
    response = await identity.second_factors.UpdateSignInPolicy(
        second_factor_service_pb2.UpdateSignInPolicyRequest(
            policy=sign_in_pb2.SignInPolicy(
                second_factor_requirement=requirement,  # type: ignore[arg-type]
                etag=etag,
            )
        ),
        metadata=corp.owner,
        timeout=TIMEOUT_S,
    )
    return response.policy.etag


async def test_an_enrolled_member_signs_in_with_both_factors(identity: Identity) -> None:
    corp = await identity.new_corp()
    secret, _ = await enrol(identity, corp.owner)

    asked = await challenge(identity, corp.corp_id)
    response = await complete(identity, asked.challenge, next_code_of(secret))

    assert not asked.enrolment_required
    assert (await identity.get_corp(bearer(response.session))).corp.corp_id == corp.corp_id
    assert list(response.recovery_codes) == []


async def test_a_code_is_good_once_even_in_two_tasks(identity: Identity) -> None:
    corp = await identity.new_corp()
    secret, _ = await enrol(identity, corp.owner)
    asked = await challenge(identity, corp.corp_id)
    code = next_code_of(secret)

    outcomes = await asyncio.gather(
        *(complete(identity, asked.challenge, code) for _ in range(3)), return_exceptions=True
    )

    assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 2


async def test_guesses_at_the_second_factor_are_held_back(identity: Identity) -> None:
    corp = await identity.new_corp()
    secret, _ = await enrol(identity, corp.owner)
    asked = await challenge(identity, corp.corp_id)
    right = next_code_of(secret)
    wrong = f"{(int(right) + 500_000) % 10**6:06}"

    errors = await asyncio.gather(
        *(refusal(complete(identity, asked.challenge, wrong)) for _ in range(8))
    )
    last = await refusal(complete(identity, asked.challenge, right))

    reasons = [error.reason for error in errors]
    assert reasons.count("CREDENTIALS_REJECTED") == 5
    assert last.reason == "SIGN_IN_LOCKED"


async def regenerate(
    identity: Identity, metadata: Metadata, code: str, request_id: str = ""
) -> list[str]:
    response = await identity.second_factors.RegenerateRecoveryCodes(
        second_factor_service_pb2.RegenerateRecoveryCodesRequest(
            request_id=request_id or str(uuid.uuid4()), code=code
        ),
        metadata=metadata,
        timeout=TIMEOUT_S,
    )
    return list(response.recovery_codes)


async def test_no_call_that_looks_at_no_code_makes_room_for_more_guesses(
    identity: Identity,
) -> None:
    """A stolen access token would do, and the wait never come."""
    corp = await identity.new_corp()
    secret, _ = await enrol(identity, corp.owner)
    request_id, right = str(uuid.uuid4()), next_code_of(secret)
    wrong = f"{(int(right) + 500_000) % 10**6:06}"
    await regenerate(identity, corp.owner, right, request_id)
    await set_policy(identity, corp, EVERYONE)
    disable = second_factor_service_pb2.DisableTotpRequest(code=wrong)

    reasons = []
    for _ in range(3):
        for _ in range(4):
            error = await refusal(regenerate(identity, corp.owner, wrong))
            reasons.append(error.reason)
        # Where there is nothing to confirm, where it is answered, and where it is required.
        await asyncio.gather(
            confirm(identity, corp.owner, wrong),
            regenerate(identity, corp.owner, right, request_id),
            identity.second_factors.DisableTotp(disable, metadata=corp.owner),
            return_exceptions=True,
        )

    assert reasons[:4] == ["CREDENTIALS_REJECTED"] * 4
    assert "SIGN_IN_LOCKED" in reasons


async def test_a_call_that_looks_at_no_code_is_no_guess(identity: Identity) -> None:
    corp = await identity.new_corp()
    secret, _ = await enrol(identity, corp.owner)
    request_id, code = str(uuid.uuid4()), next_code_of(secret)
    codes = await regenerate(identity, corp.owner, code, request_id)

    for _ in range(4):
        error = await refusal(confirm(identity, corp.owner, code))
        assert error.reason == "SECOND_FACTOR_NOT_FOUND"
        assert await regenerate(identity, corp.owner, code, request_id) == codes


async def test_a_recovery_code_is_good_once_in_place_of_the_authenticator(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    _, codes = await enrol(identity, corp.owner)
    asked = await challenge(identity, corp.corp_id)
    typed = f"{codes[3][:4]}-{codes[3][4:].lower()}"

    await complete(identity, asked.challenge, typed)
    error = await refusal(complete(identity, asked.challenge, codes[3]))
    await complete(identity, asked.challenge, codes[4])

    assert len(set(codes)) == 10
    assert error.reason == "CREDENTIALS_REJECTED"
    status = await identity.second_factors.GetSecondFactor(
        second_factor_service_pb2.GetSecondFactorRequest(), metadata=corp.owner
    )
    assert status.second_factor.recovery_codes_left == 8


async def test_a_repeated_confirmation_gives_the_same_recovery_codes(identity: Identity) -> None:
    corp = await identity.new_corp()
    secret = await begin(identity, corp.owner)
    request_id, code = str(uuid.uuid4()), code_of(secret)

    first = await confirm(identity, corp.owner, code, request_id)
    again = await confirm(identity, corp.owner, code, request_id.upper())

    assert first == again
    rows = await identity.execute("SELECT response FROM identity.first_answers")
    assert not [row for row in rows if first[0].encode() in (row["response"] or b"")]


async def test_nothing_is_asked_for_before_the_enrolment_is_confirmed(identity: Identity) -> None:
    corp = await identity.new_corp()
    earlier = await begin(identity, corp.owner)
    await begin(identity, corp.owner)

    error = await refusal(confirm(identity, corp.owner, code_of(earlier)))

    assert error.reason == "CREDENTIALS_REJECTED"
    await identity.sign_in(corp.corp_id)


async def test_an_enrolled_member_can_not_enrol_over_it(identity: Identity) -> None:
    corp = await identity.new_corp()
    await enrol(identity, corp.owner)

    error = await refusal(begin(identity, corp.owner))

    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "SECOND_FACTOR_EXISTS")


async def test_new_recovery_codes_end_the_earlier_ones(identity: Identity) -> None:
    corp = await identity.new_corp()
    secret, codes = await enrol(identity, corp.owner)

    renewed = await regenerate(identity, corp.owner, next_code_of(secret))

    asked = await challenge(identity, corp.corp_id)
    assert set(renewed).isdisjoint(codes)
    assert (await refusal(complete(identity, asked.challenge, codes[0]))).reason == (
        "CREDENTIALS_REJECTED"
    )
    await complete(identity, asked.challenge, renewed[0])


async def test_a_disabled_second_factor_is_not_asked_for(identity: Identity) -> None:
    corp = await identity.new_corp()
    _, codes = await enrol(identity, corp.owner)
    request = second_factor_service_pb2.DisableTotpRequest(code=codes[0])

    await identity.second_factors.DisableTotp(request, metadata=corp.owner)
    again = await refusal(identity.second_factors.DisableTotp(request, metadata=corp.owner))

    assert (again.code, again.reason) == ("NOT_FOUND", "SECOND_FACTOR_NOT_FOUND")
    await identity.sign_in(corp.corp_id)


async def test_a_required_second_factor_is_enrolled_at_sign_in(identity: Identity) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)
    await set_policy(identity, corp, EVERYONE)

    asked = await challenge(identity, corp.corp_id, "li.wei")
    begun = await identity.second_factors.BeginTotpEnrolmentAtSignIn(
        second_factor_service_pb2.BeginTotpEnrolmentAtSignInRequest(challenge=asked.challenge)
    )
    secret = begun.enrolment.secret
    response = await complete(identity, asked.challenge, code_of(secret))

    assert asked.enrolment_required
    assert len(response.recovery_codes) == 10
    # The challenge asked for an enrolment, and that is done.
    spent = await refusal(complete(identity, asked.challenge, next_code_of(secret)))
    assert spent.reason == "CHALLENGE_ENDED"
    later = await challenge(identity, corp.corp_id, "li.wei")
    await complete(identity, later.challenge, next_code_of(secret))
    error = await refusal(
        identity.second_factors.DisableTotp(
            second_factor_service_pb2.DisableTotpRequest(code=response.recovery_codes[0]),
            metadata=bearer(response.session),
        )
    )
    assert error.reason == "SECOND_FACTOR_REQUIRED"


async def test_a_requirement_of_administrators_is_none_of_members(identity: Identity) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)
    await set_policy(identity, corp, ADMINISTRATORS)

    assert (await challenge(identity, corp.corp_id)).enrolment_required
    await identity.sign_in(corp.corp_id, "li.wei")


async def test_an_invitation_is_no_way_around_the_second_factor(identity: Identity) -> None:
    corp = await identity.new_corp()
    session = await identity.new_member(corp)
    await enrol(identity, bearer(session))
    [invitation] = await identity.invite(corp, "li.wei")

    response = await identity.stub.AcceptInvitation(
        identity_service_pb2.AcceptInvitationRequest(
            corp_id=corp.corp_id, user_id="li.wei", code=invitation.code, password="new password"
        )
    )

    assert not response.HasField("session")
    assert response.second_factor_challenge.challenge


async def test_a_challenge_is_void_once_the_password_has_changed(identity: Identity) -> None:
    corp = await identity.new_corp()
    secret, _ = await enrol(identity, corp.owner)
    asked = await challenge(identity, corp.corp_id)
    await identity.execute(
        "UPDATE identity.accounts SET password_hash = 'other' WHERE corp_id = $1", corp.corp_id
    )

    errors = [
        await refusal(complete(identity, text, next_code_of(secret)))
        for text in (asked.challenge, "", "a.b", asked.challenge[:-4] + "AAAA", "x" * 5000)
    ]

    assert {(error.code, error.reason) for error in errors} == {
        ("UNAUTHENTICATED", "CHALLENGE_ENDED")
    }
    assert len({str(describe(error)) for error in errors}) == 1


async def reset(identity: Identity, metadata: Metadata, user_id: str) -> None:
    await identity.second_factors.ResetSecondFactor(
        second_factor_service_pb2.ResetSecondFactorRequest(user_id=user_id),
        metadata=metadata,
        timeout=TIMEOUT_S,
    )


async def test_an_administrator_resets_a_members_second_factor_and_ends_the_sessions(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    session = await identity.new_member(corp)
    await enrol(identity, bearer(session))

    await reset(identity, corp.owner, "Li.Wei")
    await reset(identity, corp.owner, "li.wei")

    assert (await refusal(identity.refresh(session.refresh_token))).reason == "SESSION_ENDED"
    await identity.sign_in(corp.corp_id, "li.wei")
    assert (await refusal(reset(identity, corp.owner, "nobody"))).reason == "USER_NOT_FOUND"
    assert list((await refusal(reset(identity, corp.owner, "?"))).violations) == ["user_id"]


@pytest.mark.parametrize("user_id", ["boss", "administrator", "auditor"])
async def test_nobody_but_the_owner_resets_the_second_factor_of_who_is_in_charge(
    identity: Identity, user_id: str
) -> None:
    corp = await identity.new_corp()
    limited = await identity.new_administrator(
        corp, access_pb2.RIGHT_MANAGE_SIGN_IN, user_id="limited"
    )
    session = corp.owner_session
    if user_id != "boss":
        session = await identity.new_in_charge(corp, user_id)
    await enrol(identity, bearer(session))

    error = await refusal(reset(identity, limited, user_id))
    kept = await challenge(identity, corp.corp_id, user_id)
    await reset(identity, corp.owner, user_id)

    assert error.reason == "CALLER_NOT_ALLOWED"
    assert not kept.enrolment_required
    await identity.sign_in(corp.corp_id, user_id)


async def test_members_neither_reset_others_nor_change_the_policy(identity: Identity) -> None:
    corp = await identity.new_corp()
    member: identity_pb2.Session = await identity.new_member(corp)

    errors = [
        await refusal(reset(identity, bearer(member), "boss")),
        await refusal(
            identity.second_factors.UpdateSignInPolicy(
                second_factor_service_pb2.UpdateSignInPolicyRequest(), metadata=bearer(member)
            )
        ),
    ]

    assert [error.reason for error in errors] == ["CALLER_NOT_ALLOWED"] * 2


async def test_a_policys_fields_are_changed_one_by_one(identity: Identity) -> None:
    corp = await identity.new_corp()

    async def update(*paths: str, **fields: Any) -> sign_in_pb2.SignInPolicy:
        response = await identity.second_factors.UpdateSignInPolicy(
            second_factor_service_pb2.UpdateSignInPolicyRequest(
                policy=sign_in_pb2.SignInPolicy(**fields), update_mask=FieldMask(paths=paths)
            ),
            metadata=corp.owner,
            timeout=TIMEOUT_S,
        )
        return response.policy

    await update("second_factor_requirement", second_factor_requirement=EVERYONE)
    both = await update("provider_counts_as_second_factor", provider_counts_as_second_factor=True)
    all_fields = await update(second_factor_requirement=ADMINISTRATORS)
    error = await refusal(update("etag", etag=both.etag))

    assert both.second_factor_requirement == EVERYONE
    assert both.provider_counts_as_second_factor
    assert all_fields.second_factor_requirement == ADMINISTRATORS
    assert not all_fields.provider_counts_as_second_factor
    assert list(error.violations) == ["update_mask"]


async def test_a_policy_is_changed_as_it_was_read(identity: Identity) -> None:
    corp = await identity.new_corp()
    read = await identity.second_factors.GetSignInPolicy(
        second_factor_service_pb2.GetSignInPolicyRequest(), metadata=corp.owner
    )

    etag = await set_policy(identity, corp, ADMINISTRATORS, read.policy.etag)
    same = await set_policy(identity, corp, ADMINISTRATORS, etag)
    error = await refusal(set_policy(identity, corp, EVERYONE, read.policy.etag))
    unnamed = await refusal(set_policy(identity, corp, 0))

    assert etag == same != read.policy.etag
    assert (error.code, error.reason, error.metadata["etag"]) == (
        "ABORTED",
        "ETAG_MISMATCH",
        etag,
    )
    assert list(unnamed.violations) == ["policy.second_factor_requirement"]


@pytest.mark.parametrize("table", ["second_factors", "recovery_codes"])
async def test_no_table_holds_a_secret(identity: Identity, table: str) -> None:
    corp = await identity.new_corp()
    secret, codes = await enrol(identity, corp.owner)
    raw = base64.b32decode(secret + "=" * (-len(secret) % 8))

    rows = await identity.execute(
        f"SELECT t::text AS text FROM identity.{table} AS t WHERE corp_id = $1", corp.corp_id
    )

    assert rows
    for row in rows:
        assert raw.hex() not in row["text"]
        assert not [c for c in codes if c in row["text"] or c.encode().hex() in row["text"]]
