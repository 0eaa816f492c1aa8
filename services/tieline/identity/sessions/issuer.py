"""Opens and refreshes sessions: a row, an access token and a refresh token together."""

import uuid
from dataclasses import replace

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.calls import find_address
from tieline.chassis.fields import to_timestamp
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.corps.life import check_may_sign_in, lets_session_go_on
from tieline.identity.corps.rules import MEMBER_ROLE
from tieline.identity.repositories import (
    SCHEMA,
    channels,
    corps,
    customers,
    platform_administrators,
    refreshing,
    revocations,
    role_grants,
    sessions,
)
from tieline.identity.repositories.accounts import Account
from tieline.identity.repositories.refreshing import LockedSession
from tieline.identity.repositories.sessions import Issued, Session, SessionLimits
from tieline.identity.roles.rules import with_grants
from tieline.identity.sessions.access_tokens import AccessTokenSigner
from tieline.identity.sessions.audit import build_session_audit
from tieline.identity.sessions.devices import Device
from tieline.identity.sessions.owners import SessionOwner
from tieline.identity.sessions.refresh_tokens import (
    Refresh,
    RefreshToken,
    RefreshTokens,
    decide_refresh,
    new_seed,
)
from tieline.identity.sessions.revocations import revoke_session_tokens


class SessionIssuer:
    """Makes sessions of principals."""

    def __init__(
        self,
        signer: AccessTokenSigner,
        refresh_tokens: RefreshTokens,
        limits: SessionLimits,
    ) -> None:
        self._signer = signer
        self._refresh_tokens = refresh_tokens
        self._limits = limits

    async def open(
        self, connection: Connection, principal: Principal, device: Device
    ) -> identity_pb2.Session:
        """Open a session for a principal that has none yet, in the caller's transaction.

        The caller has locked a member's account and then read what was granted to it, so that
        nothing is revoked between then and the time of the token's issue. Raises
        PermissionDeniedError CORP_NOT_ACTIVE for one whose corp is suspended or being deleted; it
        stays as it is until the transaction ends.
        """
        principal = replace(principal, session_id=new_uuid7())
        if principal.kind is PrincipalKind.MEMBER:
            corp = await corps.share_corp(connection, principal.corp_id)
            assert corp is not None, "members with accounts have a corp"
            check_may_sign_in(corp)
        token = RefreshToken.first(principal.corp_id, principal.session_id, new_seed())
        issued = await sessions.insert_session(
            connection, principal, token.seed_hash, self._limits, device, find_address()
        )
        return self._build(principal, token, issued)

    async def refresh(
        self, connection: Connection, refresh_token: str
    ) -> identity_pb2.Session | None:
        """Exchange a refresh token for a new pair; None where its session is over, or is now.

        The caller commits either way: that a reused token ended its session must be kept.
        """
        token = self._refresh_tokens.decode(refresh_token)
        if token is None:
            return None
        locked = await refreshing.lock_session(
            connection, token.corp_id, token.session_id, self._limits
        )
        if locked is None or not _may_go_on(locked):
            return None
        session = locked.session
        decision = decide_refresh(token, session.refresh)
        if decision is Refresh.END:
            owner = SessionOwner(token.corp_id, session.principal_kind, session.principal_id)
            await end_session(connection, owner, token.session_id, "end_for_reuse")
        if decision in (Refresh.END, Refresh.REJECT):
            return None
        principal = await _find_principal(connection, token, locked)
        if principal is None:
            return None
        if decision is Refresh.ROTATE:
            issued, grants = await refreshing.advance_session(
                connection, token.corp_id, token.session_id, self._limits, find_address()
            )
        else:
            grants = await role_grants.list_member_grants(connection, token.corp_id, principal.id)
            now = await revocations.read_time(connection)
            issued = Issued(session.refresh.expire_time, now)
        return self._build(with_grants(principal, grants), token.next(), issued)

    async def sign_out(self, connection: Connection, refresh_token: str) -> None:
        """End the session of a refresh token, whichever of its generations this is."""
        token = self._refresh_tokens.decode(refresh_token)
        if token is None:
            return
        owner = await sessions.find_owner(connection, token.corp_id, token.session_id)
        if owner is not None:
            party = SessionOwner(token.corp_id, *owner)
            await end_session(connection, party, token.session_id, "sign_out")

    def _build(
        self, principal: Principal, token: RefreshToken, issued: Issued
    ) -> identity_pb2.Session:
        access_token = self._signer.sign(principal, issued.now)
        return identity_pb2.Session(
            session_id=principal.session_id,
            access_token=access_token.text,
            access_expire_time=to_timestamp(access_token.expire_time),
            refresh_token=self._refresh_tokens.encode(token),
            refresh_expire_time=to_timestamp(issued.expire_time),
        )


