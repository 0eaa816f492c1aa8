"""SignInMember, SignInPlatformAdministrator and RefreshSession."""

import asyncio
import logging
import uuid

import asyncpg
import pytest

from fakes.eventually import eventually
from integration.identity.world import (
    PASSWORD,
    PLATFORM_PASSWORD,
    TIMEOUT_S,
    Identity,
    bearer,
    describe,
    refusal,
)
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2

UNKNOWN_CORP_ID = "ww" + "0" * 24


async def sign_in_platform(
    identity: Identity, name: str = "platform", password: str = PLATFORM_PASSWORD
) -> identity_pb2.Session:
    response = await identity.stub.SignInPlatformAdministrator(
        identity_service_pb2.SignInPlatformAdministratorRequest(name=name, password=password),
        timeout=TIMEOUT_S,
    )
    return response.session


async def age(identity: Identity, session: identity_pb2.Session, seconds: int) -> None:
    """Let the session's latest refresh be some seconds ago."""
    await identity.execute(
        "UPDATE identity.sessions SET refresh_time = refresh_time - make_interval(secs => $2)"
        " WHERE session_id = $1",
        uuid.UUID(session.session_id),
        seconds,
    )


async def test_a_member_signs_in_by_password_whatever_the_case_of_the_name(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)

    session = await identity.sign_in(corp.corp_id, "LI.Wei")

    assert (await identity.get_corp(bearer(session))).corp.corp_id == corp.corp_id
    assert session.session_id != corp.owner_session.session_id


async def test_unknown_corps_members_and_passwords_get_one_answer(identity: Identity) -> None:
    corp = await identity.new_corp()
    uninvited = await identity.create_corp()

    errors = [
        await refusal(identity.sign_in(corp.corp_id, "boss", "wrong password")),
        await refusal(identity.sign_in(corp.corp_id, "boss", "")),
        await refusal(identity.sign_in(corp.corp_id, "nobody", PASSWORD)),
        await refusal(identity.sign_in(UNKNOWN_CORP_ID, "boss", PASSWORD)),
        await refusal(identity.sign_in("\x00", "\x00", PASSWORD)),
        await refusal(identity.sign_in(uninvited.corp.corp_id, "boss", PASSWORD)),
        await refusal(sign_in_platform(identity, password="wrong password")),
        await refusal(sign_in_platform(identity, name="nobody")),
        await refusal(sign_in_platform(identity, name="\x00")),
    ]

    assert errors[0].code == "UNAUTHENTICATED"
    assert len({str(describe(error)) for error in errors}) == 1
    assert errors[0].reason == "CREDENTIALS_REJECTED"


async def test_a_password_that_is_too_long_is_refused_as_a_field(identity: Identity) -> None:
    errors = [
        await refusal(identity.sign_in(UNKNOWN_CORP_ID, "boss", "x" * 129)),
        await refusal(sign_in_platform(identity, password="x" * 129)),
    ]

    assert [list(error.violations) for error in errors] == [["password"]] * 2


