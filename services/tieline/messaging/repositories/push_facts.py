"""The SQL of what a push that is due is decided by, and shows."""

from collections.abc import Sequence

from tieline.api.messaging.v1 import push_service_pb2
from tieline.chassis.postgres import Connection, Record
from tieline.messaging.conversations.rules import Participant
from tieline.messaging.push.quiet_hours import read_quiet_hours
from tieline.messaging.push.rules import MAX_AGE, Facts, PushKey, Shown
from tieline.messaging.reading.rules import count_unread


async def list_facts(connection: Connection, keys: Sequence[PushKey]) -> dict[PushKey, Facts]:
    """Return what is known of each; nothing of devices and places that are gone.

    Nor of corps that are suspended or gone.
    """
    rows = await connection.fetch(
        """
        SELECT wanted.corp_id, wanted.session_id, wanted.conversation_id,
               target.kind, target.id, target.platform, target.token, target.locale,
               target.connected_time, setting.quiet_hours,
               setting.previews_hidden IS TRUE OR corp_setting.previews_hidden IS TRUE
               AS previews_hidden,
               conversation.kind AS conversation_kind, conversation.name,
               conversation.last_sequence, conversation.uncounted,
               place.sequence AS place_sequence,
               coalesce(joined.uncounted, state.read_uncounted, 0) AS place_uncounted,
               shown.sequence, shown.sender_kind, shown.sender_id, shown.content,
               shown.create_time, mention.sequence IS NOT NULL AS is_mention
          FROM unnest($1::text[], $2::text[], $3::text[])
               AS wanted (corp_id, session_id, conversation_id)
         CROSS JOIN LATERAL (
               SELECT kind, id, platform, token, locale, connected_time
                 FROM messaging.push_targets
                WHERE push_targets.corp_id = wanted.corp_id
                  AND push_targets.session_id = wanted.session_id
                LIMIT 1
         ) AS target
         CROSS JOIN LATERAL (
               SELECT joined_sequence, visible_from_sequence
                 FROM messaging.participants
                WHERE participants.corp_id = wanted.corp_id
                  AND participants.conversation_id = wanted.conversation_id
                  AND participants.kind = target.kind
                  AND participants.id = target.id
                LIMIT 1
         ) AS own
         CROSS JOIN LATERAL (
               SELECT kind, name, last_sequence, uncounted
                 FROM messaging.conversations
                WHERE conversations.corp_id = wanted.corp_id
                  AND conversations.conversation_id BETWEEN wanted.conversation_id
                                                        AND wanted.conversation_id
                ORDER BY conversations.conversation_id
                LIMIT 1
         ) AS conversation
          LEFT JOIN LATERAL (
               SELECT quiet_hours, previews_hidden
                 FROM messaging.push_settings
                WHERE push_settings.corp_id = wanted.corp_id
                  AND push_settings.kind = target.kind
                  AND push_settings.id = target.id
                LIMIT 1
         ) AS setting ON true
          LEFT JOIN LATERAL (
               SELECT previews_hidden
                 FROM messaging.corp_push_settings
                WHERE corp_push_settings.corp_id = wanted.corp_id
                LIMIT 1
         ) AS corp_setting ON true
          LEFT JOIN LATERAL (
               SELECT is_suspended OR delete_time IS NOT NULL AS is_closed
                 FROM messaging.corps
                WHERE corps.corp_id = wanted.corp_id
                LIMIT 1
         ) AS corp ON true
          LEFT JOIN LATERAL (
               SELECT read_sequence, read_uncounted,
                      muted AND (mute_until_time IS NULL OR mute_until_time > now()) AS is_muted
                 FROM messaging.reading_states
                WHERE reading_states.corp_id = wanted.corp_id
                  AND reading_states.kind = target.kind
                  AND reading_states.id = target.id
                  AND reading_states.conversation_id = wanted.conversation_id
                LIMIT 1
         ) AS state ON true
         CROSS JOIN LATERAL (
               SELECT greatest(state.read_sequence, own.joined_sequence) AS sequence
         ) AS place
          LEFT JOIN LATERAL (
               SELECT uncounted
                 FROM messaging.stored_messages
                WHERE stored_messages.corp_id = wanted.corp_id
                  AND stored_messages.conversation_id = wanted.conversation_id
                  AND stored_messages.sequence = own.joined_sequence
                  AND own.joined_sequence > coalesce(state.read_sequence, 0)
                LIMIT 1
         ) AS joined ON true
          LEFT JOIN LATERAL (
               -- Those of recalled messages are gone.
               SELECT newest.sequence
                 FROM (VALUES (target.kind, target.id), ('everyone', '')) AS meant (kind, id)
                CROSS JOIN LATERAL (
                      SELECT sequence
                        FROM messaging.mentions
                       WHERE mentions.corp_id = wanted.corp_id
                         AND mentions.conversation_id = wanted.conversation_id
                         AND mentions.kind = meant.kind
                         AND mentions.id = meant.id
                         AND mentions.sequence > place.sequence
                       ORDER BY mentions.sequence DESC
                       LIMIT 1
                ) AS newest
                ORDER BY newest.sequence DESC
                LIMIT 1
         ) AS mention ON true
          LEFT JOIN LATERAL (
               -- Notes have no client message id.
               SELECT sequence, sender_kind, sender_id, content, create_time
                 FROM messaging.stored_messages
                WHERE stored_messages.corp_id = wanted.corp_id
                  AND stored_messages.conversation_id = wanted.conversation_id
                  AND stored_messages.sequence > greatest(place.sequence,
                                                          own.visible_from_sequence)
                  AND stored_messages.create_time > now() - $4::interval
                  AND stored_messages.client_message_id <> ''
                  AND (stored_messages.sender_kind, stored_messages.sender_id)
                      <> (target.kind, target.id)
                  AND stored_messages.recall_time IS NULL
                  AND (state.is_muted IS NOT TRUE OR stored_messages.sequence = mention.sequence)
                ORDER BY stored_messages.sequence DESC
                LIMIT 1
         ) AS shown ON true
         WHERE corp.is_closed IS NOT TRUE
        """,
        [key.corp_id for key in keys],
        [key.session_id for key in keys],
        [key.conversation_id for key in keys],
        MAX_AGE,
    )
    return {
        PushKey(row["corp_id"], row["session_id"], row["conversation_id"]): _read(row)
        for row in rows
    }


def _read(row: Record) -> Facts:
    quiet_hours = None
    if row["quiet_hours"] is not None:
        given = push_service_pb2.QuietHours.FromString(row["quiet_hours"])
        quiet_hours = read_quiet_hours(given)
    shown = None
    if row["sequence"] is not None:
        shown = Shown(
            row["sequence"],
            Participant(row["sender_kind"], row["sender_id"]),
            row["content"],
            row["create_time"],
            row["is_mention"],
        )
    return Facts(
        person=Participant(row["kind"], row["id"]),
        platform=row["platform"],
        token=row["token"],
        locale=row["locale"],
        connected_time=row["connected_time"],
        quiet_hours=quiet_hours,
        previews_hidden=row["previews_hidden"],
        conversation_kind=row["conversation_kind"],
        conversation_name=row["name"],
        unread_count=count_unread(
            last_sequence=row["last_sequence"],
            uncounted=row["uncounted"],
            read_sequence=row["place_sequence"],
            read_uncounted=row["place_uncounted"],
        ),
        shown=shown,
    )
