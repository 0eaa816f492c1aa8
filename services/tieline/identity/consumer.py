"""Other services' events, as identity takes them in: the audit log, and who may sign in."""

from collections.abc import Sequence

from tieline.api.common.v1 import audit_pb2
from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.events import EventHandler, Poison, ReceivedEvent
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.streams import SERVICES
from tieline.identity.audit.log import read_entry
from tieline.identity.corps.rules import find_account_key
from tieline.identity.repositories import (
    SCHEMA,
    accounts,
    audit_entries,
    corps,
    one_time_codes,
    role_grants,
)
from tieline.identity.sessions.revocations import end_member_sessions


async def on_member_left(connection: Connection, received: ReceivedEvent) -> None:
    """Take away what the members could sign in by, and end their sessions."""
    event = received.decode(directory_pb2.MemberLeft)
    if await corps.find_corp(connection, event.corp_id) is not None:
        user_ids = _fold(event.corp_id, event.user_ids)
        await one_time_codes.delete_codes_of(connection, event.corp_id, user_ids)
        await accounts.set_states(connection, event.corp_id, user_ids, "left")
        await accounts.delete_credentials(connection, event.corp_id, user_ids)
        # Whoever gets the user id next must not get the rights with it.
        for user_id in user_ids:
            await role_grants.delete_member_grants(connection, event.corp_id, user_id)
        await _end_sessions(connection, event.corp_id, user_ids)


async def on_member_disabled(connection: Connection, received: ReceivedEvent) -> None:
    """Keep the members out until they are enabled, and end their sessions."""
    event = received.decode(directory_pb2.MemberDisabled)
    if await corps.find_corp(connection, event.corp_id) is not None:
        user_ids = _fold(event.corp_id, event.user_ids)
        await accounts.set_states(connection, event.corp_id, user_ids, "disabled")
        await _end_sessions(connection, event.corp_id, user_ids)


async def on_member_enabled(connection: Connection, received: ReceivedEvent) -> None:
    """Let the members in again, by what they signed in by before."""
    event = received.decode(directory_pb2.MemberEnabled)
    if await corps.find_corp(connection, event.corp_id) is not None:
        user_ids = _fold(event.corp_id, event.user_ids)
        await accounts.set_states(connection, event.corp_id, user_ids, "active")


def _storing(service: str) -> EventHandler:
    async def store_entry(connection: Connection, received: ReceivedEvent) -> None:
        """Put the entry into the log of its corp; a repeat changes nothing."""
        message = received.decode(audit_pb2.AuditEntry)
        entry = read_entry(service, received.corp_id, message)
        if entry is None:
            raise Poison("its id, corp or time is not that of an audit entry")
        await audit_entries.insert_entry(connection, entry)

    return store_entry


HANDLERS: dict[str, EventHandler] = {
    **{f"tieline.{service}.v1.audit_recorded": _storing(service) for service in SERVICES},
    "tieline.directory.v1.member_left": on_member_left,
    "tieline.directory.v1.member_disabled": on_member_disabled,
    "tieline.directory.v1.member_enabled": on_member_enabled,
}


def _fold(corp_id: str, user_ids: Sequence[str]) -> list[str]:
    """Return the user ids as the members' accounts have them."""
    keys = [find_account_key(corp_id, user_id) for user_id in user_ids]
    return sorted({key[1] for key in keys if key is not None})


async def _end_sessions(connection: Connection, corp_id: str, user_ids: Sequence[str]) -> None:
    for user_id in user_ids:
        events = await end_member_sessions(connection, corp_id, user_id)
        await insert_events(connection, SCHEMA, events)
