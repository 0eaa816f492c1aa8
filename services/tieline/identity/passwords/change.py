"""ChangePassword: the caller's own, by the old one or in a session that has just begun."""

import datetime as dt
import uuid

from tieline.chassis.audit import build_audit_event
from tieline.chassis.errors import UnauthenticatedError
from tieline.chassis.fields import raise_violations
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Pool, transaction
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.passwords.hashing import (
    PasswordPool,
    check_given_password,
    check_new_password,
)
from tieline.identity.repositories import SCHEMA, accounts, sessions
from tieline.identity.sessions.revocations import end_sessions
from tieline.identity.sign_in.attempts import (
    Attempts,
    begin_attempt,
    record_failure,
    record_success,
)
from tieline.identity.sign_in.credentials import credentials_rejected_error

FRESH_FOR = dt.timedelta(minutes=10)


class PasswordChange:
    """Changes passwords."""

    def __init__(self, pool: Pool, passwords: PasswordPool, attempts: Attempts) -> None:
        self._pool = pool
        self._passwords = passwords
        self._attempts = attempts

    async def change(self, principal: Principal, old_password: str, new_password: str) -> None:
        """Set the new password, end the caller's other sessions and void all access tokens."""
        violations: dict[str, str] = {}
        check_given_password(old_password, "old_password", violations)
        check_new_password(new_password, "new_password", violations)
        raise_violations(violations)
        key = (principal.corp_id, principal.id)
        session_id = uuid.UUID(principal.session_id)
        if old_password:
            await self._check_old(key, old_password)
        else:
            await self._check_fresh(principal)
        password_hash = await self._passwords.hash(new_password)
        async with transaction(self._pool) as connection:
            account = await accounts.set_password(connection, *key, password_hash)
            # The account is locked from here on, as whoever ends the member's sessions locks it: a
            # reset or a sign-out everywhere while the new one was hashed stands.
            if not account.is_active or not await sessions.is_open(
                connection, principal.corp_id, session_id
            ):
                raise credentials_rejected_error()
            _, events = await end_sessions(
                connection,
                principal.corp_id,
                PrincipalKind.MEMBER,
                principal.id,
                keep=session_id,
            )
            entry = await build_audit_event(
                connection,
                SCHEMA,
                corp_id=principal.corp_id,
                action="identity.member.change_password",
                resource=f"members/{principal.id}",
            )
            await insert_events(connection, SCHEMA, [*events, entry])

    async def _check_old(self, key: tuple[str, str], password: str) -> None:
        attempt = self._attempts.at_account("member", *key, is_possible=True)
        await begin_attempt(self._pool, attempt)
        async with self._pool.acquire() as connection:
            account = await accounts.find_account(connection, *key)
        password_hash = None if account is None else account.password_hash
        is_right = await self._passwords.verify(password_hash, password)
        async with transaction(self._pool) as connection:
            if is_right:
                await record_success(connection, attempt)
                return
            await record_failure(connection, attempt)
        raise credentials_rejected_error()

    async def _check_fresh(self, principal: Principal) -> None:
        async with self._pool.acquire() as connection:
            is_fresh = await sessions.is_younger(
                connection, principal.corp_id, uuid.UUID(principal.session_id), FRESH_FOR
            )
        if not is_fresh:
            raise UnauthenticatedError(
                "SESSION_NOT_FRESH", "give the old password, or sign in again"
            )
