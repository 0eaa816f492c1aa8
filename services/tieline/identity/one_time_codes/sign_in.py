"""What one-time codes are good for: members sign in or set a password, customers sign in.

Asking for a code puts a row into the queue and nothing more, whoever the receiver is: whether there
is such a member is found out by whoever sends it (``delivery``), when nobody waits for the answer.
"""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.audit import build_audit_event
from tieline.chassis.errors import FailedPreconditionError, ResourceExhaustedError
from tieline.chassis.fields import check_text, is_uuid, raise_violations
from tieline.chassis.ids import new_customer_id, new_uuid7
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.identity.activation import activate
from tieline.identity.audit.refusals import Refusals
from tieline.identity.corps.rules import MAX_NAME_LENGTH, find_account_key
from tieline.identity.one_time_codes.rules import OneTimeCode, OneTimeCodes, Purpose, Receiver
from tieline.identity.passwords.hashing import PasswordPool, check_new_password
from tieline.identity.repositories import SCHEMA, accounts, customers, one_time_codes
from tieline.identity.sessions.devices import Device
from tieline.identity.sessions.issuer import SessionIssuer, build_customer
from tieline.identity.sessions.revocations import end_member_sessions
from tieline.identity.sign_in.attempts import Attempts, begin_attempt, count_one, record_failure
from tieline.identity.sign_in.credentials import credentials_rejected_error
from tieline.identity.sign_in.entrance import Entered, Entrance
from tieline.identity.sign_in.policies import BY_CODE

# Customers' codes belong to no corp.
NO_CORP = ""

# Stands for a user id where only the corp's form is of interest.
_SOMEBODY = "a"

T = TypeVar("T")


