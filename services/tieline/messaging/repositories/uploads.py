"""The SQL of uploads that are not complete: how far each is, and who adds to it."""

import datetime as dt
from collections.abc import Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.media.rules import NewMedium, Upload
from tieline.messaging.repositories.media import MediaKey, build_medium


class UploadRepository:
    """Uploads that are not complete."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def count_of(self, corp_id: str, owner: Participant) -> int:
        """Return how many uploads of a person are not complete."""
        count: int = await self._connection.fetchval(
            """
            SELECT count(*)
              FROM messaging.media_uploads
             WHERE corp_id = $1 AND owner_kind = $2 AND owner_id = $3 AND expire_time > now()
            """,
            corp_id,
            owner.kind,
            owner.id,
        )
        return count

    async def insert_upload(
        self,
        key: MediaKey,
        owner: Participant,
        medium: NewMedium,
        *,
        lifetime: dt.timedelta,
    ) -> dt.datetime:
        """Begin an upload; return when it expires."""
        expire_time: dt.datetime = await self._connection.fetchval(
            """
            INSERT INTO messaging.media_uploads
                   (corp_id, upload_id, owner_kind, owner_id, kind, name, size_bytes, sha256,
                    expire_time)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9::interval)
            RETURNING expire_time
            """,
            *key,
            owner.kind,
            owner.id,
            medium.kind.value,
            medium.name,
            medium.size_bytes,
            medium.sha256,
            lifetime,
        )
        return expire_time

    async def find_upload(self, key: MediaKey, owner: Participant) -> Upload | None:
        """Return an upload of this person's that has not expired."""
        row = await self._connection.fetchrow(
            """
            SELECT corp_id, upload_id, owner_kind, owner_id, kind, name, size_bytes, sha256,
                   offset_bytes, part_keys, expire_time
              FROM messaging.media_uploads
             WHERE corp_id = $1 AND upload_id = $2 AND owner_kind = $3 AND owner_id = $4
               AND expire_time > now()
            """,
            *key,
            owner.kind,
            owner.id,
        )
        return None if row is None else _build_upload(row)

    async def claim_upload(
        self, key: MediaKey, owner: Participant, claim_id: str, offset_bytes: int
    ) -> bool:
        """Make this stream the one that continues the upload, if it begins where that stands."""
        claimed = await self._connection.fetchval(
            """
            UPDATE messaging.media_uploads
               SET claim_id = $5
             WHERE corp_id = $1 AND upload_id = $2 AND owner_kind = $3 AND owner_id = $4
               AND offset_bytes = $6 AND expire_time > now()
            RETURNING true
            """,
            *key,
            owner.kind,
            owner.id,
            claim_id,
            offset_bytes,
        )
        return claimed is True

    async def add_part(
        self, key: MediaKey, claim_id: str, part_key: str, size_bytes: int
    ) -> Upload | None:
        """Count a part that is in the store; None if another stream has taken the upload over."""
        row = await self._connection.fetchrow(
            """
            UPDATE messaging.media_uploads
               SET part_keys = part_keys || $4::text, offset_bytes = offset_bytes + $5
             WHERE corp_id = $1 AND upload_id = $2 AND claim_id = $3 AND expire_time > now()
            RETURNING corp_id, upload_id, owner_kind, owner_id, kind, name, size_bytes, sha256,
                      offset_bytes, part_keys, expire_time
            """,
            *key,
            claim_id,
            part_key,
            size_bytes,
        )
        return None if row is None else _build_upload(row)

    async def delete_upload(self, key: MediaKey, claim_id: str) -> bool:
        """End an upload that this stream continued; False if another one has taken it over."""
        deleted = await self._connection.fetchval(
            """
            DELETE FROM messaging.media_uploads
             WHERE corp_id = $1 AND upload_id = $2 AND claim_id = $3
            RETURNING true
            """,
            *key,
            claim_id,
        )
        return deleted is True

    async def list_expired(self, *, grace: dt.timedelta, maximum_rows: int) -> Sequence[MediaKey]:
        """Return uploads that expired so long ago that no stream can still be completing them."""
        rows = await self._connection.fetch(
            """
            SELECT corp_id, upload_id
              FROM messaging.media_uploads
             WHERE expire_time < now() - $1::interval
             ORDER BY expire_time
             LIMIT $2
            """,
            grace,
            maximum_rows,
        )
        return [(row["corp_id"], str(row["upload_id"])) for row in rows]

    async def delete_expired(self, keys: Sequence[MediaKey]) -> None:
        """Forget uploads whose parts are gone; a repeat changes nothing."""
        await self._connection.execute(
            """
            DELETE FROM messaging.media_uploads
             USING unnest($1::text[], $2::uuid[]) AS gone (corp_id, upload_id)
             WHERE media_uploads.corp_id = gone.corp_id
               AND media_uploads.upload_id = gone.upload_id
               AND media_uploads.expire_time < now()
            """,
            [corp_id for corp_id, _ in keys],
            [upload_id for _, upload_id in keys],
        )


def _build_upload(row: Record) -> Upload:
    return Upload(
        row["corp_id"],
        str(row["upload_id"]),
        Participant(row["owner_kind"], row["owner_id"]),
        build_medium(row),
        row["offset_bytes"],
        tuple(row["part_keys"]),
        row["expire_time"],
    )
