"""Everything that ends in a session: by invitation, password, assertion or refresh token.

Passwords are hashed and verified while no connection is held: the database serves others meanwhile.
"""

import datetime as dt

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.authentication import build_public_key
from tieline.chassis.errors import UnauthenticatedError
from tieline.chassis.fields import raise_violations
from tieline.chassis.ids import new_customer_id
from tieline.chassis.outbox import Event, build_event, insert_events
from tieline.chassis.postgres import Pool, transaction
from tieline.identity.assertions import Assertion, read_assertion, read_channel_id
from tieline.identity.corps import find_account_key
from tieline.identity.credentials import credentials_rejected_error
from tieline.identity.devices import UNKNOWN_DEVICE, Device
from tieline.identity.invitations import opens
from tieline.identity.passwords import PasswordPool, check_given_password, check_new_password
from tieline.identity.repositories import SCHEMA, accounts, customers, invitations
from tieline.identity.revocations import end_member_sessions
from tieline.identity.session_issuer import (
    SessionIssuer,
    build_customer,
    build_member,
    build_platform_administrator,
)

# No administrator has a longer name; the database is not asked about it.
_MAX_ADMINISTRATOR_NAME_LENGTH = 64


class SignIn:
    """The ways in."""

    def __init__(self, pool: Pool, passwords: PasswordPool, issuer: SessionIssuer) -> None:
        self._pool = pool
        self._passwords = passwords
        self._issuer = issuer

    async def accept_invitation(
        self,
        corp_id: str,
        user_id: str,
        code: str,
        password: str,
        device: Device = UNKNOWN_DEVICE,
    ) -> identity_pb2.Session:
        """Use the code up, set the password, end older sessions and open one.

        A repeat, because the answer was lost, finds the code used and its own password set: it is
        signed in by that password, as everybody who has it would be.
        """
        violations: dict[str, str] = {}
        check_new_password(password, "password", violations)
        raise_violations(violations)
        key = find_account_key(corp_id, user_id)
        if key is None:
            raise credentials_rejected_error()
        # Before the password is hashed: whoever has no code gets no expensive work done.
        async with self._pool.acquire() as connection:
            invitation, now = await invitations.find_invitation(connection, *key)
        if invitation is None or not opens(invitation, code, now):
            raise credentials_rejected_error()
        if invitation.use_time is None:
            password_hash = await self._passwords.hash(password)
            async with transaction(self._pool) as connection:
                if await invitations.claim_invitation(connection, *key, invitation.code_hash):
                    account = await accounts.set_password(connection, *key, password_hash)
                    events = await end_member_sessions(connection, *key)
                    events.append(_build_activated_event(*key))
                    await insert_events(connection, SCHEMA, events)
                    return await self._issuer.open(connection, build_member(*key, account), device)
        return await self.sign_in_member(corp_id, user_id, password, device)

    async def sign_in_member(
        self, corp_id: str, user_id: str, password: str, device: Device = UNKNOWN_DEVICE
    ) -> identity_pb2.Session:
        """Open a session for the member whose password this is."""
        _check_given(password)
        key = find_account_key(corp_id, user_id)
        account = None
        if key is not None:
            async with self._pool.acquire() as connection:
                account = await accounts.find_account(connection, *key)
        verified_hash = None if account is None else account.password_hash
        if not await self._passwords.verify(verified_hash, password) or key is None:
            raise credentials_rejected_error()
        async with transaction(self._pool) as connection:
            # A new password ends all sessions; none may be opened by the old one after that.
            account = await accounts.lock_account(connection, *key)
            if account is None or account.password_hash != verified_hash:
                raise credentials_rejected_error()
            return await self._issuer.open(connection, build_member(*key, account), device)

    async def sign_in_platform_administrator(
        self, name: str, password: str, device: Device = UNKNOWN_DEVICE
    ) -> identity_pb2.Session:
        """Open a session for the platform administrator whose password this is."""
        _check_given(password)
        password_hash = None
        if len(name) <= _MAX_ADMINISTRATOR_NAME_LENGTH and name.isprintable():
            async with self._pool.acquire() as connection:
                password_hash = await accounts.find_platform_password_hash(connection, name)
        if not await self._passwords.verify(password_hash, password):
            raise credentials_rejected_error()
        async with transaction(self._pool) as connection:
            return await self._issuer.open(connection, build_platform_administrator(name), device)

    async def sign_in_customer(
        self, text: str, device: Device = UNKNOWN_DEVICE
    ) -> tuple[identity_pb2.Session, str]:
        """Open a session for whom the assertion vouches; return it with the customer's id."""
        assertion = await self._read_assertion(text)
        async with transaction(self._pool) as connection:
            is_unused = await customers.claim_assertion(
                connection, assertion.channel_id, assertion.jti, assertion.expire_time
            )
            if not is_unused:
                raise credentials_rejected_error()
            customer_id = await customers.upsert_customer(
                connection,
                new_customer_id(),
                assertion.channel_id,
                assertion.subject,
                assertion.display_name,
            )
            principal = build_customer(customer_id, assertion.display_name)
            return await self._issuer.open(connection, principal, device), customer_id

    async def refresh(self, refresh_token: str) -> identity_pb2.Session:
        """Exchange the refresh token for a new pair."""
        async with transaction(self._pool) as connection:
            session = await self._issuer.refresh(connection, refresh_token)
        # Raised after the commit: a stolen token's session stays ended.
        if session is None:
            raise UnauthenticatedError("SESSION_ENDED", "the session is over; sign in again")
        return session

    async def _read_assertion(self, text: str) -> Assertion:
        channel_id = read_channel_id(text)
        async with self._pool.acquire() as connection:
            public_key = await customers.find_channel_key(connection, channel_id)
        if public_key is None:
            raise credentials_rejected_error()
        now = dt.datetime.now(dt.UTC)
        return read_assertion(text, channel_id, build_public_key(public_key), now)


def _check_given(password: str) -> None:
    violations: dict[str, str] = {}
    check_given_password(password, "password", violations)
    raise_violations(violations)


def _build_activated_event(corp_id: str, user_id: str) -> Event:
    # A key of its own: the account's row is locked, the corp's is not.
    return build_event(
        "tieline.identity.v1.member_activated",
        corp_id,
        f"members/{corp_id}/{user_id}",
        identity_pb2.MemberActivated(corp_id=corp_id, user_id=user_id),
    )
