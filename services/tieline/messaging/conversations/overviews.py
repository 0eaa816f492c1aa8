"""What a list of conversations shows beside each: from rows to the wire."""

from tieline.api.messaging.v1 import messaging_pb2, reading_pb2
from tieline.chassis.fields import to_timestamp
from tieline.messaging.contents.texts import build_preview, find_kind
from tieline.messaging.conversations.rules import participant_to_proto
from tieline.messaging.reading.rules import count_unread, state_to_proto
from tieline.messaging.repositories.overviews import LastMessage, OverviewRow


def overview_to_proto(row: OverviewRow) -> reading_pb2.ConversationOverview:
    """Return the overview as the API shows it."""
    return reading_pb2.ConversationOverview(
        state=state_to_proto(row.state, row.now),
        unread_count=count_unread(
            last_sequence=row.last_sequence,
            uncounted=row.uncounted,
            read_sequence=row.read_sequence,
            read_uncounted=row.read_uncounted,
        ),
        mention_count=row.mention_count,
        preview=None if row.last_message is None else _build_preview(row.last_message),
    )


def _build_preview(message: LastMessage) -> reading_pb2.MessagePreview:
    content = messaging_pb2.MessageContent.FromString(message.content)
    return reading_pb2.MessagePreview(
        sequence=message.sequence,
        sender=participant_to_proto(message.sender),
        kind="" if message.is_recalled else find_kind(content),
        text="" if message.is_recalled else build_preview(content),
        create_time=to_timestamp(message.create_time),
        recalled=message.is_recalled,
    )
