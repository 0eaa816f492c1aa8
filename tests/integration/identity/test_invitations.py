"""CreateInvitations and AcceptInvitation."""

import asyncio
import uuid
from pathlib import Path

import grpc
import nats as nats_client
import pytest

from engines import Database, build_nats
from integration.identity.world import (
    PASSWORD,
    TIMEOUT_S,
    FakeDirectory,
    Identity,
    bearer,
    describe,
    fast_settings,
    refusal,
    running_identity,
)
from published_events import published_events
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import (
    identity_pb2,
    identity_requests_pb2,
    identity_service_pb2,
    role_service_pb2,
)
from tieline.chassis import streams
from tieline.chassis.authentication import TokenVerifier, build_public_key
from tieline.chassis.requests import ask

UNKNOWN_CORP_ID = "ww" + "0" * 24


async def test_the_session_of_an_accepted_invitation_is_usable_at_once(identity: Identity) -> None:
    created = await identity.create_corp()

    session = await identity.accept(
        created.corp.corp_id, "BOSS", created.owner_invitation.code.lower()
    )

    assert (await identity.get_corp(bearer(session))).corp == created.corp
    assert session.refresh_expire_time.seconds > session.access_expire_time.seconds


async def test_the_first_use_of_an_invitation_is_told_once(identity: Identity) -> None:
    created = await identity.create_corp()
    corp_id, code = created.corp.corp_id, created.owner_invitation.code
    await identity.accept(corp_id, "BOSS", code)
    await identity.accept(corp_id, "boss", code)

    key = f"members/{corp_id}/boss"
    [(subject, payload)] = await published_events(identity.nats, "IDENTITY", key, 1)

    event = identity_pb2.MemberActivated.FromString(payload)
    assert subject == "tieline.identity.v1.member_activated"
    assert (event.corp_id, event.user_id) == (corp_id, "boss")


