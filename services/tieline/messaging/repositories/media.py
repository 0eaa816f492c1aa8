"""The SQL of media: what is there, who may read it, which messages refer to it."""

import uuid
from collections.abc import Sequence

from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.media.rules import (
    TEMPORARY_LIFETIME,
    Media,
    MediaFacts,
    MediaKind,
    NewMedium,
    Upload,
)
from tieline.messaging.media.uses import can_be_looked_up

MediaKey = tuple[str, str]
"""``(corp_id, media_id)``"""


class MediaRepository:
    """Media and the references to them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def insert_media(self, upload: Upload, facts: MediaFacts) -> None:
        """Make a medium of an upload whose row the caller has deleted in this transaction."""
        medium = upload.medium
        await self._connection.execute(
            """
            INSERT INTO messaging.media
                   (corp_id, media_id, owner_kind, owner_id, kind, name, size_bytes, sha256,
                    content_type, width, height, duration_ms, thumbnail_size_bytes, expire_time)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
                    now() + $14::interval)
            """,
            upload.corp_id,
            upload.upload_id,
            upload.owner.kind,
            upload.owner.id,
            medium.kind.value,
            medium.name,
            medium.size_bytes,
            medium.sha256,
            facts.content_type,
            facts.width,
            facts.height,
            facts.duration_ms,
            len(facts.thumbnail),
            TEMPORARY_LIFETIME,
        )

    async def find_readable(self, key: MediaKey, reader: Participant) -> Media | None:
        """Return a medium that the reader uploaded or may read a message about; else None.

        Of what has expired only what a message refers to is left, or a scheduled one will; of a
        message that is gone for its readers it is for auditors alone.
        """
        row = await self._connection.fetchrow(
            """
            SELECT corp_id, media_id, owner_kind, owner_id, kind, name, size_bytes, sha256,
                   content_type, width, height, duration_ms, thumbnail_size_bytes, create_time,
                   expire_time
              FROM messaging.media
             WHERE corp_id = $1 AND media_id = $2 AND NOT is_removed
               AND ((owner_kind = $3 AND owner_id = $4 AND NOT is_withheld
                     AND (expire_time > now() OR EXISTS (
                        SELECT
                          FROM messaging.scheduled_media AS scheduled
                         WHERE scheduled.corp_id = media.corp_id
                           AND scheduled.media_id = media.media_id
                     )))
                    OR EXISTS (
                       SELECT
                         FROM messaging.media_references AS reference
                         JOIN messaging.participants
                           ON participants.corp_id = reference.corp_id
                          AND participants.conversation_id = reference.conversation_id
                          AND participants.kind = $3
                          AND participants.id = $4
                          AND participants.visible_from_sequence < reference.sequence
                        WHERE reference.corp_id = media.corp_id
                          AND reference.media_id = media.media_id
                          AND reference.is_readable
                    ))
            """,
            *key,
            reader.kind,
            reader.id,
        )
        return None if row is None else _build_media(row)

    async def find_archived(self, key: MediaKey) -> Media | None:
        """Return a medium that a message refers to, also one that is gone for its readers."""
        row = await self._connection.fetchrow(
            """
            SELECT corp_id, media_id, owner_kind, owner_id, kind, name, size_bytes, sha256,
                   content_type, width, height, duration_ms, thumbnail_size_bytes, create_time,
                   expire_time
              FROM messaging.media
             WHERE corp_id = $1 AND media_id = $2 AND NOT is_removed
               AND EXISTS (
                   SELECT
                     FROM messaging.media_references AS reference
                    WHERE reference.corp_id = media.corp_id
                      AND reference.media_id = media.media_id
               )
            """,
            *key,
        )
        return None if row is None else _build_media(row)

    async def lock_readable(
        self, wanted: Sequence[tuple[str, Participant, str]]
    ) -> dict[tuple[str, Participant], dict[str, MediaKind]]:
        """Return which of these media those people may read, by corp and person.

        ``wanted`` are corp, person and media id. What is returned stays until the transaction ends.
        Locked in the order of the keys; the purge waits for nobody.
        """
        asked = sorted({each for each in wanted if can_be_looked_up(each[2])})
        rows = await self._connection.fetch(
            """
            SELECT wanted.corp_id, wanted.person_kind, wanted.person_id, media.media_id, media.kind
              FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[])
                   AS wanted (corp_id, person_kind, person_id, media_id)
              JOIN messaging.media
                ON media.corp_id = wanted.corp_id AND media.media_id = wanted.media_id
             WHERE NOT media.is_removed
               AND ((media.owner_kind = wanted.person_kind AND media.owner_id = wanted.person_id
                     AND NOT media.is_withheld
                     AND (media.expire_time > now() OR EXISTS (
                        SELECT
                          FROM messaging.scheduled_media AS scheduled
                         WHERE scheduled.corp_id = media.corp_id
                           AND scheduled.media_id = media.media_id
                     )))
                    OR EXISTS (
                       SELECT
                         FROM messaging.media_references AS reference
                         JOIN messaging.participants
                           ON participants.corp_id = reference.corp_id
                          AND participants.conversation_id = reference.conversation_id
                          AND participants.kind = wanted.person_kind
                          AND participants.id = wanted.person_id
                          AND participants.visible_from_sequence < reference.sequence
                        WHERE reference.corp_id = media.corp_id
                          AND reference.media_id = media.media_id
                          AND reference.is_readable
                    ))
             ORDER BY media.corp_id, media.media_id
               FOR KEY SHARE OF media
            """,
            [corp_id for corp_id, _, _ in asked],
            [person.kind for _, person, _ in asked],
            [person.id for _, person, _ in asked],
            [media_id for _, _, media_id in asked],
        )
        readable: dict[tuple[str, Participant], dict[str, MediaKind]] = {}
        for row in rows:
            person = Participant(row["person_kind"], row["person_id"])
            found = readable.setdefault((row["corp_id"], person), {})
            found[str(row["media_id"])] = MediaKind(row["kind"])
        return readable

    async def find_owned(self, key: MediaKey, owner: Participant) -> Media | None:
        """Return a medium that this person uploaded; None for any other."""
        row = await self._connection.fetchrow(
            """
            SELECT corp_id, media_id, owner_kind, owner_id, kind, name, size_bytes, sha256,
                   content_type, width, height, duration_ms, thumbnail_size_bytes, create_time,
                   expire_time
              FROM messaging.media
             WHERE corp_id = $1 AND media_id = $2 AND owner_kind = $3 AND owner_id = $4
               AND NOT is_removed AND NOT is_withheld
            """,
            *key,
            owner.kind,
            owner.id,
        )
        return None if row is None else _build_media(row)

    async def remove_expired(self, *, maximum_rows: int) -> Sequence[MediaKey]:
        """Take media out of use that have expired and no message refers to, or will; return which.

        Also those that were taken out before and are still there. What a message refers to gets
        another while, so that it is not looked at each time; if only messages do that are gone for
        their readers, nobody but auditors opens it from now on. Whoever is just now sending a
        message about one of them holds its lock, and it is passed over. Looks first and locks by
        corp: Citus locks no rows across nodes.
        """
        expired = await self._connection.fetch(
            """
            SELECT corp_id, array_agg(media_id) AS media_ids
              FROM (SELECT corp_id, media_id
                      FROM messaging.media
                     WHERE expire_time < now()
                     ORDER BY expire_time
                     LIMIT $1) AS oldest
             GROUP BY corp_id
            """,
            maximum_rows,
        )
        removed: list[MediaKey] = []
        for row in expired:
            removed += await self._remove_unused(row["corp_id"], row["media_ids"])
        return removed

    async def _remove_unused(self, corp_id: str, media_ids: Sequence[uuid.UUID]) -> list[MediaKey]:
        locked = await self._connection.fetch(
            """
            SELECT media_id
              FROM messaging.media
             WHERE corp_id = $1 AND media_id = ANY ($2::uuid[]) AND expire_time < now()
               FOR UPDATE SKIP LOCKED
            """,
            corp_id,
            media_ids,
        )
        # A statement of its own: it sees the references that were committed before the locks.
        rows = await self._connection.fetch(
            """
            WITH expired AS (
                SELECT media_id,
                       EXISTS (
                           SELECT
                             FROM messaging.scheduled_media AS scheduled
                             JOIN messaging.scheduled_messages AS message
                               ON message.corp_id = scheduled.corp_id
                              AND message.scheduled_message_id = scheduled.scheduled_message_id
                              AND message.state = 'active'
                            WHERE scheduled.corp_id = $1
                              AND scheduled.media_id = media.media_id
                       ) AS is_scheduled,
                       (
                           SELECT max(reference.is_readable::integer)
                             FROM messaging.media_references AS reference
                            WHERE reference.corp_id = $1
                              AND reference.media_id = media.media_id
                       ) AS readable
                  FROM unnest($2::uuid[]) AS media (media_id)
            ), judged AS (
                SELECT media_id, NOT is_scheduled AND readable IS NULL AS is_unused,
                       NOT is_scheduled AND readable = 0 AS is_unread
                  FROM expired
            )
            UPDATE messaging.media
               SET is_removed = judged.is_unused,
                   is_withheld = coalesce(judged.is_unread, false),
                   expire_time = CASE WHEN judged.is_unused THEN media.expire_time
                                      ELSE now() + interval '1 day' END
              FROM judged
             WHERE media.corp_id = $1 AND media.media_id = judged.media_id
            RETURNING media.media_id, media.is_removed
            """,
            corp_id,
            [row["media_id"] for row in locked],
        )
        return [(corp_id, str(row["media_id"])) for row in rows if row["is_removed"]]

    async def delete_removed(self, keys: Sequence[MediaKey]) -> None:
        """Forget media whose bytes are gone."""
        await self._connection.execute(
            """
            DELETE FROM messaging.media
             USING unnest($1::text[], $2::uuid[]) AS gone (corp_id, media_id)
             WHERE media.corp_id = gone.corp_id AND media.media_id = gone.media_id
               AND media.is_removed
            """,
            [corp_id for corp_id, _ in keys],
            [media_id for _, media_id in keys],
        )


def build_medium(row: Record) -> NewMedium:
    """Return what a row of a medium or of its upload says of the file."""
    return NewMedium(MediaKind(row["kind"]), row["name"], row["size_bytes"], row["sha256"])


def _build_media(row: Record) -> Media:
    return Media(
        row["corp_id"],
        str(row["media_id"]),
        Participant(row["owner_kind"], row["owner_id"]),
        build_medium(row),
        row["content_type"],
        row["width"],
        row["height"],
        row["duration_ms"],
        row["thumbnail_size_bytes"],
        row["create_time"],
        row["expire_time"],
    )
