"""The one door: whoever has proved a first factor gets a session here, or a challenge.

Whatever the way in, this decides whether the account may be used, whether a second factor is asked
for, and writes the entry of the audit log, all in the transaction of the caller.
"""

import datetime as dt
from dataclasses import dataclass

from tieline.api.identity.v1 import identity_pb2, sign_in_pb2
from tieline.chassis.audit import PLATFORM_LOG, build_audit_event
from tieline.chassis.fields import to_timestamp
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import Principal
from tieline.identity.repositories import SCHEMA, second_factors
from tieline.identity.repositories.accounts import Account
from tieline.identity.repositories.second_factors import Demands
from tieline.identity.roles.rules import with_grants
from tieline.identity.second_factors.challenges import LIFETIME, Challenge, Challenges, fingerprint
from tieline.identity.sessions.devices import Device
from tieline.identity.sessions.issuer import (
    SessionIssuer,
    build_member,
    build_platform_administrator,
    with_stored_grants,
)
from tieline.identity.sign_in.credentials import credentials_rejected_error
from tieline.identity.sign_in.policies import BY_PASSWORD, Entry, Proof, SignInPolicy


@dataclass(frozen=True, slots=True)
class Entered:
    """What somebody gets who has proved a first factor: one of the two."""

    session: identity_pb2.Session | None = None
    challenge: sign_in_pb2.SecondFactorChallenge | None = None


class Entrance:
    """Lets members and platform administrators in."""

    def __init__(
        self, issuer: SessionIssuer, challenges: Challenges, platform_policy: SignInPolicy
    ) -> None:
        self._issuer = issuer
        self._challenges = challenges
        self._platform_policy = platform_policy

    async def admit(
        self,
        connection: Connection,
        key: tuple[str, str],
        account: Account,
        proof: Proof,
        device: Device,
    ) -> Entered:
        """Open a session, or ask for the second factor. The account is locked."""
        member, demands, entry = await _decide(connection, key, account, proof)
        if entry is Entry.SESSION:
            session = await self._open(connection, member, proof.method, device, demands.now)
            return Entered(session=session)
        challenge = self._build_challenge(
            key, account.password_hash, proof.method, device, is_enrolled=demands.is_enrolled
        )
        return Entered(challenge=challenge)

    async def admit_platform_administrator(
        self, connection: Connection, name: str, password_hash: str, device: Device
    ) -> Entered:
        """Do the same for who has shown this password, which is locked."""
        key = (PLATFORM_LOG, name)
        is_enrolled = await second_factors.find_confirm_time(connection, *key) is not None
        entry = self._platform_policy.decide_entry(
            build_platform_administrator(name), BY_PASSWORD, is_enrolled=is_enrolled
        )
        method = BY_PASSWORD.method
        if entry is Entry.SESSION:
            session = await self.open_platform_administrator(connection, name, method, device)
            return Entered(session=session)
        challenge = self._build_challenge(
            key, password_hash, method, device, is_enrolled=is_enrolled
        )
        return Entered(challenge=challenge)

    async def open_platform_administrator(
        self, connection: Connection, name: str, method: str, device: Device
    ) -> identity_pb2.Session:
        """Open a session for whom no second factor is to be asked. The password is locked."""
        principal = build_platform_administrator(name)
        event = await build_audit_event(
            connection,
            SCHEMA,
            corp_id=PLATFORM_LOG,
            action="identity.platform_administrator.sign_in",
            resource=f"platformAdministrators/{name}",
            details={"method": method},
            actor=principal,
        )
        await insert_events(connection, SCHEMA, [event])
        return await self._issuer.open(connection, principal, device)

    async def check(
        self, connection: Connection, key: tuple[str, str], account: Account, proof: Proof
    ) -> None:
        """Refuse a proof that would open nothing. The account is locked."""
        await _decide(connection, key, account, proof)

    async def open(
        self,
        connection: Connection,
        key: tuple[str, str],
        account: Account,
        method: str,
        device: Device,
    ) -> identity_pb2.Session:
        """Open a session for whom no second factor is to be asked. The account is locked."""
        member = await with_stored_grants(connection, _check_active(key, account))
        return await self._open(connection, member, method, device)

    async def _open(
        self,
        connection: Connection,
        member: Principal,
        method: str,
        device: Device,
        now: dt.datetime | None = None,
    ) -> identity_pb2.Session:
        event = await build_audit_event(
            connection,
            SCHEMA,
            corp_id=member.corp_id,
            action="identity.member.sign_in",
            resource=f"members/{member.id}",
            details={"method": method},
            actor=member,
            act_time=now,
        )
        await insert_events(connection, SCHEMA, [event])
        return await self._issuer.open(connection, member, device)

    def _build_challenge(
        self,
        key: tuple[str, str],
        password_hash: str | None,
        method: str,
        device: Device,
        *,
        is_enrolled: bool,
    ) -> sign_in_pb2.SecondFactorChallenge:
        corp_id, user_id = key
        challenge = Challenge(
            corp_id=corp_id,
            user_id=user_id,
            method=method,
            credential=fingerprint(password_hash),
            is_enrolment_required=not is_enrolled,
            expire_time=dt.datetime.now(dt.UTC) + LIFETIME,
            device=device,
        )
        return sign_in_pb2.SecondFactorChallenge(
            challenge=self._challenges.encode(challenge),
            expire_time=to_timestamp(challenge.expire_time),
            enrolment_required=challenge.is_enrolment_required,
        )


async def _decide(
    connection: Connection, key: tuple[str, str], account: Account, proof: Proof
) -> tuple[Principal, Demands, Entry]:
    """Return what the proof opens, and to whom; raise where that is nothing."""
    demands = await second_factors.find_demands(connection, *key)
    member = with_grants(_check_active(key, account), demands.grants)
    entry = demands.policy.decide_entry(member, proof, is_enrolled=demands.is_enrolled)
    if entry is Entry.NOTHING:
        raise credentials_rejected_error()
    return member, demands, entry


def _check_active(key: tuple[str, str], account: Account) -> Principal:
    if not account.is_active:
        raise credentials_rejected_error()
    return build_member(*key, account)
