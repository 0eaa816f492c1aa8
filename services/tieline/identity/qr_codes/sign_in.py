"""Sign-in by QR code: a signed-in member scans what another device shows, and lets it in."""

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from tieline.api.identity.v1 import identity_pb2
from tieline.chassis.calls import find_address
from tieline.chassis.fields import check_text, is_uuid, raise_violations
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import Principal
from tieline.identity.qr_codes.rules import (
    QrSignIn,
    QrState,
    hash_poll_secret,
    is_poll_secret,
    new_poll_secret,
    plan_decision,
    plan_scan,
    qr_not_found_error,
)
from tieline.identity.qr_codes.waiting import QrWaiting
from tieline.identity.repositories import accounts, qr_sign_ins, sessions
from tieline.identity.repositories.qr_sign_ins import NewQrSignIn
from tieline.identity.sessions.devices import MAX_DEVICE_NAME_LENGTH, Device
from tieline.identity.sign_in.attempts import Attempts, begin_attempt, count_one, record_failure
from tieline.identity.sign_in.credentials import credentials_rejected_error, sign_in_locked_error
from tieline.identity.sign_in.entrance import Entrance


@dataclass(frozen=True, slots=True)
class Begun:
    """What the waiting device gets."""

    qr_id: str
    poll_secret: str = field(repr=False)
    expire_time: dt.datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """Where the sign-in stands; with the session, once, when it is approved."""

    state: QrState | None
    """None when it is over."""

    session: identity_pb2.Session | None = None
    corp_id: str = ""
    user_id: str = ""


class QrSignIns:
    """The way in by QR code."""

    def __init__(
        self, pool: Pool, attempts: Attempts, entrance: Entrance, waiting: QrWaiting
    ) -> None:
        self._pool = pool
        self._attempts = attempts
        self._entrance = entrance
        self._waiting = waiting

    async def begin(self, device: Device) -> Begun:
        """Make a QR code."""
        violations: dict[str, str] = {}
        check_text(
            device.name, "device_name", violations, minimum=1, maximum=MAX_DEVICE_NAME_LENGTH
        )
        raise_violations(violations)
        qr_id, secret = new_uuid7(), new_poll_secret()
        new = NewQrSignIn(qr_id, hash_poll_secret(secret), device, find_address())
        async with transaction(self._pool) as connection:
            await count_one(connection, self._attempts.asking(), sign_in_locked_error)
            expire_time = await qr_sign_ins.insert_qr_sign_in(connection, new)
        return Begun(qr_id, secret, expire_time)

    async def watch(self, qr_id: str, poll_secret: str) -> AsyncIterator[Seen]:
        """Yield where it stands until it is decided or over; the session comes last."""
        await self._check_secret(qr_id, poll_secret)
        async with aclosing(self._waiting.states(qr_id)) as states:
            async for state in states:
                if state is QrState.APPROVED:
                    yield await self._give(qr_id)
                    return
                # Another watcher was faster.
                if state is QrState.GIVEN:
                    raise credentials_rejected_error()
                yield Seen(state)
                if state is QrState.REJECTED or state is None:
                    return

    async def scan(self, principal: Principal, qr_id: str) -> QrSignIn:
        """Take the code for the member; return which device asks."""
        member = (principal.corp_id, principal.id)
        _check_id(qr_id)
        async with transaction(self._pool) as connection:
            found = plan_scan(await qr_sign_ins.lock_qr_sign_in(connection, qr_id), *member)
            await qr_sign_ins.update_qr_sign_in(
                connection, qr_id, QrState.SCANNED, corp_id=member[0], user_id=member[1]
            )
        return found

    async def decide(self, principal: Principal, qr_id: str, *, is_approved: bool) -> None:
        """Let the device in as the member, or refuse it."""
        member = (principal.corp_id, principal.id)
        _check_id(qr_id)
        async with transaction(self._pool) as connection:
            found = await qr_sign_ins.lock_qr_sign_in(connection, qr_id)
            state = plan_decision(found, *member, is_approved=is_approved)
            await qr_sign_ins.update_qr_sign_in(
                connection,
                qr_id,
                state,
                corp_id=member[0],
                user_id=member[1],
                session_id=uuid.UUID(principal.session_id),
            )

    async def _check_secret(self, qr_id: str, poll_secret: str) -> None:
        attempt = self._attempts.at_code()
        await begin_attempt(self._pool, attempt)
        secret_hash = None
        if is_uuid(qr_id):
            async with self._pool.acquire() as connection:
                secret_hash = await qr_sign_ins.find_poll_secret_hash(connection, qr_id)
        if not is_poll_secret(secret_hash, poll_secret):
            async with transaction(self._pool) as connection:
                await record_failure(connection, attempt)
            raise credentials_rejected_error()

    async def _give(self, qr_id: str) -> Seen:
        """Open the session, once. No second factor: the device that scanned has shown it."""
        async with transaction(self._pool) as connection:
            found = await qr_sign_ins.lock_qr_sign_in(connection, qr_id)
            if found is None or found.state is not QrState.APPROVED:
                raise credentials_rejected_error()
            assert found.corp_id is not None, "a scanned code has a member"
            assert found.user_id is not None, "a scanned code has a member"
            key = (found.corp_id, found.user_id)
            account = await accounts.lock_account(connection, *key)
            # Under the account's lock, which whoever ends the member's sessions takes.
            if account is None or not await _is_still_approved(connection, found):
                raise credentials_rejected_error()
            session = await self._entrance.open(connection, key, account, "qr_code", found.device)
            await qr_sign_ins.update_qr_sign_in(
                connection, qr_id, QrState.GIVEN, corp_id=key[0], user_id=key[1]
            )
        return Seen(QrState.APPROVED, session, *key)


async def _is_still_approved(connection: Connection, found: QrSignIn) -> bool:
    """Tell whether the session that approved it is open."""
    assert found.corp_id is not None, "a scanned code has a member"
    if found.session_id is None:
        return True
    return await sessions.is_open(connection, found.corp_id, found.session_id)


def _check_id(qr_id: str) -> None:
    if not is_uuid(qr_id):
        raise qr_not_found_error()
