"""The second factor: enrolling an authenticator, asking for its codes, recovery codes, resets."""

import datetime as dt
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tieline.api.identity.v1 import identity_pb2, sign_in_pb2
from tieline.chassis.audit import PLATFORM_LOG, record_act
from tieline.chassis.errors import (
    FailedPreconditionError,
    NotFoundError,
    ServiceError,
    UnauthenticatedError,
)
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.identity.audit.refusals import Refusals
from tieline.identity.repositories import (
    SCHEMA,
    accounts,
    platform_administrators,
    second_factors,
)
from tieline.identity.repositories.accounts import Account
from tieline.identity.repositories.second_factors import StoredSecondFactor
from tieline.identity.repositories.tallies import delete_tallies, take_back_one
from tieline.identity.sealing import Seal
from tieline.identity.second_factors.challenges import (
    Challenge,
    Challenges,
    challenge_ended_error,
    fingerprint,
)
from tieline.identity.second_factors.totp import (
    build_uri,
    derive_recovery_codes,
    encode_secret,
    find_step,
    hash_recovery_code,
    new_secret,
)
from tieline.identity.sign_in.attempts import Attempt, Attempts, count_one
from tieline.identity.sign_in.credentials import credentials_rejected_error, sign_in_locked_error
from tieline.identity.sign_in.entrance import Entrance

_ISSUER = "Tieline"
_RANDOM_BYTES = 16

Key = tuple[str, str]
"""Corp and user; of a platform administrator PLATFORM_LOG and the name."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What completing a challenge gives."""

    session: identity_pb2.Session
    recovery_codes: list[str]
    """Of an enrolment that was confirmed by it; otherwise empty."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose a second factor is or will be."""

    password_hash: str | None = field(repr=False)
    account: Account | None = None
    """A member's; None for a platform administrator."""


@dataclass(slots=True)
class CodeAttempt:
    """A call that is to use a code."""

    key: Key
    counted: Attempt
    is_right: bool | None = None
    """None until a code was looked at."""


