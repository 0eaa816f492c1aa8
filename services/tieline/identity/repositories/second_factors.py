"""Authenticators, recovery codes, and whom a corp requires to have them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from tieline.chassis.postgres import Connection, Record
from tieline.identity.repositories.role_grants import to_grant
from tieline.identity.roles.rules import Grant
from tieline.identity.sign_in.policies import Requirement, SignInPolicy


@dataclass(frozen=True, slots=True)
class StoredSecondFactor:
    """A member's authenticator."""

    sealed_secret: bytes = field(repr=False)
    confirm_time: dt.datetime | None
    last_used_step: int
    now: dt.datetime


@dataclass(frozen=True, slots=True)
class Demands:
    """What decides how a member is let in."""

    is_enrolled: bool
    """Whether the member has a second factor."""

    policy: SignInPolicy
    grants: Sequence[Grant]
    now: dt.datetime
    """The transaction's time."""


async def find_confirm_time(
    connection: Connection, corp_id: str, user_id: str
) -> dt.datetime | None:
    """Return since when the member has a second factor; None without one."""
    confirm_time: dt.datetime | None = await connection.fetchval(
        """
        SELECT confirm_time
          FROM identity.second_factors
         WHERE corp_id = $1 AND user_id = $2
        """,
        corp_id,
        user_id,
    )
    return confirm_time


async def find_demands(connection: Connection, corp_id: str, user_id: str) -> Demands:
    """Return what decides how the member is let in. The member's account is locked."""
    rows = await connection.fetch(
        """
        SELECT (SELECT true
                  FROM identity.second_factors
                 WHERE corp_id = $1 AND user_id = $2 AND confirm_time IS NOT NULL) AS is_enrolled,
               second_factor_requirement, provider_counts_as_second_factor, change_number,
               now() AS now,
               $2 AS user_id, role, rights, department_ids, granter_user_id, grant_time
          FROM (SELECT) AS one_row
          LEFT JOIN identity.sign_in_policies AS policies ON policies.corp_id = $1
          LEFT JOIN identity.role_grants AS grants
            ON grants.corp_id = $1 AND grants.user_id = $2
        """,
        corp_id,
        user_id,
    )
    # Left joins give a row, and one for each grant.
    return Demands(
        is_enrolled=rows[0]["is_enrolled"] is True,
        policy=_read_policy(rows[0]),
        grants=[to_grant(row) for row in rows if row["role"] is not None],
        now=rows[0]["now"],
    )


async def lock_second_factor(
    connection: Connection, corp_id: str, user_id: str
) -> StoredSecondFactor | None:
    """Lock the member's authenticator, confirmed or not; return it, or None."""
    row = await connection.fetchrow(
        """
        SELECT sealed_secret, confirm_time, last_used_step, clock_timestamp() AS now
          FROM identity.second_factors
         WHERE corp_id = $1 AND user_id = $2
           FOR UPDATE
        """,
        corp_id,
        user_id,
    )
    return None if row is None else StoredSecondFactor(**row)


async def replace_unconfirmed(
    connection: Connection, corp_id: str, user_id: str, sealed_secret: bytes
) -> bool:
    """Begin an enrolment in place of an earlier one; False where one is confirmed."""
    replaced = await connection.fetchval(
        """
        INSERT INTO identity.second_factors (corp_id, user_id, sealed_secret)
        VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT second_factors_pkey
        DO UPDATE SET sealed_secret = excluded.sealed_secret,
                      last_used_step = 0,
                      create_time = now()
                WHERE second_factors.confirm_time IS NULL
        RETURNING true
        """,
        corp_id,
        user_id,
        sealed_secret,
    )
    return replaced is True


async def use_step(connection: Connection, corp_id: str, user_id: str, step: int) -> None:
    """Use the codes up to this step up; confirm an enrolment. The row is locked."""
    await connection.execute(
        """
        UPDATE identity.second_factors
           SET last_used_step = $3, confirm_time = coalesce(confirm_time, now())
         WHERE corp_id = $1 AND user_id = $2
        """,
        corp_id,
        user_id,
        step,
    )


async def delete_second_factor(connection: Connection, corp_id: str, user_id: str) -> bool:
    """Delete the authenticator and its recovery codes; False where there is none."""
    deleted = await connection.fetchval(
        """
        DELETE FROM identity.second_factors
         WHERE corp_id = $1 AND user_id = $2
        RETURNING true
        """,
        corp_id,
        user_id,
    )
    return deleted is True


async def replace_recovery_codes(
    connection: Connection, corp_id: str, user_id: str, code_hashes: Sequence[bytes]
) -> None:
    """Store new recovery codes; the earlier ones end. The authenticator is locked."""
    await connection.execute(
        "DELETE FROM identity.recovery_codes WHERE corp_id = $1 AND user_id = $2",
        corp_id,
        user_id,
    )
    await connection.execute(
        """
        INSERT INTO identity.recovery_codes (corp_id, user_id, code_hash)
        SELECT $1, $2, code_hash FROM unnest($3::bytea[]) AS code (code_hash)
        """,
        corp_id,
        user_id,
        list(code_hashes),
    )


async def claim_recovery_code(
    connection: Connection, corp_id: str, user_id: str, code_hash: bytes
) -> bool:
    """Use the recovery code up; False if there is none such."""
    claimed = await connection.fetchval(
        """
        DELETE FROM identity.recovery_codes
         WHERE corp_id = $1 AND user_id = $2 AND code_hash = $3
        RETURNING true
        """,
        corp_id,
        user_id,
        code_hash,
    )
    return claimed is True


async def count_recovery_codes(connection: Connection, corp_id: str, user_id: str) -> int:
    """Return how many recovery codes are left."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM identity.recovery_codes WHERE corp_id = $1 AND user_id = $2",
        corp_id,
        user_id,
    )
    return count


async def find_policy(connection: Connection, corp_id: str) -> SignInPolicy:
    """Return the corp's policy, or the one that holds where none was set."""
    row = await connection.fetchrow(
        """
        SELECT second_factor_requirement, provider_counts_as_second_factor, change_number
          FROM identity.sign_in_policies
         WHERE corp_id = $1
        """,
        corp_id,
    )
    return SignInPolicy() if row is None else _read_policy(row)


async def lock_policy(connection: Connection, corp_id: str) -> SignInPolicy:
    """Return the corp's policy; nobody else changes it until the transaction ends."""
    await connection.execute(
        """
        INSERT INTO identity.sign_in_policies (corp_id, second_factor_requirement, change_number)
        VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT sign_in_policies_pkey
        -- Changes nothing and takes the row's lock.
        DO UPDATE SET change_number = sign_in_policies.change_number
        """,
        corp_id,
        SignInPolicy().requirement.value,
        SignInPolicy().change_number,
    )
    return await find_policy(connection, corp_id)


async def update_policy(connection: Connection, corp_id: str, policy: SignInPolicy) -> None:
    """Store the policy, which the caller has locked."""
    await connection.execute(
        """
        UPDATE identity.sign_in_policies
           SET second_factor_requirement = $2, provider_counts_as_second_factor = $3,
               change_number = $4
         WHERE corp_id = $1
        """,
        corp_id,
        policy.requirement.value,
        policy.provider_counts_as_second_factor,
        policy.change_number,
    )


def _read_policy(row: Record) -> SignInPolicy:
    if row["second_factor_requirement"] is None:
        return SignInPolicy()
    return SignInPolicy(
        requirement=Requirement(row["second_factor_requirement"]),
        provider_counts_as_second_factor=row["provider_counts_as_second_factor"],
        change_number=row["change_number"],
    )
