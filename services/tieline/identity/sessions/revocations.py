"""Access tokens taken back before their time: rows are locked, and an event tells every service.

Each function returns the events; the caller inserts them in the transaction of whatever was the
reason, and so a revocation is told if and only if its reason is committed. Services hear of it
within two seconds (``tieline.chassis.revocations``).
"""

import datetime as dt
import uuid
from collections.abc import Sequence

from tieline.api.common.v1 import principal_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.fields import to_timestamp
from tieline.chassis.outbox import Event, build_event
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import PrincipalKind
from tieline.chassis.streams import TOKENS_REVOKED
from tieline.identity.repositories import revocations, sessions

_KINDS = {
    PrincipalKind.PLATFORM_ADMINISTRATOR: principal_pb2.PRINCIPAL_KIND_PLATFORM_ADMINISTRATOR,
    PrincipalKind.MEMBER: principal_pb2.PRINCIPAL_KIND_MEMBER,
    PrincipalKind.CUSTOMER: principal_pb2.PRINCIPAL_KIND_CUSTOMER,
    PrincipalKind.APP: principal_pb2.PRINCIPAL_KIND_APP,
}


async def revoke_member_tokens(connection: Connection, corp_id: str, user_id: str) -> list[Event]:
    """Void the member's access tokens; the sessions stay, and refreshing them gives new ones.

    For a changed role or grant. The member's account is locked until the transaction ends.
    """
    await revocations.lock_member(connection, corp_id, user_id)
    return [await _revoke_principal(connection, corp_id, PrincipalKind.MEMBER, user_id)]


async def revoke_app_tokens(connection: Connection, corp_id: str, agent_id: int) -> list[Event]:
    """Void the app's access tokens. The caller has changed the app's row, which locks it."""
    return [await _revoke_principal(connection, corp_id, PrincipalKind.APP, str(agent_id))]


async def revoke_corp_tokens(connection: Connection, corp_id: str) -> list[Event]:
    """Void the access tokens of everybody in the corp, apps included; the sessions stay.

    The corp is locked until the transaction ends.
    """
    await revocations.lock_corp(connection, corp_id)
    message = identity_pb2.TokensRevoked(corp_id=corp_id)
    return [await _build(connection, message, f"tokens/{corp_id}")]


async def revoke_customers_tokens(
    connection: Connection, customer_ids: Sequence[str]
) -> list[Event]:
    """Void the access tokens of customers whose sessions are over.

    The caller holds the row that ended them, which whoever issues a token holds as well.
    """
    limit = to_timestamp(await revocations.read_time(connection))
    events = []
    for customer_id in customer_ids:
        message = _name_principal("", PrincipalKind.CUSTOMER, customer_id)
        message.ends_sessions = True
        message.issue_time_limit.CopyFrom(limit)
        key = f"tokens//{PrincipalKind.CUSTOMER}/{customer_id}"
        events.append(build_event(TOKENS_REVOKED, "", key, message))
    return events


async def end_member_sessions(connection: Connection, corp_id: str, user_id: str) -> list[Event]:
    """End every session of the member, and void their tokens at once."""
    _, events = await end_sessions(connection, corp_id, PrincipalKind.MEMBER, user_id)
    return events


async def end_sessions(
    connection: Connection,
    corp_id: str,
    kind: PrincipalKind,
    principal_id: str,
    *,
    keep: uuid.UUID | None = None,
) -> tuple[int, list[Event]]:
    """End the party's sessions but the one to keep; return how many, and the events.

    All of the party's access tokens are void; the session that is kept is refreshed.
    """
    if kind is PrincipalKind.MEMBER:
        await revocations.lock_member(connection, corp_id, principal_id)
    ended = await sessions.end_sessions_of(connection, corp_id, kind, principal_id, keep=keep)
    message = _name_principal(corp_id, kind, principal_id)
    message.ends_sessions = True
    message.kept_session_id = "" if keep is None else str(keep)
    return ended, [await _build(connection, message, f"tokens/{corp_id}/{kind}/{principal_id}")]


async def revoke_session_tokens(
    connection: Connection, corp_id: str, session_id: str
) -> list[Event]:
    """Void one session's access tokens. The caller has ended the session, which locks it.

    An app's tokens name the secret that they were given for in the session's place.
    """
    message = identity_pb2.TokensRevoked(corp_id=corp_id, session_id=session_id, ends_sessions=True)
    return [await _build(connection, message, f"tokens/{corp_id}/{session_id}")]


async def revoke_link_tokens(connection: Connection, corp_id: str, link_id: str) -> list[Event]:
    """Void the tokens by which apps of both sides act on the other one.

    The caller has changed the link, which locks it; the corp is either side.
    """
    message = identity_pb2.TokensRevoked(corp_id=corp_id, link_id=link_id)
    return [await _build(connection, message, f"tokens/{corp_id}/{link_id}")]


async def _revoke_principal(
    connection: Connection, corp_id: str, kind: PrincipalKind, principal_id: str
) -> Event:
    message = _name_principal(corp_id, kind, principal_id)
    return await _build(connection, message, f"tokens/{corp_id}/{kind}/{principal_id}")


def _name_principal(
    corp_id: str, kind: PrincipalKind, principal_id: str
) -> identity_pb2.TokensRevoked:
    return identity_pb2.TokensRevoked(
        corp_id=corp_id,
        principal=principal_pb2.PrincipalRef(kind=_KINDS[kind], id=principal_id),
    )


async def _build(connection: Connection, message: identity_pb2.TokensRevoked, key: str) -> Event:
    # Read under the locks: later than the issue of every token that was waited for.
    limit: dt.datetime = await revocations.read_time(connection)
    message.issue_time_limit.CopyFrom(to_timestamp(limit))
    return build_event(TOKENS_REVOKED, message.corp_id, key, message)
