"""Devices that wait to be let in by a QR code."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection, Record
from tieline.identity.qr_codes.rules import LIFETIME, QrSignIn, QrState
from tieline.identity.sessions.devices import Device


@dataclass(frozen=True, slots=True)
class NewQrSignIn:
    """A device that asks to be let in."""

    qr_id: str
    poll_secret_hash: bytes = field(repr=False)
    device: Device
    address: str


async def insert_qr_sign_in(connection: Connection, new: NewQrSignIn) -> dt.datetime:
    """Insert it; return when it ends."""
    expire_time = await connection.fetchval(
        """
        INSERT INTO identity.qr_sign_ins
               (qr_id, poll_secret_hash, device_name, device_platform, address, expire_time)
        VALUES ($1, $2, $3, $4, $5, now() + $6::interval)
        RETURNING expire_time
        """,
        uuid.UUID(new.qr_id),
        new.poll_secret_hash,
        new.device.name,
        new.device.platform,
        new.address,
        LIFETIME,
    )
    assert isinstance(expire_time, dt.datetime), "INSERT … RETURNING gives the row"
    return expire_time


async def lock_qr_sign_in(connection: Connection, qr_id: str) -> QrSignIn | None:
    """Lock the sign-in until the transaction ends; None where there is none or it is over."""
    row = await connection.fetchrow(
        """
        SELECT state, device_name, device_platform, address, corp_id, user_id, create_time,
               expire_time, session_id
          FROM identity.qr_sign_ins
         WHERE qr_id = $1 AND expire_time > clock_timestamp()
           FOR UPDATE
        """,
        uuid.UUID(qr_id),
    )
    return None if row is None else _read(row)


async def update_qr_sign_in(
    connection: Connection,
    qr_id: str,
    state: QrState,
    *,
    corp_id: str,
    user_id: str,
    session_id: uuid.UUID | None = None,
) -> None:
    """Store where it stands, and which of the member's sessions has brought it there.

    It is locked.
    """
    await connection.execute(
        """
        UPDATE identity.qr_sign_ins
           SET state = $2, corp_id = $3, user_id = $4, session_id = $5
         WHERE qr_id = $1
        """,
        uuid.UUID(qr_id),
        state.value,
        corp_id,
        user_id,
        session_id,
    )


async def find_poll_secret_hash(connection: Connection, qr_id: str) -> bytes | None:
    """Return the hash of what its watcher must know; None where it is over."""
    secret_hash: bytes | None = await connection.fetchval(
        """
        SELECT poll_secret_hash
          FROM identity.qr_sign_ins
         WHERE qr_id = $1 AND expire_time > clock_timestamp() AND state <> 'given'
        """,
        uuid.UUID(qr_id),
    )
    return secret_hash


async def list_states(connection: Connection, qr_ids: Sequence[str]) -> dict[str, QrState]:
    """Return where those that are not over stand."""
    rows = await connection.fetch(
        """
        SELECT qr_id, state
          FROM identity.qr_sign_ins
         WHERE qr_id = ANY($1::uuid[]) AND expire_time > clock_timestamp()
        """,
        [uuid.UUID(qr_id) for qr_id in qr_ids],
    )
    return {str(row["qr_id"]): QrState(row["state"]) for row in rows}


async def delete_ended(connection: Connection, *, maximum_rows: int) -> int:
    """Delete what is over; return how many rows."""
    status = await connection.execute(
        """
        DELETE FROM identity.qr_sign_ins
         WHERE qr_id IN (
               SELECT qr_id
                 FROM identity.qr_sign_ins
                WHERE expire_time < now()
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
    )
    return count_rows(status)


def _read(row: Record) -> QrSignIn:
    fields = dict(row)
    device = Device(fields.pop("device_name"), fields.pop("device_platform"))
    return QrSignIn(**{**fields, "state": QrState(row["state"]), "device": device})
