"""Sessions: listed with their devices, ended one by one, all at once, and by age."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Awaitable, Callable

import asyncpg
import grpc
import pytest

from fakes.eventually import eventually
from integration.identity.world import (
    TIMEOUT_S,
    Identity,
    Metadata,
    bearer,
    describe,
    refusal,
    running_identity,
)
from tieline.api.identity.v1 import identity_pb2, session_pb2, session_service_pb2
from tieline.chassis.errors import ServiceError
from tieline.chassis.health import Health
from tieline.chassis.outbox import Event
from tieline.chassis.postgres import create_pool, transaction
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.revocation_list import RevocationList
from tieline.chassis.revocations import read_revocation
from tieline.embedded.ports import find_free_port
from tieline.identity.sessions.revocations import revoke_corp_tokens, revoke_member_tokens


async def list_sessions(
    identity: Identity, caller: Metadata, **fields: object
) -> session_service_pb2.ListSessionsResponse:
    request = session_service_pb2.ListSessionsRequest(**fields)  # type: ignore[arg-type]
    return await identity.sessions.ListSessions(request, metadata=caller, timeout=TIMEOUT_S)


async def revoke(identity: Identity, caller: Metadata, session_id: str) -> None:
    await identity.sessions.RevokeSession(
        session_service_pb2.RevokeSessionRequest(session_id=session_id),
        metadata=caller,
        timeout=TIMEOUT_S,
    )


async def revoke_all(
    identity: Identity, caller: Metadata, *, user_id: str = "", keep_current: bool = False
) -> int:
    response = await identity.sessions.RevokeAllSessions(
        session_service_pb2.RevokeAllSessionsRequest(user_id=user_id, keep_current=keep_current),
        metadata=caller,
        timeout=TIMEOUT_S,
    )
    return response.ended_count


def is_refused(identity: Identity, session: identity_pb2.Session) -> Callable[[], Awaitable[bool]]:
    """Return a condition: the session's access token is not good any more."""

    async def condition() -> bool:
        try:
            await list_sessions(identity, bearer(session))
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    return condition


async def test_a_session_shows_what_was_signed_in_with(identity: Identity) -> None:
    corp = await identity.new_corp()
    device = session_pb2.Device(
        name="Zhou Jin's phone", platform=session_pb2.DEVICE_PLATFORM_HARMONYOS
    )
    session = await identity.sign_in(corp.corp_id, device=device)

    response = await list_sessions(identity, bearer(session))

    latest, first = response.sessions
    assert (latest.session_id, latest.device, latest.current) == (session.session_id, device, True)
    assert (first.session_id, first.current) == (corp.owner_session.session_id, False)
    assert not first.HasField("device")
    assert (first.address, latest.address) == ("127.0.0.1", "127.0.0.1")
    assert latest.create_time.seconds == pytest.approx(time.time(), abs=60)
    assert latest.expire_time == session.refresh_expire_time


async def test_a_device_that_can_not_be_shown_opens_no_session(identity: Identity) -> None:
    corp = await identity.new_corp()

    error = await refusal(
        identity.sign_in(corp.corp_id, device=session_pb2.Device(name="a\nb" + "x" * 65))
    )

    assert list(error.violations) == ["device.name"]
    assert len((await list_sessions(identity, corp.owner)).sessions) == 1


async def test_a_platform_that_this_server_does_not_know_is_another_one(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    device = session_pb2.Device.FromString(b"\x10\x63")

    session = await identity.sign_in(corp.corp_id, device=device)

    [latest, _] = (await list_sessions(identity, bearer(session))).sessions
    assert latest.device.platform == session_pb2.DEVICE_PLATFORM_OTHER


async def test_pages_hold_every_session_once(identity: Identity) -> None:
    corp = await identity.new_corp()
    for _ in range(4):
        await identity.sign_in(corp.corp_id)

    seen: list[str] = []
    token = ""
    while True:
        page = await list_sessions(identity, corp.owner, page_size=2, page_token=token)
        seen += [session.session_id for session in page.sessions]
        token = page.next_page_token
        if not token:
            break

    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)


