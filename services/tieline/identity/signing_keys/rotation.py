"""The signing keys of this replica: read again and again, replaced when their time has come.

Every replica looks. Whoever takes the database's lock first does what is to be done, and the others
then find it done.
"""

import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from joserfc.jwk import OKPKey

from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.process import StartError
from tieline.chassis.repeating import repeating
from tieline.identity.repositories import signing_keys
from tieline.identity.signing_keys.rules import (
    SealBrokenError,
    SealedKey,
    build_sealed_key,
    choose_sign_time,
    find_signing_key,
    open_sealed_key,
    plan_key_changes,
)

# A withdrawn key signs no longer than this on another replica.
_REFRESH_INTERVAL_S = 10.0

logger = logging.getLogger(__name__)


class SigningKeys:
    """The keys as this replica last read them."""

    def __init__(
        self,
        pool: Pool,
        seal_key: bytes,
        *,
        lifetime: dt.timedelta,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._pool = pool
        self._seal_key = seal_key
        self._lifetime = lifetime
        self._clock = clock
        self._keys: Sequence[SealedKey] = ()
        self._opened: dict[str, OKPKey] = {}

    @property
    def keys(self) -> Sequence[SealedKey]:
        """All keys by the time from which on they sign."""
        return self._keys

    def find_key(self, time: dt.datetime) -> tuple[str, OKPKey]:
        """Return the id of the key that signs at this time, and the key."""
        key = find_signing_key(self._keys, time)
        return key.key_id, self._opened[key.key_id]

    async def refresh(self) -> None:
        """Read the keys, and first do what has to happen to them. Raises SealBrokenError."""
        async with self._pool.acquire() as connection:
            keys = await signing_keys.list_signing_keys(connection)
        if plan_key_changes(keys, self._clock(), self._lifetime):
            keys = await self._change()
        opened = {
            key.key_id: self._opened.get(key.key_id) or open_sealed_key(key, self._seal_key)
            for key in keys
        }
        self._keys, self._opened = keys, opened

    async def rotate(self, connection: Connection, *, withdraw: bool) -> SealedKey:
        """Make the next key in the caller's transaction, who refreshes after it; return the key.

        With ``withdraw`` it signs at once and all others are deleted; without, one that is on its
        way already is as good as a new one.
        """
        keys = await signing_keys.lock_signing_keys(connection)
        now = self._clock()
        if withdraw:
            await signing_keys.delete_signing_keys(connection, [key.key_id for key in keys])
            keys = ()
        if keys and keys[-1].sign_time > now:
            return keys[-1]
        return await self._insert(connection, choose_sign_time(keys, now))

    async def _change(self) -> Sequence[SealedKey]:
        async with transaction(self._pool) as connection:
            keys = await signing_keys.lock_signing_keys(connection)
            now = self._clock()
            # Another replica may have been here while this one waited.
            changes = plan_key_changes(keys, now, self._lifetime)
            await signing_keys.delete_signing_keys(connection, changes.over)
            if changes.is_next_due:
                await self._insert(connection, choose_sign_time(keys, now))
            return await signing_keys.list_signing_keys(connection)

    async def _insert(self, connection: Connection, sign_time: dt.datetime) -> SealedKey:
        key = build_sealed_key(self._seal_key, sign_time)
        await signing_keys.insert_signing_key(connection, key)
        logger.info("signing key %s signs from %s on", key.key_id, sign_time.isoformat())
        return key


@asynccontextmanager
async def rotating(keys: SigningKeys) -> AsyncIterator[None]:
    """Read the keys, making the first one where there is none, and keep them up to date."""
    try:
        await keys.refresh()
    except SealBrokenError:
        raise StartError(
            "the setting TIELINE_SECRET_KEY is not the one that identity was first started with "
            "on this database: its signing keys can't be decrypted; set it to that one"
        ) from None
    async with repeating(
        "the look at the signing keys", keys.refresh, interval_s=_REFRESH_INTERVAL_S
    ):
        yield
