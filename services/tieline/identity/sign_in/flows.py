"""Sign-in by invitation, password, assertion or refresh token.

Passwords are hashed and verified while no connection is held: the database serves others meanwhile.
"""

import datetime as dt
from contextlib import suppress
from typing import NoReturn

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.authentication import build_public_key
from tieline.chassis.errors import UnauthenticatedError
from tieline.chassis.fields import raise_violations
from tieline.chassis.ids import new_customer_id
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Pool, transaction
from tieline.identity.activation import build_activated_event
from tieline.identity.audit.refusals import Refusals
from tieline.identity.corps.rules import find_account_key
from tieline.identity.passwords.hashing import (
    PasswordPool,
    check_given_password,
    check_new_password,
)
from tieline.identity.repositories import (
    SCHEMA,
    accounts,
    channels,
    customers,
    invitations,
    platform_administrators,
)
from tieline.identity.roles.invitations import Invitation, opens
from tieline.identity.roles.inviting import is_still_invited
from tieline.identity.sessions.devices import Device
from tieline.identity.sessions.issuer import SessionIssuer, build_customer
from tieline.identity.sessions.revocations import end_member_sessions
from tieline.identity.sign_in.assertions import Assertion, read_assertion, read_channel_id
from tieline.identity.sign_in.attempts import (
    Attempt,
    Attempts,
    begin_attempt,
    record_failure,
    record_success,
)
from tieline.identity.sign_in.credentials import credentials_rejected_error
from tieline.identity.sign_in.entrance import Entered, Entrance
from tieline.identity.sign_in.policies import BY_INVITATION, BY_PASSWORD

# No administrator has a longer name; the database is not asked about it.
_MAX_ADMINISTRATOR_NAME_LENGTH = 64

# Another sign-in may replace the hash of the same password, once, by one with newer parameters.
_VERIFICATIONS = 2


class _InvitationOverError(Exception):
    """It was used, replaced or taken away while the password was hashed."""