async def test_a_revoked_session_is_over_at_once_and_its_token_within_two_seconds(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    lost = await identity.sign_in(corp.corp_id)
    await list_sessions(identity, bearer(lost))

    await revoke(identity, corp.owner, lost.session_id)
    await revoke(identity, corp.owner, lost.session_id)

    assert (await refusal(identity.refresh(lost.refresh_token))).reason == "SESSION_ENDED"
    await eventually(is_refused(identity, lost), timeout_s=2)
    [left] = (await list_sessions(identity, corp.owner)).sessions
    assert left.session_id == corp.owner_session.session_id


async def test_a_stolen_refresh_token_voids_the_access_tokens_too(identity: Identity) -> None:
    corp = await identity.new_corp()
    first = corp.owner_session.refresh_token
    second = await identity.refresh(first)
    third = await identity.refresh(second.refresh_token)

    await refusal(identity.refresh(first))
    await refusal(identity.refresh(first))

    await eventually(is_refused(identity, third), timeout_s=2)
    [entry] = await find_audit_entries(identity, corp.corp_id, "identity.session.end_for_reuse")
    assert (entry["resource"], entry["actor_id"]) == ("members/boss", "")


async def test_everywhere_else_is_signed_out_and_the_current_session_goes_on(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    others = [await identity.sign_in(corp.corp_id) for _ in range(2)]

    assert await revoke_all(identity, corp.owner, keep_current=True) == 2

    for other in others:
        assert (await refusal(identity.refresh(other.refresh_token))).reason == "SESSION_ENDED"
    await eventually(is_refused(identity, corp.owner_session), timeout_s=2)
    refreshed = await identity.refresh(corp.owner_session.refresh_token)
    assert len((await list_sessions(identity, bearer(refreshed))).sessions) == 1


async def test_an_administrator_signs_a_member_out_and_the_member_signs_in_again(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    session = await identity.new_member(corp)

    [shown] = (await list_sessions(identity, corp.owner, user_id="Li.Wei")).sessions
    ended = await revoke_all(identity, corp.owner, user_id="Li.Wei")

    assert (shown.session_id, shown.current, ended) == (session.session_id, False, 1)
    assert await revoke_all(identity, corp.owner, user_id="li.wei") == 0
    await eventually(is_refused(identity, session), timeout_s=2)
    again = await identity.sign_in(corp.corp_id, "li.wei")
    assert len((await list_sessions(identity, bearer(again))).sessions) == 1


async def test_a_session_of_somebody_else_is_as_unknown_as_none(identity: Identity) -> None:
    corp = await identity.new_corp()
    member = bearer(await identity.new_member(corp))
    made_up = str(uuid.uuid4())

    async def reveal(session_id: str) -> tuple[str, str, str, dict[str, str]]:
        error: ServiceError = await refusal(revoke(identity, member, session_id))
        code, reason, text, metadata = describe(error)
        return code, reason, text, dict.fromkeys(metadata, "")

    assert await reveal(corp.owner_session.session_id) == await reveal(made_up)
    assert (await reveal("no uuid"))[1] == "SESSION_NOT_FOUND"
    assert (await refusal(list_sessions(identity, member, user_id="boss"))).reason == (
        "CALLER_NOT_ALLOWED"
    )
    await identity.refresh(corp.owner_session.refresh_token)


async def test_signing_out_ends_the_session_and_says_nothing_of_other_texts(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    session = corp.owner_session

    for token in (session.refresh_token, session.refresh_token, "", "made.up", "x" * 9999):
        await identity.sessions.SignOut(
            session_service_pb2.SignOutRequest(refresh_token=token), timeout=TIMEOUT_S
        )

    assert (await refusal(identity.refresh(session.refresh_token))).reason == "SESSION_ENDED"
    await eventually(is_refused(identity, session), timeout_s=2)


async def test_a_customer_and_an_administrator_of_the_platform_see_their_own(
    identity: Identity,
) -> None:
    channel = await identity.new_channel()
    customer = (await identity.sign_in_customer(channel.assertion())).session
    platform = await identity.sign_in_platform()

    for session in (customer, platform):
        shown = (await list_sessions(identity, bearer(session))).sessions
        assert [each.session_id for each in shown if each.current] == [session.session_id]
        assert (await refusal(list_sessions(identity, bearer(session), corp_id="ww1"))).reason == (
            "CORP_NOT_FOUND"
        )
    assert (
        await refusal(revoke(identity, bearer(platform), customer.session_id))
    ).reason == "SESSION_NOT_FOUND"


async def test_a_session_ends_at_its_greatest_age_however_much_it_is_used(
    identity: Identity,
) -> None:
    settings = identity.settings.model_copy(
        update={"session_max_age_s": 3600, "grpc_port": find_free_port()}
    )
    corp = await identity.new_corp()
    await identity.execute(
        "UPDATE identity.sessions SET create_time = now() - interval '59 min' WHERE corp_id = $1",
        corp.corp_id,
    )
    async with running_identity(
        settings, identity.database, identity.nats, identity.directory
    ) as strict:
        refreshed = await strict.refresh(corp.owner_session.refresh_token)
        assert refreshed.refresh_expire_time.seconds == pytest.approx(time.time() + 60, abs=20)
        await identity.execute(
            "UPDATE identity.sessions SET create_time = now() - interval '1 h' WHERE corp_id = $1",
            corp.corp_id,
        )
        error = await refusal(strict.refresh(refreshed.refresh_token))

    assert error.reason == "SESSION_ENDED"


async def test_ended_sessions_stand_in_the_audit_log(identity: Identity) -> None:
    corp = await identity.new_corp()
    await revoke_all(identity, corp.owner)

    [entry] = await find_audit_entries(identity, corp.corp_id, "identity.session.revoke_all")

    assert (entry["resource"], entry["actor_id"]) == ("members/boss", "boss")
    assert entry["address"] == "127.0.0.1"


async def find_audit_entries(identity: Identity, corp_id: str, action: str) -> list[asyncpg.Record]:
    """Return the entries of the corp's log, once there are some."""
    found: list[asyncpg.Record] = []

    async def are_there() -> bool:
        found[:] = await identity.execute(
            "SELECT resource, actor_id, address FROM identity.audit_entries"
            " WHERE corp_id = $1 AND action = $2",
            corp_id,
            action,
        )
        return bool(found)

    await eventually(are_there)
    return found


@pytest.mark.parametrize("revoke", [revoke_member_tokens, revoke_corp_tokens])
async def test_a_refresh_beside_a_revocation_gives_a_token_that_is_good_after_it(
    identity: Identity, revoke: Callable[..., Awaitable[list[Event]]]
) -> None:
    corp = await identity.new_corp()
    arguments = [corp.corp_id, "boss"][: 2 if revoke is revoke_member_tokens else 1]
    dsn = identity.database.dsn("identity")
    async with create_pool(dsn, service="identity", max_size=2, health=Health()) as pool:
        async with transaction(pool) as connection:
            [event] = await revoke(connection, *arguments)
            refreshing = asyncio.create_task(identity.refresh(corp.owner_session.refresh_token))
            await eventually(lambda: _somebody_waits(identity))
            assert not refreshing.done()
        refreshed = await refreshing

    revocation = read_revocation(event.payload)
    assert revocation is not None
    revocations = RevocationList()
    revocations.add(revocation)
    assert revocations.is_revoked(_principal(corp.owner_session))
    assert not revocations.is_revoked(_principal(refreshed))


async def _somebody_waits(identity: Identity) -> bool:
    rows = await identity.execute(
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(rows)


def _principal(session: identity_pb2.Session) -> Principal:
    """Return who the session's token names."""
    payload = session.access_token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return Principal(
        PrincipalKind.MEMBER,
        claims["sub"],
        claims["corp"],
        claims["sid"],
        issue_time=claims["iat"],
    )