async def test_other_services_read_the_token_with_the_keys_that_identity_publishes(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    broker = await nats_client.connect(
        identity.nats.url("messaging"), inbox_prefix="_INBOX.messaging"
    )
    response = await ask(
        broker,
        "identity",
        "get_signing_keys",
        identity_requests_pb2.GetSigningKeysRequest(),
        identity_requests_pb2.GetSigningKeysResponse,
    )
    await broker.close()
    keys = {key.key_id: build_public_key(key.public_key) for key in response.keys}

    async def fetch_keys() -> dict[str, object]:
        return dict(keys)

    verifier = TokenVerifier(fetch_keys)  # type: ignore[arg-type]

    principal = await verifier.verify(corp.owner_session.access_token)

    assert (principal.id, principal.corp_id) == ("boss", corp.corp_id)
    assert principal.roles == {"owner"}
    assert principal.display_name == "Zhou Jin"
    assert principal.session_id == corp.owner_session.session_id


async def test_whatever_is_wrong_with_an_invitation_gets_the_same_answer(
    identity: Identity,
) -> None:
    created = await identity.create_corp()
    corp_id, code = created.corp.corp_id, created.owner_invitation.code

    errors = [
        await refusal(identity.accept(corp_id, "boss", "A" * 26)),
        await refusal(identity.accept(corp_id, "boss", "")),
        await refusal(identity.accept(corp_id, "li.wei", code)),
        await refusal(identity.accept(UNKNOWN_CORP_ID, "boss", code)),
        await refusal(identity.accept("\x00", "boss", code)),
        await refusal(identity.accept(corp_id, "b\x00ss", code)),
    ]
    await identity.accept(corp_id, "boss", code)
    errors.append(await refusal(identity.accept(corp_id, "boss", code, "another password")))
    await identity.execute(
        "UPDATE identity.invitations SET expire_time = now() WHERE corp_id = $1", corp_id
    )
    errors.append(await refusal(identity.accept(corp_id, "boss", code)))

    assert {(error.code, error.reason) for error in errors} == {
        ("UNAUTHENTICATED", "CREDENTIALS_REJECTED")
    }
    assert len({str(describe(error)) for error in errors}) == 1


async def test_an_expired_code_that_was_never_used_is_rejected(identity: Identity) -> None:
    created = await identity.create_corp()
    await identity.execute(
        "UPDATE identity.invitations SET expire_time = now() WHERE corp_id = $1",
        created.corp.corp_id,
    )

    error = await refusal(
        identity.accept(created.corp.corp_id, "boss", created.owner_invitation.code)
    )

    assert error.reason == "CREDENTIALS_REJECTED"


async def test_a_weak_password_leaves_the_code_good(identity: Identity) -> None:
    created = await identity.create_corp()
    corp_id, code = created.corp.corp_id, created.owner_invitation.code

    error = await refusal(identity.accept(corp_id, "boss", code, "too short"))

    assert list(error.violations) == ["password"]
    await identity.accept(corp_id, "boss", code)


async def test_of_two_people_with_one_code_one_gets_the_account(identity: Identity) -> None:
    created = await identity.create_corp()
    corp_id, code = created.corp.corp_id, created.owner_invitation.code
    passwords = [f"password of thief {i}" for i in range(4)]

    outcomes = await asyncio.gather(
        *(identity.accept(corp_id, "boss", code, password) for password in passwords),
        return_exceptions=True,
    )

    winners = [p for p, o in zip(passwords, outcomes, strict=True) if not isinstance(o, Exception)]
    assert len(winners) == 1
    assert sum(isinstance(outcome, grpc.aio.AioRpcError) for outcome in outcomes) == 3
    await identity.sign_in(corp_id, "boss", winners[0])


async def test_an_acceptance_whose_answer_was_lost_may_be_sent_again(identity: Identity) -> None:
    created = await identity.create_corp()
    corp_id, code = created.corp.corp_id, created.owner_invitation.code

    at_once = await asyncio.gather(*(identity.accept(corp_id, "boss", code) for _ in range(3)))
    later = await identity.accept(corp_id, "boss", code)

    for session in [*at_once, later]:
        assert (await identity.get_corp(bearer(session))).corp.corp_id == corp_id


async def test_a_new_password_ends_the_sessions_and_the_old_password(identity: Identity) -> None:
    corp = await identity.new_corp()
    other = await identity.new_corp()
    old = await identity.new_member(corp)
    [invitation] = await identity.invite(corp, "li.wei")

    new = await identity.accept(corp.corp_id, "li.wei", invitation.code, "a new password")

    assert (await refusal(identity.refresh(old.refresh_token))).reason == "SESSION_ENDED"
    error = await refusal(identity.sign_in(corp.corp_id, "li.wei", PASSWORD))
    assert error.reason == "CREDENTIALS_REJECTED"
    await identity.refresh(new.refresh_token)
    await identity.refresh(corp.owner_session.refresh_token)
    await identity.refresh(other.owner_session.refresh_token)


async def test_members_in_the_directory_are_invited_in_the_order_of_the_request(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    user_ids = [f"u{i}" for i in range(1000)]
    identity.directory.members |= {(corp.corp_id, user_id) for user_id in user_ids}

    invitations = await identity.invite(corp, *user_ids)

    assert [invitation.user_id for invitation in invitations] == user_ids
    assert len({invitation.code for invitation in invitations}) == 1000
    session = await identity.accept(corp.corp_id, "u999", invitations[999].code)
    assert (await identity.get_corp(bearer(session))).corp.corp_id == corp.corp_id


async def test_nobody_is_invited_where_somebody_is_not_in_the_directory(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))

    error = await refusal(identity.invite(corp, "li.wei", "Nobody"))

    assert (error.code, error.reason) == ("NOT_FOUND", "USER_NOT_FOUND")
    assert error.metadata == {"userId": "nobody"}
    rows = await identity.execute(
        "SELECT user_id FROM identity.invitations WHERE corp_id = $1", corp.corp_id
    )
    assert [row["user_id"] for row in rows] == ["boss"]


async def test_an_earlier_code_ends_with_the_next_invitation(identity: Identity) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))
    [earlier] = await identity.invite(corp, "li.wei")

    [later] = await identity.invite(corp, "li.wei")

    error = await refusal(identity.accept(corp.corp_id, "li.wei", earlier.code))
    assert error.reason == "CREDENTIALS_REJECTED"
    await identity.accept(corp.corp_id, "li.wei", later.code)


async def test_a_repeat_returns_the_same_codes_whatever_the_directory_says_now(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))
    request_id = str(uuid.uuid4())

    first, *others = await asyncio.gather(
        *(identity.invite(corp, "Li.Wei", request_id=request_id) for _ in range(4))
    )
    identity.directory.members.remove((corp.corp_id, "li.wei"))
    later = await identity.invite(corp, "Li.Wei", request_id=request_id)

    assert [*others, later] == [first] * 4
    await identity.accept(corp.corp_id, "li.wei", first[0].code)


async def test_a_repeat_does_not_make_a_used_code_good_again(identity: Identity) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))
    request_id = str(uuid.uuid4())
    [invitation] = await identity.invite(corp, "li.wei", request_id=request_id)
    await identity.accept(corp.corp_id, "li.wei", invitation.code)

    [again] = await identity.invite(corp, "li.wei", request_id=request_id)

    assert again == invitation
    error = await refusal(identity.accept(corp.corp_id, "li.wei", again.code, "stolen password"))
    assert error.reason == "CREDENTIALS_REJECTED"


