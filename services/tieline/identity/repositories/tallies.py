"""How often something went wrong lately, and the addresses that accounts know."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tieline.chassis.command_tags import count_rows
from tieline.chassis.postgres import Connection
from tieline.identity.sign_in.lockout import LONGEST_MEMORY, Tally

TallyKey = tuple[str, bytes]
"""The corp, empty for none, and what is counted."""

# A device that is used daily has its address written once a day.
_KNOWN_ADDRESS_FRESH = dt.timedelta(days=1)
_KNOWN_ADDRESS_MEMORY = dt.timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is of some tallies, at ``now``."""

    found: Mapping[TallyKey, Tally]
    known_time: dt.datetime | None
    """When the account was last noted at the address; None for one that it does not know."""

    now: dt.datetime

    @property
    def is_address_fresh(self) -> bool:
        """Whether the address need not be noted again."""
        return self.known_time is not None and self.now - self.known_time < _KNOWN_ADDRESS_FRESH


async def find_tallies(
    connection: Connection,
    keys: Sequence[TallyKey],
    account: tuple[str, str],
    address_key: bytes,
) -> Seen:
    """Return those of the tallies, one or more, that there are, and what the account knows."""
    rows = await connection.fetch(
        """
        SELECT corp_id, tally_key, count, count_time, clock_timestamp() AS now,
               (SELECT use_time
                  FROM identity.known_addresses
                 WHERE corp_id = $3 AND user_id = $4 AND address_key = $5) AS known_time
          FROM unnest($1::text[], $2::bytea[]) AS asked (corp_id, tally_key)
          LEFT JOIN identity.sign_in_tallies USING (corp_id, tally_key)
        """,
        [corp_id for corp_id, _ in keys],
        [key for _, key in keys],
        *account,
        address_key,
    )
    found = {
        (row["corp_id"], row["tally_key"]): Tally(row["count"], row["count_time"])
        for row in rows
        if row["count"] is not None
    }
    return Seen(found, rows[0]["known_time"], rows[0]["now"])


async def lock_tallies(connection: Connection, keys: Sequence[TallyKey]) -> None:
    """Lock the tallies, which need not be there yet, in the order given.

    Keys come sorted, so that two attempts wait for each other instead of deadlocking.
    """
    await connection.execute(
        """
        INSERT INTO identity.sign_in_tallies (corp_id, tally_key, count, count_time)
        SELECT corp_id, tally_key, 0, now()
          FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY
               AS counted (corp_id, tally_key, number)
         ORDER BY number
        ON CONFLICT ON CONSTRAINT sign_in_tallies_pkey
        -- Changes nothing and takes the row's lock, in this order.
        DO UPDATE SET count = sign_in_tallies.count
        """,
        [corp_id for corp_id, _ in keys],
        [key for _, key in keys],
    )


async def update_tallies(connection: Connection, changed: Mapping[TallyKey, Tally]) -> None:
    """Store the tallies, which the caller has locked."""
    await connection.execute(
        """
        UPDATE identity.sign_in_tallies
           SET count = changed.count, count_time = changed.count_time
          FROM unnest($1::text[], $2::bytea[], $3::float8[], $4::timestamptz[])
               AS changed (corp_id, tally_key, count, count_time)
         WHERE sign_in_tallies.corp_id = changed.corp_id
           AND sign_in_tallies.tally_key = changed.tally_key
        """,
        [corp_id for corp_id, _ in changed],
        [key for _, key in changed],
        [tally.count for tally in changed.values()],
        [tally.time for tally in changed.values()],
    )


async def delete_tallies(connection: Connection, keys: Sequence[TallyKey]) -> None:
    """Forget what was counted."""
    await connection.execute(
        """
        DELETE FROM identity.sign_in_tallies
         WHERE (corp_id, tally_key) IN (SELECT * FROM unnest($1::text[], $2::bytea[]))
        """,
        [corp_id for corp_id, _ in keys],
        [key for _, key in keys],
    )


async def take_back_one(connection: Connection, keys: Sequence[TallyKey]) -> None:
    """Count one less of each: an attempt that turned out to be none."""
    await connection.execute(
        """
        UPDATE identity.sign_in_tallies
           SET count = greatest(count - 1, 0)
         WHERE (corp_id, tally_key) IN (SELECT * FROM unnest($1::text[], $2::bytea[]))
        """,
        [corp_id for corp_id, _ in keys],
        [key for _, key in keys],
    )


async def upsert_known_address(
    connection: Connection, corp_id: str, user_id: str, address_key: bytes
) -> None:
    """Note that the account was signed in to from the address."""
    await connection.execute(
        """
        INSERT INTO identity.known_addresses (corp_id, user_id, address_key)
        VALUES ($1, $2, $3)
        ON CONFLICT ON CONSTRAINT known_addresses_pkey
        DO UPDATE SET use_time = now()
        """,
        corp_id,
        user_id,
        address_key,
    )


async def delete_decayed(connection: Connection, *, maximum_rows: int) -> int:
    """Delete tallies of which nothing is left; return how many rows."""
    status = await connection.execute(
        """
        DELETE FROM identity.sign_in_tallies
         WHERE (corp_id, tally_key) IN (
               SELECT corp_id, tally_key
                 FROM identity.sign_in_tallies
                WHERE count_time < now() - $2::interval
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
        LONGEST_MEMORY,
    )
    return count_rows(status)


async def delete_forgotten_addresses(connection: Connection, *, maximum_rows: int) -> int:
    """Delete known addresses that were not used for long; return how many rows."""
    status = await connection.execute(
        """
        DELETE FROM identity.known_addresses
         WHERE (corp_id, user_id, address_key) IN (
               SELECT corp_id, user_id, address_key
                 FROM identity.known_addresses
                WHERE use_time < now() - $2::interval
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
        """,
        maximum_rows,
        _KNOWN_ADDRESS_MEMORY,
    )
    return count_rows(status)
