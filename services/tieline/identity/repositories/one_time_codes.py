"""One-time codes, and the queue from which they are sent."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection
from tieline.identity.one_time_codes.rules import (
    LIFETIME,
    OneTimeCode,
    Purpose,
    Receiver,
    ReceiverKind,
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A code that is to be sent."""

    corp_id: str
    code_id: str
    purpose: Purpose
    receiver: Receiver
    user_id: str | None
    attempts: int
    """Those begun, this one included."""

    expire_time: dt.datetime


async def insert_code(
    connection: Connection, corp_id: str, code_id: str, purpose: Purpose, receiver: Receiver
) -> dt.datetime:
    """Put a code into the queue; return when it ends."""
    expire_time = await connection.fetchval(
        """
        INSERT INTO identity.one_time_codes
               (corp_id, code_id, purpose, receiver_kind, receiver, expire_time)
        VALUES ($1, $2, $3, $4, $5, now() + $6::interval)
        RETURNING expire_time
        """,
        corp_id,
        uuid.UUID(code_id),
        purpose.value,
        receiver.kind.value,
        receiver.address,
        LIFETIME,
    )
    assert isinstance(expire_time, dt.datetime), "INSERT … RETURNING gives the row"
    return expire_time


async def lock_code(connection: Connection, corp_id: str, code_id: str) -> OneTimeCode | None:
    """Lock the code until the transaction ends, so that attempts come one by one."""
    row = await connection.fetchrow(
        """
        SELECT purpose, receiver_kind, receiver, user_id, wrong_attempts, expire_time, use_time,
               delivery_state IN ('waiting', 'sent')
               AND (user_id IS NOT NULL
                    -- On its way: it may be read before the sender's answer is here.
                    OR (purpose = 'customer_sign_in' AND delivery_attempts > 0)) AS is_sent,
               clock_timestamp() AS now
          FROM identity.one_time_codes
         WHERE corp_id = $1 AND code_id = $2
           FOR UPDATE
        """,
        corp_id,
        uuid.UUID(code_id),
    )
    if row is None:
        return None
    return OneTimeCode(
        purpose=Purpose(row["purpose"]),
        receiver=Receiver(ReceiverKind(row["receiver_kind"]), row["receiver"]),
        user_id=row["user_id"],
        wrong_attempts=row["wrong_attempts"],
        expire_time=row["expire_time"],
        use_time=row["use_time"],
        is_sent=row["is_sent"],
        now=row["now"],
    )


async def count_wrong_attempt(connection: Connection, corp_id: str, code_id: str) -> None:
    """Count one; the code is locked."""
    await connection.execute(
        """
        UPDATE identity.one_time_codes
           SET wrong_attempts = wrong_attempts + 1
         WHERE corp_id = $1 AND code_id = $2
        """,
        corp_id,
        uuid.UUID(code_id),
    )


async def use_code(connection: Connection, corp_id: str, code_id: str) -> None:
    """Use the code up; it is locked."""
    await connection.execute(
        """
        UPDATE identity.one_time_codes SET use_time = now() WHERE corp_id = $1 AND code_id = $2
        """,
        corp_id,
        uuid.UUID(code_id),
    )


async def delete_codes_of(connection: Connection, corp_id: str, user_ids: Sequence[str]) -> None:
    """Delete the codes that were sent to these members.

    Before their accounts are locked: whoever uses a code locks it first, and then the account.
    """
    await connection.execute(
        "DELETE FROM identity.one_time_codes WHERE corp_id = $1 AND user_id = ANY($2::text[])",
        corp_id,
        list(user_ids),
    )


async def claim_delivery(connection: Connection, lease: dt.timedelta) -> Delivery | None:
    """Take the next code that is due; nobody else takes it until the lease is over."""
    row = await connection.fetchrow(
        """
        UPDATE identity.one_time_codes
           SET delivery_attempts = delivery_attempts + 1,
               next_attempt_time = now() + $1::interval
         WHERE (corp_id, code_id) IN (
               SELECT corp_id, code_id
                 FROM identity.one_time_codes
                WHERE delivery_state = 'waiting' AND next_attempt_time <= now()
                ORDER BY next_attempt_time
                LIMIT 1
                  FOR UPDATE SKIP LOCKED)
        RETURNING corp_id, code_id, purpose, receiver_kind, receiver, user_id, delivery_attempts,
                  expire_time
        """,
        lease,
    )
    if row is None:
        return None
    return Delivery(
        corp_id=row["corp_id"],
        code_id=str(row["code_id"]),
        purpose=Purpose(row["purpose"]),
        receiver=Receiver(ReceiverKind(row["receiver_kind"]), row["receiver"]),
        user_id=row["user_id"],
        attempts=row["delivery_attempts"],
        expire_time=row["expire_time"],
    )


async def settle_delivery(
    connection: Connection, delivery: Delivery, state: str, *, user_id: str | None
) -> None:
    """Record what became of it: ``sent``, ``unknown_receiver`` or ``dead``."""
    await connection.execute(
        """
        UPDATE identity.one_time_codes
           SET delivery_state = $3, user_id = $4
         WHERE corp_id = $1 AND code_id = $2
        """,
        delivery.corp_id,
        uuid.UUID(delivery.code_id),
        state,
        user_id,
    )


async def put_off_delivery(
    connection: Connection, delivery: Delivery, next_attempt_time: dt.datetime
) -> None:
    """Have it tried again at that time."""
    await connection.execute(
        """
        UPDATE identity.one_time_codes
           SET next_attempt_time = $3
         WHERE corp_id = $1 AND code_id = $2
        """,
        delivery.corp_id,
        uuid.UUID(delivery.code_id),
        next_attempt_time,
    )


async def delete_ended(connection: Connection, *, maximum_rows: int) -> int:
    """Delete codes that ended more than a day ago; return how many rows.

    Until then they tell whoever asks why a code never came.
    """
    status = await connection.execute(
        """
        DELETE FROM identity.one_time_codes
         WHERE (corp_id, code_id) IN (
               SELECT corp_id, code_id
                 FROM identity.one_time_codes
                WHERE expire_time < now() - interval '1 day'
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
    )
    return count_rows(status)