async def test_a_repeat_for_other_members_is_refused(identity: Identity) -> None:
    corp = await identity.new_corp()
    request_id = str(uuid.uuid4())
    await identity.invite(corp, "boss", request_id=request_id)

    error = await refusal(identity.invite(corp, "li.wei", request_id=request_id))

    assert error.reason == "REQUEST_ID_REUSED"


async def test_requests_of_two_corps_may_share_an_id(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    request_id = str(uuid.uuid4())

    [of_corp] = await identity.invite(corp, "boss", request_id=request_id)
    [of_other] = await identity.invite(other, "boss", request_id=request_id)

    assert of_corp.code != of_other.code


async def test_the_owner_is_invited_without_asking_the_directory(identity: Identity) -> None:
    corp = await identity.new_corp()
    questions = identity.directory.questions

    [invitation] = await identity.invite(corp, "Boss")

    assert identity.directory.questions == questions
    session = await identity.accept(corp.corp_id, "boss", invitation.code, "a new password")
    assert (await identity.get_corp(bearer(session))).corp.owner_user_id == "boss"


async def test_members_who_administer_nothing_invite_nobody(identity: Identity) -> None:
    corp = await identity.new_corp()
    member = await identity.new_member(corp)

    error = await refusal(
        identity.stub.CreateInvitations(
            identity_service_pb2.CreateInvitationsRequest(
                request_id=str(uuid.uuid4()), user_ids=["li.wei"]
            ),
            metadata=bearer(member),
            timeout=TIMEOUT_S,
        )
    )

    assert (error.code, error.reason) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")


@pytest.mark.parametrize("target", ["Boss", "auditor"])
async def test_an_administrator_can_not_take_the_account_of_who_is_in_charge(
    identity: Identity, target: str
) -> None:
    corp = await identity.new_corp()
    administrator = await identity.new_administrator(corp, access_pb2.RIGHT_MANAGE_SIGN_IN)
    identity.directory.members |= {(corp.corp_id, "wang"), (corp.corp_id, "auditor")}
    await identity.grant(corp, "auditor", role=role_service_pb2.CORP_ROLE_AUDITOR)

    async def invite(*user_ids: str) -> object:
        return await identity.stub.CreateInvitations(
            identity_service_pb2.CreateInvitationsRequest(
                request_id=str(uuid.uuid4()), user_ids=user_ids
            ),
            metadata=administrator,
            timeout=TIMEOUT_S,
        )

    await invite("wang")
    error = await refusal(invite("wang", target))

    assert error.reason == "CALLER_NOT_ALLOWED"


async def test_an_administrator_without_the_right_invites_nobody(identity: Identity) -> None:
    corp = await identity.new_corp()
    administrator = await identity.new_administrator(corp, access_pb2.RIGHT_MANAGE_DIRECTORY)

    error = await refusal(
        identity.stub.CreateInvitations(
            identity_service_pb2.CreateInvitationsRequest(
                request_id=str(uuid.uuid4()), user_ids=["li.wei"]
            ),
            metadata=administrator,
            timeout=TIMEOUT_S,
        )
    )

    assert error.reason == "CALLER_NOT_ALLOWED"


async def test_members_of_another_corp_are_not_invited_by_naming_it(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    identity.directory.members.add((other.corp_id, "li.wei"))

    of_other = await refusal(identity.invite(corp, "li.wei", corp_id=other.corp_id))
    of_nobody = await refusal(identity.invite(corp, "li.wei", corp_id=UNKNOWN_CORP_ID))

    assert of_other.reason == of_nobody.reason == "CORP_NOT_FOUND"
    assert of_other.text == of_nobody.text


@pytest.mark.parametrize("user_ids", [[], ["a b"], ["x"] * 2, [f"u{i}" for i in range(1001)]])
async def test_a_wrong_list_of_members_is_refused(identity: Identity, user_ids: list[str]) -> None:
    corp = await identity.new_corp()

    error = await refusal(identity.invite(corp, *user_ids))

    assert error.reason == "INVALID_FIELD"


async def test_inviting_says_when_to_come_back_while_the_directory_is_away(
    empty_database: Database, tmp_path: Path
) -> None:
    nats = build_nats(tmp_path / "nats")
    with nats.running():
        await streams.declare(nats.url("admin"))
        settings = fast_settings(empty_database, nats)
        async with running_identity(settings, empty_database, nats, FakeDirectory()) as identity:
            corp = await identity.new_corp()
            error = await refusal(identity.invite(corp, "li.wei"))
            [owner] = await identity.invite(corp, "boss")

    assert (error.code, error.reason) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
    assert error.metadata == {"service": "directory"}
    assert error.retry_after_s is not None
    assert owner.user_id == "boss"
