"""Counts what goes wrong at sign-in, and holds back whoever has too much of it.

An attempt is looked at twice: before the work, so that a guesser who is held back costs nothing,
and when it is known whether it was right. The second look is what makes guesses at the same time
useless: those that are held back by then get the same answer, right or wrong.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tieline.chassis.addresses import group_address
from tieline.chassis.calls import find_address
from tieline.chassis.postgres import Connection, Pool
from tieline.identity.repositories import tallies
from tieline.identity.repositories.tallies import Seen, TallyKey
from tieline.identity.sign_in import lockout
from tieline.identity.sign_in.credentials import sign_in_locked_error
from tieline.identity.sign_in.lockout import Rule

# Has no known address: an account has a user id.
_NO_ACCOUNT = ("", "")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt is counted under."""

    counted: Mapping[TallyKey, Rule]
    cleared: tuple[TallyKey, ...] = ()
    """Forgotten at once when the attempt turns out right."""

    account: tuple[str, str] | None = None
    """Corp and user whose known addresses matter; None where there can be no such account."""

    address_key: bytes = b""
    elsewhere: TallyKey | None = None
    """Not looked at, and not counted, at an address that the account knows."""


class Attempts:
    """Names attempts and keeps count of them."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def at_account(self, kind: str, corp_id: str, user_id: str, *, is_possible: bool) -> Attempt:
        """Return an attempt to sign in to an account, which need not exist.

        ``is_possible`` is False for ids that no account has and the database must not see.
        """
        address = group_address(find_address())
        owner = corp_id if is_possible else ""
        name = user_id.lower()
        here = self._name(owner, "account-at-address", kind, corp_id, name, address)
        elsewhere = self._name(owner, "account", kind, corp_id, name)
        return Attempt(
            counted={
                here: lockout.ACCOUNT_AT_ADDRESS,
                elsewhere: lockout.ACCOUNT_ELSEWHERE,
                self._name("", "address", address): lockout.ADDRESS,
            },
            cleared=(here,),
            account=(corp_id, name) if is_possible else None,
            address_key=self._digest("known-address", address),
            elsewhere=elsewhere,
        )

    def at_code(self) -> Attempt:
        """Return an attempt with a one-time code, whose own attempts are counted with it."""
        address = group_address(find_address())
        return Attempt({self._name("", "address", address): lockout.ADDRESS})

    def at_second_factor(self, corp_id: str, user_id: str) -> Attempt:
        """Return an attempt at a second factor: one account's, wherever it is made."""
        key = self._name(corp_id, "second-factor", user_id)
        return Attempt({key: lockout.SECOND_FACTOR}, cleared=(key,))

    def asking_for_code(self, corp_id: str, receiver: str) -> Attempt:
        """Return the asking for a one-time code, which is counted whatever comes of it."""
        address = group_address(find_address())
        return Attempt(
            {
                self._name(corp_id, "receiver", receiver): lockout.RECEIVER,
                self._name("", "asking-address", address): lockout.ASKING_ADDRESS,
            }
        )

    def asking(self) -> Attempt:
        """Return what begins a sign-in and leaves a row, counted whatever comes of it."""
        address = group_address(find_address())
        return Attempt({self._name("", "asking-address", address): lockout.ASKING_ADDRESS})

    def _name(self, corp_id: str, *parts: str) -> TallyKey:
        return corp_id, self._digest(*parts)

    def _digest(self, *parts: str) -> bytes:
        # Lengths first: what callers send may hold any separator.
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._key, text.encode(), "sha256")


async def begin_attempt(pool: Pool, attempt: Attempt) -> None:
    """Raise ResourceExhaustedError (SIGN_IN_LOCKED) if the attempt must not be made yet."""
    async with pool.acquire() as connection:
        await _check(connection, attempt)


async def record_success(connection: Connection, attempt: Attempt) -> None:
    """Forget the account's failures here and know the address from now on, or raise as begin."""
    seen = await _check(connection, attempt)
    spent = [key for key in attempt.cleared if key in seen.found]
    if spent:
        await tallies.delete_tallies(connection, spent)
    if attempt.account is not None and not seen.is_address_fresh:
        await tallies.upsert_known_address(connection, *attempt.account, attempt.address_key)


async def record_failure(connection: Connection, attempt: Attempt) -> None:
    """Count the failure, or raise as begin: a held-back guess is told nothing."""
    await count_one(connection, attempt, sign_in_locked_error)


async def count_one(
    connection: Connection, attempt: Attempt, build_error: Callable[[float], Exception]
) -> None:
    """Count the attempt in the caller's transaction, or raise if it comes too soon."""
    counted = _find_counted(attempt, await _look(connection, attempt))
    await tallies.lock_tallies(connection, sorted(counted))
    seen = await _look(connection, attempt)
    wait_s = _find_wait_s(counted, seen)
    if wait_s > 0:
        raise build_error(wait_s)
    await tallies.update_tallies(
        connection,
        {
            key: lockout.add_one(seen.found.get(key), rule, seen.now)
            for key, rule in counted.items()
        },
    )


async def _check(connection: Connection, attempt: Attempt) -> Seen:
    seen = await _look(connection, attempt)
    wait_s = _find_wait_s(_find_counted(attempt, seen), seen)
    if wait_s > 0:
        raise sign_in_locked_error(wait_s)
    return seen


async def _look(connection: Connection, attempt: Attempt) -> Seen:
    return await tallies.find_tallies(
        connection, list(attempt.counted), attempt.account or _NO_ACCOUNT, attempt.address_key
    )


def _find_counted(attempt: Attempt, seen: Seen) -> Mapping[TallyKey, Rule]:
    """Return what counts here: at a known address what happens elsewhere does not."""
    if seen.known_time is None:
        return attempt.counted
    return {key: rule for key, rule in attempt.counted.items() if key != attempt.elsewhere}


def _find_wait_s(counted: Mapping[TallyKey, Rule], seen: Seen) -> float:
    return lockout.find_longest_wait_s(
        [(seen.found.get(key), rule) for key, rule in counted.items()], seen.now
    )