class SecondFactors:
    """Keeps authenticators and asks for their codes."""

    def __init__(
        self,
        pool: Pool,
        seal: Seal,
        challenges: Challenges,
        attempts: Attempts,
        entrance: Entrance,
        refusals: Refusals,
        *,
        recovery_key: bytes,
    ) -> None:
        self._pool = pool
        self._seal = seal
        self._challenges = challenges
        self._attempts = attempts
        self._entrance = entrance
        self._refusals = refusals
        self._recovery_key = recovery_key

    async def complete(self, text: str, code: str) -> Completed:
        """Open the session that a challenge holds back."""
        challenge = self._read(text)
        key = (challenge.corp_id, challenge.user_id)
        async with self.attempting(key) as attempt, transaction(self._pool) as connection:
            owner = await _lock_challenged(connection, challenge)
            is_confirmed = not challenge.is_enrolment_required
            try:
                await self.use_code(connection, attempt, code, is_confirmed=is_confirmed)
            except NotFoundError:
                # Enrolled or reset since: what the challenge asks for is no more.
                raise challenge_ended_error() from None
            codes: list[str] = []
            if challenge.is_enrolment_required:
                codes = self.derive_codes(key, secrets.token_hex(_RANDOM_BYTES))
                await self.keep_codes(connection, key, codes, "enrol")
            return Completed(await self._open(connection, challenge, owner), codes)

    async def _open(
        self, connection: Connection, challenge: Challenge, owner: _Owner
    ) -> identity_pb2.Session:
        key = (challenge.corp_id, challenge.user_id)
        method = f"{challenge.method}+second_factor"
        if owner.account is None:
            return await self._entrance.open_platform_administrator(
                connection, challenge.user_id, method, challenge.device
            )
        return await self._entrance.open(connection, key, owner.account, method, challenge.device)

    async def begin_at_sign_in(self, text: str) -> sign_in_pb2.TotpEnrolment:
        """Begin the enrolment that a challenge requires."""
        challenge = self._read(text)
        if not challenge.is_enrolment_required:
            raise _exists_error()
        async with transaction(self._pool) as connection:
            await _lock_challenged(connection, challenge)
            return await self._begin(connection, (challenge.corp_id, challenge.user_id))

    async def begin(self, key: Key) -> sign_in_pb2.TotpEnrolment:
        """Begin an enrolment in place of an earlier one that was not confirmed."""
        async with transaction(self._pool) as connection:
            if await _lock_owner(connection, key) is None:
                raise UnauthenticatedError("SESSION_ENDED", "the session is over; sign in again")
            return await self._begin(connection, key)

    @asynccontextmanager
    async def attempting(self, key: Key) -> AsyncIterator[CodeAttempt]:
        """Count an attempt before the block, and settle it by what ``use_code`` found in it.

        It is counted first, so that guesses at the same time are not more guesses.
        """
        attempt = CodeAttempt(key, self._attempts.at_second_factor(*key))
        async with transaction(self._pool) as connection:
            await count_one(connection, attempt.counted, sign_in_locked_error)
        try:
            yield attempt
        except ServiceError:
            await self._settle(attempt, is_committed=False)
            raise
        await self._settle(attempt, is_committed=True)

    async def _settle(self, attempt: CodeAttempt, *, is_committed: bool) -> None:
        """Leave a wrong code counted, and forget all that were behind one that was accepted.

        A call that ended without a word about its code takes back what it counted itself, no more:
        otherwise one that always does would clear the tally for a guesser.
        """
        if attempt.is_right is False:
            self._refusals.note(*attempt.key, "second_factor")
            return
        settle = delete_tallies if attempt.is_right and is_committed else take_back_one
        async with transaction(self._pool) as connection:
            await settle(connection, attempt.counted.cleared)

    async def use_code(
        self, connection: Connection, attempt: CodeAttempt, code: str, *, is_confirmed: bool
    ) -> None:
        """Use a code of the owner's up in the caller's transaction, or raise.

        Confirms an enrolment where ``is_confirmed`` is False.
        """
        key = attempt.key
        factor = await second_factors.lock_second_factor(connection, *key)
        if factor is None or (factor.confirm_time is not None) != is_confirmed:
            raise not_found_error()
        attempt.is_right = await self._accept(connection, key, factor, code)
        if not attempt.is_right:
            raise credentials_rejected_error()

    def derive_codes(self, key: Key, request_id: str) -> list[str]:
        """Return the recovery codes that this request makes, the same ones each time."""
        return derive_recovery_codes(self._recovery_key, *key, request_id)

    async def keep_codes(
        self, connection: Connection, key: Key, codes: list[str], act: str
    ) -> None:
        """Store these recovery codes in place of earlier ones, with an entry of the audit log."""
        if await second_factors.lock_second_factor(connection, *key) is None:
            raise not_found_error()
        hashes = [hash_recovery_code(code) for code in codes]
        await second_factors.replace_recovery_codes(connection, *key, hashes)
        await _record(connection, key, act)

    async def delete(self, connection: Connection, key: Key, act: str) -> bool:
        """Delete the authenticator, with an entry of the audit log; False where there is none."""
        is_deleted = await second_factors.delete_second_factor(connection, *key)
        if is_deleted:
            await _record(connection, key, act)
        return is_deleted

    async def _begin(self, connection: Connection, key: Key) -> sign_in_pb2.TotpEnrolment:
        secret = new_secret()
        sealed = self._seal.close(secret, *key)
        if not await second_factors.replace_unconfirmed(connection, *key, sealed):
            raise _exists_error()
        return sign_in_pb2.TotpEnrolment(
            secret=encode_secret(secret), uri=build_uri(secret, account=key[1], issuer=_ISSUER)
        )

    async def _accept(
        self, connection: Connection, key: Key, factor: StoredSecondFactor, code: str
    ) -> bool:
        """Use the code up; False for a wrong one. An enrolment is confirmed by TOTP alone."""
        step = find_step(
            self._seal.open(factor.sealed_secret, *key),
            code,
            now_s=factor.now.timestamp(),
            last_used_step=factor.last_used_step,
        )
        if step is not None:
            await second_factors.use_step(connection, *key, step)
            return True
        return factor.confirm_time is not None and await second_factors.claim_recovery_code(
            connection, *key, hash_recovery_code(code)
        )

    def _read(self, text: str) -> Challenge:
        return self._challenges.decode(text, dt.datetime.now(dt.UTC))


async def _lock_owner(connection: Connection, key: Key) -> _Owner | None:
    """Return the owner, or None; nobody deletes it or changes its password meanwhile."""
    corp_id, user_id = key
    if corp_id == PLATFORM_LOG:
        password_hash = await platform_administrators.share_password_hash(connection, user_id)
        return None if password_hash is None else _Owner(password_hash)
    account = await accounts.lock_account(connection, corp_id, user_id)
    return None if account is None else _Owner(account.password_hash, account)


async def _lock_challenged(connection: Connection, challenge: Challenge) -> _Owner:
    """Return the owner, locked; the challenge is void once the password has changed."""
    owner = await _lock_owner(connection, (challenge.corp_id, challenge.user_id))
    if owner is None or fingerprint(owner.password_hash) != challenge.credential:
        raise challenge_ended_error()
    return owner


async def _record(connection: Connection, key: Key, act: str) -> None:
    corp_id, user_id = key
    owners = "platformAdministrators" if corp_id == PLATFORM_LOG else "members"
    await record_act(
        connection,
        SCHEMA,
        corp_id=corp_id,
        action=f"identity.second_factor.{act}",
        resource=f"{owners}/{user_id}",
    )


def not_found_error() -> NotFoundError:
    """Return the error for somebody without a second factor, or with none to be confirmed."""
    return NotFoundError("SECOND_FACTOR_NOT_FOUND", "there is no such second factor")


def _exists_error() -> FailedPreconditionError:
    return FailedPreconditionError(
        "SECOND_FACTOR_EXISTS", "there is a second factor already; disable it first"
    )