async def end_session(
    connection: Connection, owner: SessionOwner, session_id: uuid.UUID, verb: str
) -> None:
    """End the session, void its access tokens and record why; nothing of it if it was over."""
    if await sessions.end_session(connection, owner.corp_id, session_id):
        events = await revoke_session_tokens(connection, owner.corp_id, str(session_id))
        details = {"sessionId": str(session_id)}
        events.append(await build_session_audit(connection, verb, owner, details))
        await insert_events(connection, SCHEMA, events)


def build_member(corp_id: str, user_id: str, account: Account) -> Principal:
    """Return the member as a principal; the session is still to be opened."""
    return Principal(
        kind=PrincipalKind.MEMBER,
        id=user_id,
        corp_id=corp_id,
        session_id="",
        roles=frozenset() if account.role == MEMBER_ROLE else frozenset({account.role}),
        display_name=account.display_name,
    )


async def with_stored_grants(connection: Connection, member: Principal) -> Principal:
    """Return the member with what was granted to it."""
    grants = await role_grants.list_member_grants(connection, member.corp_id, member.id)
    return with_grants(member, grants)


def build_customer(customer_id: str, display_name: str) -> Principal:
    """Return the customer as a principal; the session is still to be opened."""
    return Principal(
        kind=PrincipalKind.CUSTOMER,
        id=customer_id,
        corp_id="",
        session_id="",
        display_name=display_name,
    )


def build_platform_administrator(name: str) -> Principal:
    """Return the platform administrator as a principal; the session is still to be opened."""
    return Principal(
        kind=PrincipalKind.PLATFORM_ADMINISTRATOR,
        id=name,
        corp_id="",
        session_id="",
        display_name=name,
    )


def _may_go_on(locked: LockedSession) -> bool:
    """Tell whether the session's corp, if it has one, lets it be refreshed."""
    if locked.session.principal_kind is not PrincipalKind.MEMBER:
        return True
    return locked.corp is not None and lets_session_go_on(locked.corp, locked.session.create_time)


async def _find_customer(
    connection: Connection, customer_id: str, session: Session
) -> Principal | None:
    found = await customers.find_customer(connection, customer_id)
    if found is None:
        return None
    display_name, channel_id = found
    if channel_id is not None:
        channel = await channels.share_channel(connection, channel_id)
        if channel is None or not channel.lets_session_go_on(session.create_time):
            return None
    return build_customer(customer_id, display_name)


async def _find_principal(
    connection: Connection, token: RefreshToken, locked: LockedSession
) -> Principal | None:
    """Return whose session it is, with the name of today and without grants; None if gone."""
    principal = await _find_party(connection, token.corp_id, locked)
    return None if principal is None else replace(principal, session_id=str(token.session_id))


async def _find_party(
    connection: Connection, corp_id: str, locked: LockedSession
) -> Principal | None:
    session, account = locked.session, locked.account
    name = session.principal_id
    match session.principal_kind:
        case PrincipalKind.MEMBER:
            if account is None or not account.is_active:
                return None
            return build_member(corp_id, name, account)
        case PrincipalKind.CUSTOMER:
            return await _find_customer(connection, name, session)
        case PrincipalKind.PLATFORM_ADMINISTRATOR:
            known = await platform_administrators.find_password_hash(connection, name)
            return None if known is None else build_platform_administrator(name)
        case PrincipalKind.APP | PrincipalKind.LINKED_APP:
            # Apps have no sessions to refresh: each gets tokens by its secret.
            return None