async def test_no_session_is_opened_by_a_password_that_is_changed_meanwhile(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    connection = await asyncpg.connect(identity.database.admin_dsn)
    change = connection.transaction()
    await change.start()
    await connection.execute(
        "UPDATE identity.accounts SET password_hash = 'new' WHERE corp_id = $1", corp.corp_id
    )
    signing_in = asyncio.ensure_future(refusal(identity.sign_in(corp.corp_id)))

    async def it_waits_for_the_change() -> bool:
        rows = await identity.execute(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE usename = 'tieline_identity' AND wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
        return bool(rows)

    await eventually(it_waits_for_the_change)
    await change.commit()
    await connection.close()

    assert (await signing_in).reason == "CREDENTIALS_REJECTED"


async def test_sixty_members_sign_in_at_the_same_time(identity: Identity) -> None:
    corp = await identity.new_corp()

    sessions = await asyncio.gather(*(identity.sign_in(corp.corp_id) for _ in range(60)))

    assert len({session.session_id for session in sessions}) == 60


async def test_a_refreshed_session_is_the_same_with_new_tokens(identity: Identity) -> None:
    corp = await identity.new_corp()
    first = corp.owner_session

    second = await identity.refresh(first.refresh_token)
    third = await identity.refresh(second.refresh_token)

    assert first.session_id == second.session_id == third.session_id
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert (await identity.get_corp(bearer(third))).corp.corp_id == corp.corp_id


async def test_a_refreshed_token_has_the_roles_of_now(identity: Identity) -> None:
    corp = await identity.new_corp()
    member = await identity.new_member(corp)
    identity.directory.members.add((corp.corp_id, "wang"))
    await identity.grant(corp, rights=[access_pb2.RIGHT_MANAGE_SIGN_IN])

    refreshed = await identity.refresh(member.refresh_token)

    response = await identity.stub.CreateInvitations(
        identity_service_pb2.CreateInvitationsRequest(
            request_id=str(uuid.uuid4()), user_ids=["wang"]
        ),
        metadata=bearer(refreshed),
        timeout=TIMEOUT_S,
    )
    assert len(response.invitations) == 1


async def test_concurrent_refreshes_agree_on_the_next_token(identity: Identity) -> None:
    corp = await identity.new_corp()
    token = corp.owner_session.refresh_token

    sessions = await asyncio.gather(*(identity.refresh(token) for _ in range(12)))

    [next_token] = {session.refresh_token for session in sessions}
    await identity.refresh(next_token)


async def test_the_latest_token_is_answered_anew_only_for_a_while(identity: Identity) -> None:
    corp = await identity.new_corp()
    first = corp.owner_session
    second = await identity.refresh(first.refresh_token)
    await age(identity, first, 25)

    again = await identity.refresh(first.refresh_token)
    await age(identity, first, 10)
    error = await refusal(identity.refresh(first.refresh_token))

    assert again.refresh_token == second.refresh_token
    assert again.refresh_expire_time == second.refresh_expire_time
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "SESSION_ENDED")


async def test_using_an_older_token_ends_the_session_for_its_thief_and_its_owner(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    first = corp.owner_session
    second = await identity.refresh(first.refresh_token)
    third = await identity.refresh(second.refresh_token)

    stolen = await refusal(identity.refresh(first.refresh_token))
    owners = await refusal(identity.refresh(third.refresh_token))

    assert describe(stolen) == describe(owners)
    assert stolen.reason == "SESSION_ENDED"
    # Other sessions of the same person go on.
    await identity.refresh((await identity.sign_in(corp.corp_id)).refresh_token)


async def test_a_made_up_token_ends_nobodys_session(identity: Identity) -> None:
    corp = await identity.new_corp()
    token = corp.owner_session.refresh_token
    corp_id, session_id, _, seed, mac = token.split(".")

    for made_up in ("", "\x00", f"{corp_id}.{session_id}.-1.{seed}.{mac}", token[:-3], "x" * 9999):
        error = await refusal(identity.refresh(made_up))
        assert error.reason == "SESSION_ENDED"

    await identity.refresh(token)


async def test_an_expired_refresh_token_is_refused(identity: Identity) -> None:
    corp = await identity.new_corp()
    await identity.execute(
        "UPDATE identity.sessions SET expire_time = now() WHERE corp_id = $1", corp.corp_id
    )

    error = await refusal(identity.refresh(corp.owner_session.refresh_token))

    assert error.reason == "SESSION_ENDED"


async def test_a_platform_administrators_session_is_refreshed(identity: Identity) -> None:
    session = await sign_in_platform(identity)

    refreshed = await identity.refresh(session.refresh_token)

    corp = await identity.create_corp()
    assert (await identity.get_corp(bearer(refreshed), corp.corp.corp_id)).corp == corp.corp


async def test_no_table_holds_a_password_a_refresh_token_or_its_seed(identity: Identity) -> None:
    corp = await identity.new_corp()
    secrets = [
        PASSWORD,
        corp.owner_session.refresh_token,
        *corp.owner_session.refresh_token.split(".")[3:],
    ]

    rows = await identity.execute(
        "SELECT a::text AS text FROM identity.accounts a WHERE corp_id = $1"
        " UNION ALL SELECT s::text FROM identity.sessions s WHERE corp_id = $1",
        corp.corp_id,
    )

    assert len(rows) == 2
    assert not [secret for secret in secrets for row in rows if secret in row["text"]]


async def test_no_log_line_holds_a_secret(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    created = await identity.create_corp()
    corp_id, code = created.corp.corp_id, created.owner_invitation.code

    session = await identity.accept(corp_id, "boss", code)
    await refusal(identity.sign_in(corp_id, "boss", "a wrong password"))
    await identity.sign_in(corp_id)
    await identity.refresh(session.refresh_token)

    logged = "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    secrets = [code, PASSWORD, "a wrong password", session.access_token, session.refresh_token]
    assert not [secret for secret in secrets if secret in logged]
