"""The directory's events, as identity takes them in: who may sign in, and who no longer."""

from collections.abc import Sequence

from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.events import EventHandler, ReceivedEvent
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection
from tieline.identity.corps import find_account_key
from tieline.identity.repositories import SCHEMA, accounts, corps
from tieline.identity.revocations import end_member_sessions


async def on_member_left(connection: Connection, received: ReceivedEvent) -> None:
    """Take away what the members could sign in by, and end their sessions."""
    event = received.decode(directory_pb2.MemberLeft)
    if await corps.find_corp(connection, event.corp_id) is not None:
        user_ids = await _set_states(connection, event.corp_id, event.user_ids, "left")
        await accounts.delete_credentials(connection, event.corp_id, user_ids)
        await _end_sessions(connection, event.corp_id, user_ids)


async def on_member_disabled(connection: Connection, received: ReceivedEvent) -> None:
    """Keep the members out until they are enabled, and end their sessions."""
    event = received.decode(directory_pb2.MemberDisabled)
    if await corps.find_corp(connection, event.corp_id) is not None:
        user_ids = await _set_states(connection, event.corp_id, event.user_ids, "disabled")
        await _end_sessions(connection, event.corp_id, user_ids)


async def on_member_enabled(connection: Connection, received: ReceivedEvent) -> None:
    """Let the members in again, by what they signed in by before."""
    event = received.decode(directory_pb2.MemberEnabled)
    if await corps.find_corp(connection, event.corp_id) is not None:
        await _set_states(connection, event.corp_id, event.user_ids, "active")


HANDLERS: dict[str, EventHandler] = {
    "tieline.directory.v1.member_left": on_member_left,
    "tieline.directory.v1.member_disabled": on_member_disabled,
    "tieline.directory.v1.member_enabled": on_member_enabled,
}


async def _set_states(
    connection: Connection, corp_id: str, user_ids: Sequence[str], state: str
) -> list[str]:
    """Put the accounts into the state; return their keys' user ids."""
    keys = [find_account_key(corp_id, user_id) for user_id in user_ids]
    folded = sorted({key[1] for key in keys if key is not None})
    await accounts.set_states(connection, corp_id, folded, state)
    return folded


async def _end_sessions(connection: Connection, corp_id: str, user_ids: Sequence[str]) -> None:
    for user_id in user_ids:
        events = await end_member_sessions(connection, corp_id, user_id)
        await insert_events(connection, SCHEMA, events)
