"""A refresh locks account, session, corp in this order, and sees what it waited for."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from fakes.eventually import eventually
from integration.identity.world import Identity, NewCorp, bearer, refusal
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import identity_pb2

LOCKS = {
    "account": "SELECT FROM identity.accounts WHERE corp_id = $1 AND user_id = 'boss' FOR UPDATE",
    "session": "SELECT FROM identity.sessions WHERE corp_id = $1 FOR UPDATE",
    "corp": "SELECT FROM identity.corps WHERE corp_id = $1 FOR NO KEY UPDATE",
}

Act = Callable[[asyncpg.Connection, str], Awaitable[object]]


async def waits(identity: Identity) -> bool:
    rows = await identity.execute(
        "SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(rows)


async def refresh_behind(
    identity: Identity, session: identity_pb2.Session, corp_id: str, act: Act
) -> "asyncio.Task[identity_pb2.Session]":
    """Start a refresh that waits for a transaction; let it act and commit; return the refresh."""
    connection = await asyncpg.connect(identity.database.admin_dsn)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT FROM identity.accounts WHERE corp_id = $1 FOR UPDATE", corp_id
            )
            refreshing = asyncio.create_task(identity.refresh(session.refresh_token))
            await eventually(lambda: waits(identity))
            await act(connection, corp_id)
    finally:
        await connection.close()
    return refreshing


async def is_free(connection: asyncpg.Connection, lock: str, corp_id: str) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(f"{LOCKS[lock]} NOWAIT", corp_id)
    except asyncpg.LockNotAvailableError:
        return False
    return True


@pytest.mark.parametrize(
    ("held", "free"),
    [
        ("account", {"session", "corp"}),
        ("session", {"corp"}),
        ("corp", set[str]()),
    ],
)
async def test_a_refresh_that_waits_holds_what_comes_before_and_nothing_behind(
    identity: Identity, held: str, free: set[str]
) -> None:
    """In the order in which revocations lock: otherwise the two would wait for each other."""
    corp = await identity.new_corp()
    holder = await asyncpg.connect(identity.database.admin_dsn)
    other = await asyncpg.connect(identity.database.admin_dsn)
    try:
        async with holder.transaction():
            await holder.execute(LOCKS[held], corp.corp_id)
            refreshing = asyncio.create_task(identity.refresh(corp.owner_session.refresh_token))
            await eventually(lambda: waits(identity))
            found = {lock for lock in LOCKS if await is_free(other, lock, corp.corp_id)}
    finally:
        await other.close()
        await holder.close()

    assert found == free
    assert (await refreshing).access_token


async def test_a_refresh_behind_a_revoked_role_gives_a_token_without_it(
    identity: Identity,
) -> None:
    """The grants are read after the wait, not with what was there at its begin."""
    corp = await identity.new_corp()
    await identity.new_administrator(corp, access_pb2.RIGHT_MANAGE_SIGN_IN)
    session = await identity.sign_in(corp.corp_id, "li.wei")

    refreshing = await refresh_behind(
        identity,
        session,
        corp.corp_id,
        lambda connection, corp_id: connection.execute(
            "DELETE FROM identity.role_grants WHERE corp_id = $1", corp_id
        ),
    )

    refreshed = await refreshing
    as_member = NewCorp(corp.corp_id, bearer(refreshed), refreshed)
    assert (await refusal(identity.invite(as_member, "li.wei"))).reason == "CALLER_NOT_ALLOWED"


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE identity.sessions SET end_time = now() WHERE corp_id = $1",
        "UPDATE identity.corps SET suspend_time = now() WHERE corp_id = $1",
        "UPDATE identity.accounts SET state = 'disabled' WHERE corp_id = $1",
    ],
)
async def test_a_refresh_behind_the_end_of_its_session_is_refused(
    identity: Identity, end: str
) -> None:
    """Whichever of the three rows says that it is over, and although it began before."""
    corp = await identity.new_corp()

    refreshing = await refresh_behind(
        identity,
        corp.owner_session,
        corp.corp_id,
        lambda connection, corp_id: connection.execute(end, corp_id),
    )

    assert (await refusal(refreshing)).reason == "SESSION_ENDED"