class SignIn:
    """The ways in."""

    def __init__(
        self,
        pool: Pool,
        passwords: PasswordPool,
        issuer: SessionIssuer,
        entrance: Entrance,
        attempts: Attempts,
        refusals: Refusals,
    ) -> None:
        self._pool = pool
        self._passwords = passwords
        self._issuer = issuer
        self._entrance = entrance
        self._attempts = attempts
        self._refusals = refusals

    async def accept_invitation(
        self,
        corp_id: str,
        user_id: str,
        code: str,
        password: str,
        device: Device,
    ) -> Entered:
        """Use the code up, set the password, end older sessions and let the member in.

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
            with suppress(_InvitationOverError):
                return await self._use_invitation(key, invitation, password_hash, device)
        return await self.sign_in_member(corp_id, user_id, password, device)

    async def _use_invitation(
        self, key: tuple[str, str], invitation: Invitation, password_hash: str, device: Device
    ) -> Entered:
        """Let the member in by it, or change nothing and raise _InvitationOverError."""
        async with transaction(self._pool) as connection:
            # The account before the invitation, as a leave and a recovered ownership lock them.
            account = await accounts.set_password(connection, *key, password_hash, may_rejoin=True)
            if not await invitations.claim_invitation(connection, *key, invitation.code_hash):
                raise _InvitationOverError
            if not await is_still_invited(connection, key, account, invitation.inviter):
                raise credentials_rejected_error()
            events = await end_member_sessions(connection, *key)
            await insert_events(connection, SCHEMA, [*events, build_activated_event(*key)])
            return await self._entrance.admit(connection, key, account, BY_INVITATION, device)

    async def sign_in_member(
        self, corp_id: str, user_id: str, password: str, device: Device
    ) -> Entered:
        """Let the member in whose password this is."""
        _check_given(password)
        key = find_account_key(corp_id, user_id)
        attempt = self._attempts.at_account("member", corp_id, user_id, is_possible=key is not None)
        await begin_attempt(self._pool, attempt)
        for _ in range(_VERIFICATIONS):
            entered = await self._try_password(key, password, attempt, device)
            if entered is not None:
                return entered
        raise credentials_rejected_error()

    async def _try_password(
        self, key: tuple[str, str] | None, password: str, attempt: Attempt, device: Device
    ) -> Entered | None:
        """Let the member in; None where the hash was replaced while it was compared."""
        account = stand_in = None
        if key is not None:
            async with self._pool.acquire() as connection:
                account, stand_in = await accounts.find_password(connection, *key)
        verified_hash = None if account is None else account.password_hash
        is_right = await self._passwords.verify(verified_hash, password, stand_in=stand_in)
        if not is_right or key is None:
            await self._refuse(key, attempt)
        assert key is not None, "who has no account is refused"
        new_hash = await self._passwords.rehash(verified_hash, password)
        async with transaction(self._pool, spares_reset=True) as connection:
            await record_success(connection, attempt)
            # A new password ends all sessions; none may be opened by the old one after that.
            account = await accounts.lock_account(connection, *key)
            if account is None or account.password_hash != verified_hash:
                return None
            entered = await self._entrance.admit(connection, key, account, BY_PASSWORD, device)
        if new_hash is not None and verified_hash is not None:
            async with transaction(self._pool) as connection:
                await accounts.replace_password_hash(connection, *key, verified_hash, new_hash)
        return entered

    async def sign_in_platform_administrator(
        self, name: str, password: str, device: Device
    ) -> Entered:
        """Let the platform administrator in whose password this is."""
        _check_given(password)
        is_possible = len(name) <= _MAX_ADMINISTRATOR_NAME_LENGTH and name.isprintable()
        attempt = self._attempts.at_account("platform", "", name, is_possible=is_possible)
        await begin_attempt(self._pool, attempt)
        password_hash = stand_in = None
        if is_possible:
            async with self._pool.acquire() as connection:
                password_hash = await platform_administrators.find_password_hash(connection, name)
                stand_in = await platform_administrators.find_stand_in_hash(connection, name)
        if not await self._passwords.verify(password_hash, password, stand_in=stand_in):
            await self._refuse((PLATFORM_LOG, name) if is_possible else None, attempt)
        assert password_hash is not None, "who has no account is refused"
        async with transaction(self._pool) as connection:
            # A new password ends all sessions; none may be opened by the old one after that.
            if await platform_administrators.share_password_hash(connection, name) != password_hash:
                raise credentials_rejected_error()
            await record_success(connection, attempt)
            return await self._entrance.admit_platform_administrator(
                connection, name, password_hash, device
            )

    async def _refuse(self, key: tuple[str, str] | None, attempt: Attempt) -> NoReturn:
        async with transaction(self._pool) as connection:
            await record_failure(connection, attempt)
        if key is not None:
            self._refusals.note(*key, "password")
        raise credentials_rejected_error()

    async def sign_in_customer(self, text: str, device: Device) -> tuple[identity_pb2.Session, str]:
        """Open a session for whom the assertion vouches; return it with the customer's id."""
        assertion, key = await self._read_assertion(text)
        async with transaction(self._pool) as connection:
            now = dt.datetime.now(dt.UTC)
            channel = await channels.share_channel(connection, assertion.channel_id)
            # Disabled, deleted or given another key since the assertion was read.
            if channel is None or key not in channel.good_keys(now):
                raise credentials_rejected_error()
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
        async with transaction(self._pool, spares_reset=True) as connection:
            session = await self._issuer.refresh(connection, refresh_token)
        # Raised after the commit: a stolen token's session stays ended.
        if session is None:
            raise UnauthenticatedError("SESSION_ENDED", "the session is over; sign in again")
        return session

    async def _read_assertion(self, text: str) -> tuple[Assertion, bytes]:
        """Return what the assertion says, and the key of its channel that it was signed with."""
        channel_id = read_channel_id(text)
        async with self._pool.acquire() as connection:
            channel = await channels.find_channel(connection, channel_id)
        now = dt.datetime.now(dt.UTC)
        for key in [] if channel is None else channel.good_keys(now):
            with suppress(UnauthenticatedError):
                return read_assertion(text, channel_id, build_public_key(key), now), key
        raise credentials_rejected_error()


def _check_given(password: str) -> None:
    violations: dict[str, str] = {}
    check_given_password(password, "password", violations)
    raise_violations(violations)