class CodeSignIn:
    """The ways in by one-time code."""

    def __init__(
        self,
        pool: Pool,
        codes: OneTimeCodes,
        attempts: Attempts,
        entrance: Entrance,
        issuer: SessionIssuer,
        passwords: PasswordPool,
        refusals: Refusals,
        *,
        wake_sender: Callable[[], None] | None,
    ) -> None:
        self._pool = pool
        self._codes = codes
        self._attempts = attempts
        self._entrance = entrance
        self._issuer = issuer
        self._passwords = passwords
        self._refusals = refusals
        self._wake_sender = wake_sender

    async def request(
        self, corp_id: str, purpose: Purpose, receiver: Receiver
    ) -> tuple[str, dt.datetime]:
        """Have a code sent; return its id and when it ends."""
        if self._wake_sender is None:
            raise FailedPreconditionError(
                "CODE_SENDER_OFF", "this deployment sends no one-time codes"
            )
        attempt = self._attempts.asking_for_code(
            corp_id, f"{purpose}:{receiver.kind}:{receiver.address}"
        )
        code_id = new_uuid7()
        async with transaction(self._pool) as connection:
            await count_one(connection, attempt, _codes_exhausted_error)
            expire_time = await one_time_codes.insert_code(
                connection, corp_id, code_id, purpose, receiver
            )
        self._wake_sender()
        return code_id, expire_time

    async def sign_in_member(
        self, corp_id: str, code_id: str, code: str, device: Device
    ) -> tuple[Entered, str]:
        """Let the member in to whom the code was sent; return the user id as well."""

        async def enter(connection: Connection, found: OneTimeCode) -> tuple[Entered, str]:
            assert found.user_id is not None, "a member's code is sent to a member"
            key = (corp_id, found.user_id)
            account = await activate(connection, key, may_rejoin=False)
            entered = await self._entrance.admit(connection, key, account, BY_CODE, device)
            return entered, found.user_id

        return await self._use(corp_id, code_id, code, Purpose.SIGN_IN, enter)

    async def reset_password(self, corp_id: str, code_id: str, code: str, password: str) -> str:
        """Set the password of the member to whom the code was sent; return the user id."""
        violations: dict[str, str] = {}
        check_new_password(password, "password", violations)
        raise_violations(violations)
        # A look without the lock: whoever has no code gets no expensive work done. What counts is
        # compared again with the password's hash at hand.
        await self._use(corp_id, code_id, code, Purpose.PASSWORD_RESET, _do_nothing, uses_up=False)
        password_hash = await self._passwords.hash(password)

        async def set_password(connection: Connection, found: OneTimeCode) -> str:
            assert found.user_id is not None, "a member's code is sent to a member"
            key = (corp_id, found.user_id)
            await activate(connection, key, may_rejoin=False)
            account = await accounts.set_password(connection, *key, password_hash)
            await self._entrance.check(connection, key, account, BY_CODE)
            events = await end_member_sessions(connection, *key)
            entry = await build_audit_event(
                connection,
                SCHEMA,
                corp_id=corp_id,
                action="identity.member.reset_password",
                resource=f"members/{found.user_id}",
            )
            await insert_events(connection, SCHEMA, [*events, entry])
            return found.user_id

        return await self._use(corp_id, code_id, code, Purpose.PASSWORD_RESET, set_password)

    async def sign_in_customer(
        self, code_id: str, code: str, display_name: str, device: Device
    ) -> tuple[identity_pb2.Session, str]:
        """Open a session for the customer to whom the code was sent; return the id as well."""
        violations: dict[str, str] = {}
        check_text(display_name, "display_name", violations, minimum=0, maximum=MAX_NAME_LENGTH)
        raise_violations(violations)

        async def enter(
            connection: Connection, found: OneTimeCode
        ) -> tuple[identity_pb2.Session, str]:
            receiver = found.receiver
            customer_id, name = await customers.upsert_contact_customer(
                connection,
                new_customer_id(),
                f"{receiver.kind}:{receiver.address}",
                display_name,
                _first_name(receiver),
            )
            customer = build_customer(customer_id, name)
            return await self._issuer.open(connection, customer, device), customer_id

        return await self._use(NO_CORP, code_id, code, Purpose.CUSTOMER_SIGN_IN, enter)

    async def _use(
        self,
        corp_id: str,
        code_id: str,
        code: str,
        purpose: Purpose,
        act: Callable[[Connection, OneTimeCode], Awaitable[T]],
        *,
        uses_up: bool = True,
    ) -> T:
        """Compare the code under its lock and act in the same transaction, or refuse."""
        attempt = self._attempts.at_code()
        await begin_attempt(self._pool, attempt)
        found = None
        async with transaction(self._pool) as connection:
            if _is_possible(corp_id, code_id):
                found = await one_time_codes.lock_code(connection, corp_id, code_id)
            if found is not None and found.is_open(purpose):
                if self._codes.matches(corp_id, code_id, code):
                    if uses_up:
                        await one_time_codes.use_code(connection, corp_id, code_id)
                    return await act(connection, found)
                await one_time_codes.count_wrong_attempt(connection, corp_id, code_id)
            await record_failure(connection, attempt)
        # After the commit: that it was wrong must be kept.
        if found is not None and found.user_id is not None:
            self._refusals.note(corp_id, found.user_id, "code")
        raise credentials_rejected_error()


def is_corp_id(corp_id: str) -> bool:
    """Tell whether this can name a corp, and may be shown to the database."""
    return find_account_key(corp_id, _SOMEBODY) is not None


async def _do_nothing(_connection: Connection, _found: OneTimeCode) -> None:
    return None


def _is_possible(corp_id: str, code_id: str) -> bool:
    return is_uuid(code_id) and (corp_id == NO_CORP or is_corp_id(corp_id))


def _first_name(receiver: Receiver) -> str:
    """Call a customer who gave no name by what others may see of the number or address."""
    local_part, at, _ = receiver.address.partition("@")
    return local_part if at else receiver.address[-4:]


def _codes_exhausted_error(wait_s: float) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        "CODES_EXHAUSTED", "too many one-time codes were asked for", retry_after_s=wait_s
    )
