"""How messaging's methods are called with the ids of a world's corp."""

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from e2e.rpc_requests.world import Request, World, new_id
from tieline.api.messaging.v1 import app_message_service_pb2 as app_messages
from tieline.api.messaging.v1 import archive_service_pb2 as archive
from tieline.api.messaging.v1 import compliance_service_pb2 as compliance
from tieline.api.messaging.v1 import (
    conversation_note_pb2,
    message_content_pb2,
    messaging_pb2,
)
from tieline.api.messaging.v1 import conversation_service_pb2 as conversation
from tieline.api.messaging.v1 import media_service_pb2 as media
from tieline.api.messaging.v1 import message_service_pb2 as message
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging
from tieline.api.messaging.v1 import push_service_pb2 as push
from tieline.api.messaging.v1 import reading_service_pb2 as reading
from tieline.api.messaging.v1 import scheduled_message_service_pb2 as scheduled
from tieline.api.messaging.v1 import search_service_pb2 as search
from tieline.api.messaging.v1 import sensitive_word_service_pb2 as words

MODULES = (
    app_messages,
    archive,
    compliance,
    conversation,
    media,
    message,
    messaging,
    push,
    reading,
    scheduled,
    search,
    words,
)


def _hello(world: World) -> messaging_pb2.OutgoingMessage:
    return messaging_pb2.OutgoingMessage(
        conversation_id=world.conversation_id,
        client_message_id=new_id(),
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="hello")),
    )


def _scheduled(world: World) -> scheduled.ScheduledMessage:
    message = build_scheduled(world.conversation_id)
    message.scheduled_message_id = world.scheduled_message_id
    return message


def build_scheduled(conversation_id: str) -> scheduled.ScheduledMessage:
    return scheduled.ScheduledMessage(
        conversation_id=conversation_id,
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="later")),
        schedule=scheduled.Schedule(
            frequency=scheduled.SCHEDULE_FREQUENCY_DAILY,
            time_zone="Asia/Shanghai",
            first_date="2026-01-01",
            time_of_day="09:00",
        ),
    )


def _one(world: World) -> dict[str, Any]:
    return {"corp_id": world.corp_id, "conversation_id": world.conversation_id, "sequence": 1}


def _card() -> message_content_pb2.TemplateCardContent:
    return message_content_pb2.TemplateCardContent(
        kind=message_content_pb2.TEMPLATE_CARD_KIND_TEXT_NOTICE,
        title="News",
        card_url="https://example.com/",
    )


REQUESTS: dict[str, Request] = {
    "AppMessageService.SendAppMessage": lambda w: app_messages.SendAppMessageRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        audience=app_messages.AppMessageAudience(user_ids=[w.colleague_id]),
        content=_hello(w).content,
    ),
    "AppMessageService.GetAppMessageJob": lambda w: app_messages.GetAppMessageJobRequest(
        corp_id=w.corp_id, job_id=new_id()
    ),
    "AppMessageService.ListAppMessageJobs": lambda w: app_messages.ListAppMessageJobsRequest(
        corp_id=w.corp_id
    ),
    "AppMessageService.ListFailedRecipients": lambda w: app_messages.ListFailedRecipientsRequest(
        corp_id=w.corp_id, job_id=new_id()
    ),
    "AppMessageService.RecallAppMessage": lambda w: app_messages.RecallAppMessageRequest(
        corp_id=w.corp_id, job_id=new_id()
    ),
    "AppMessageService.UpdateCard": lambda w: app_messages.UpdateCardRequest(
        request_id=new_id(), corp_id=w.corp_id, response_code="c" * 32, card=_card()
    ),
    "AppMessageService.ListCardResponses": lambda w: app_messages.ListCardResponsesRequest(
        corp_id=w.corp_id
    ),
    "MessageService.EditMessage": lambda w: message.EditMessageRequest(
        **_one(w), content=_hello(w).content
    ),
    "MessageService.ListEdits": lambda w: message.ListEditsRequest(**_one(w)),
    "MessageService.RecallMessage": lambda w: message.RecallMessageRequest(**_one(w)),
    "MessageService.SetReaction": lambda w: message.SetReactionRequest(**_one(w), reaction="+1"),
    "MessageService.ListReactions": lambda w: message.ListReactionsRequest(**_one(w)),
    "MessageService.SetPin": lambda w: message.SetPinRequest(**_one(w)),
    "MessageService.ListPins": lambda w: message.ListPinsRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "MessageService.ForwardMessages": lambda w: message.ForwardMessagesRequest(
        corp_id=w.corp_id,
        conversation_id=w.conversation_id,
        sequences=[1],
        to_conversation_ids=[w.conversation_id],
        client_message_id=new_id(),
    ),
    "MessageService.AnswerMessage": lambda w: message.AnswerMessageRequest(
        **_one(w), choices=[message.AnswerChoice(option_keys=["yes"])]
    ),
    "MessageService.GetAnswers": lambda w: message.GetAnswersRequest(**_one(w)),
    "ConversationService.UpdateSettings": lambda w: conversation.UpdateSettingsRequest(
        corp_id=w.corp_id,
        conversation_id=w.conversation_id,
        settings=conversation_note_pb2.ConversationSettings(muted=True),
        update_mask=FieldMask(paths=["muted"]),
    ),
    "ConversationService.AddParticipants": lambda w: conversation.AddParticipantsRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id, user_ids=[w.colleague_id]
    ),
    "ConversationService.RemoveParticipants": lambda w: conversation.RemoveParticipantsRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id, user_ids=[w.colleague_id]
    ),
    "ConversationService.LeaveConversation": lambda w: conversation.LeaveConversationRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "ConversationService.UpdateParticipantRole": (
        lambda w: conversation.UpdateParticipantRoleRequest(
            corp_id=w.corp_id,
            conversation_id=w.conversation_id,
            user_id=w.colleague_id,
            role=conversation_note_pb2.PARTICIPANT_ROLE_ADMIN,
        )
    ),
    "ConversationService.TransferConversation": (
        lambda w: conversation.TransferConversationRequest(
            corp_id=w.corp_id, conversation_id=w.conversation_id, user_id=w.colleague_id
        )
    ),
    "ConversationService.DismissConversation": lambda w: conversation.DismissConversationRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "ConversationService.CreateJoinCode": lambda w: conversation.CreateJoinCodeRequest(
        request_id=new_id(), corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "ConversationService.ListJoinCodes": lambda w: conversation.ListJoinCodesRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "ConversationService.DeleteJoinCode": lambda w: conversation.DeleteJoinCodeRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id, code="0" * 16
    ),
    "ConversationService.JoinConversation": lambda w: conversation.JoinConversationRequest(
        corp_id=w.corp_id, code="0" * 16
    ),
    "ConversationService.ListJoinRequests": lambda w: conversation.ListJoinRequestsRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "ConversationService.DecideJoinRequest": lambda w: conversation.DecideJoinRequestRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id, user_id=w.colleague_id
    ),
    "ConversationService.OpenAppConversation": lambda w: conversation.OpenAppConversationRequest(
        corp_id=w.corp_id, user_id=w.colleague_id
    ),
    "MessagingService.CreateConversation": lambda w: messaging.CreateConversationRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        kind=messaging_pb2.CONVERSATION_KIND_DIRECT,
        user_ids=[w.colleague_id],
    ),
    "MessagingService.GetConversation": lambda w: messaging.GetConversationRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "MessagingService.ListConversations": lambda w: messaging.ListConversationsRequest(
        corp_id=w.corp_id
    ),
    "MessagingService.ListParticipants": lambda w: messaging.ListParticipantsRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "MessagingService.SendMessage": lambda w: messaging.SendMessageRequest(
        corp_id=w.corp_id,
        conversation_id=w.conversation_id,
        client_message_id=new_id(),
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="hello")),
    ),
    "MessagingService.BatchSendMessages": lambda w: messaging.BatchSendMessagesRequest(
        corp_id=w.corp_id, messages=[_hello(w)]
    ),
    "MessagingService.SendMessages": lambda w: messaging.SendMessagesRequest(
        corp_id=w.corp_id, messages=[_hello(w)]
    ),
    "MessagingService.ListMessages": lambda w: messaging.ListMessagesRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "ArchiveService.ListArchiveEntries": lambda w: archive.ListArchiveEntriesRequest(
        corp_id=w.corp_id, cursor=w.archive_cursor
    ),
    "ArchiveService.AcknowledgeArchive": lambda w: archive.AcknowledgeArchiveRequest(
        corp_id=w.corp_id, consumer_id="e2e", cursor=w.archive_cursor
    ),
    "ArchiveService.ExportArchive": lambda w: archive.ExportArchiveRequest(corp_id=w.corp_id),
    "ArchiveService.DownloadArchivedMedia": lambda w: archive.DownloadArchivedMediaRequest(
        corp_id=w.corp_id, media_id=w.media_id
    ),
    "SensitiveWordService.UpdateSensitiveWords": lambda w: words.UpdateSensitiveWordsRequest(
        corp_id=w.corp_id,
        words=[words.SensitiveWord(word="x", action=words.SENSITIVE_WORD_ACTION_BLOCK)],
    ),
    "SensitiveWordService.ListSensitiveWords": lambda w: words.ListSensitiveWordsRequest(
        corp_id=w.corp_id
    ),
    "SensitiveWordService.ListFlaggedMessages": lambda w: words.ListFlaggedMessagesRequest(
        corp_id=w.corp_id
    ),
    "ComplianceService.SetRetentionPolicy": lambda w: compliance.SetRetentionPolicyRequest(
        corp_id=w.corp_id, conversation_kind=messaging_pb2.CONVERSATION_KIND_GROUP, keep_days=90
    ),
    "ComplianceService.ListRetentionPolicies": (
        lambda w: compliance.ListRetentionPoliciesRequest(corp_id=w.corp_id)
    ),
    "ComplianceService.CreateLegalHold": lambda w: compliance.CreateLegalHoldRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        scope=compliance.LEGAL_HOLD_SCOPE_CONVERSATION,
        target_id=w.conversation_id,
        reason="case 7",
    ),
    "ComplianceService.ReleaseLegalHold": lambda w: compliance.ReleaseLegalHoldRequest(
        corp_id=w.corp_id, hold_id=w.hold_id
    ),
    "ComplianceService.ListLegalHolds": lambda w: compliance.ListLegalHoldsRequest(
        corp_id=w.corp_id
    ),
    "MessagingService.BatchListMessages": lambda w: messaging.BatchListMessagesRequest(
        corp_id=w.corp_id,
        ranges=[messaging.MessageRangeRequest(conversation_id=w.conversation_id)],
    ),
    "MediaService.BeginUpload": lambda w: media.BeginUploadRequest(
        request_id=new_id(),
        corp_id=w.corp_id,
        kind=media.MEDIA_KIND_FILE,
        name="plan.txt",
        size_bytes=100,
        sha256=bytes(32),
    ),
    "MediaService.GetUpload": lambda w: media.GetUploadRequest(
        corp_id=w.corp_id, upload_id=w.upload_id
    ),
    "MediaService.UploadMedia": lambda w: media.UploadMediaRequest(
        header=media.UploadHeader(corp_id=w.corp_id, upload_id=w.upload_id)
    ),
    "MediaService.GetMedia": lambda w: media.GetMediaRequest(
        corp_id=w.corp_id, media_id=w.media_id
    ),
    "MediaService.DownloadMedia": lambda w: media.DownloadMediaRequest(
        corp_id=w.corp_id, media_id=w.media_id
    ),
    "ReadingService.MarkRead": lambda w: reading.MarkReadRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id, delivered_sequence=1
    ),
    "ReadingService.MuteConversation": lambda w: reading.MuteConversationRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id, muted=True
    ),
    "ReadingService.PinConversation": lambda w: reading.PinConversationRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id, pinned=True
    ),
    "ReadingService.SaveDraft": lambda w: reading.SaveDraftRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "ReadingService.ListReadingStates": lambda w: reading.ListReadingStatesRequest(
        corp_id=w.corp_id
    ),
    "ReadingService.ListReaders": lambda w: reading.ListReadersRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id, sequence=1
    ),
    "ReadingService.LookAt": lambda w: reading.LookAtRequest(
        corp_id=w.corp_id, subscription_id="one", conversation_id=w.conversation_id
    ),
    "ReadingService.ShowTyping": lambda w: reading.ShowTypingRequest(
        corp_id=w.corp_id, conversation_id=w.conversation_id
    ),
    "PushService.RegisterPushTarget": lambda w: push.RegisterPushTargetRequest(
        corp_id=w.corp_id, platform=push.PUSH_PLATFORM_OTHER, token="token"
    ),
    "PushService.UnregisterPushTarget": lambda w: push.UnregisterPushTargetRequest(
        corp_id=w.corp_id
    ),
    "PushService.ListPushTargets": lambda w: push.ListPushTargetsRequest(corp_id=w.corp_id),
    "PushService.SetQuietHours": lambda w: push.SetQuietHoursRequest(corp_id=w.corp_id),
    "PushService.GetQuietHours": lambda w: push.GetQuietHoursRequest(corp_id=w.corp_id),
    "PushService.SetPushPreviews": lambda w: push.SetPushPreviewsRequest(corp_id=w.corp_id),
    "PushService.GetPushPreviews": lambda w: push.GetPushPreviewsRequest(corp_id=w.corp_id),
    "PushService.SetCorpPushPreviews": lambda w: push.SetCorpPushPreviewsRequest(corp_id=w.corp_id),
    "SearchService.SearchMessages": lambda w: search.SearchMessagesRequest(
        corp_id=w.corp_id, query="hello", conversation_id=w.conversation_id
    ),
    "MessagingService.Subscribe": lambda w: messaging.SubscribeRequest(corp_id=w.corp_id),
    "ScheduledMessageService.CreateScheduledMessage": (
        lambda w: scheduled.CreateScheduledMessageRequest(
            request_id=new_id(), corp_id=w.corp_id, scheduled_message=_scheduled(w)
        )
    ),
    "ScheduledMessageService.GetScheduledMessage": lambda w: scheduled.GetScheduledMessageRequest(
        corp_id=w.corp_id, scheduled_message_id=w.scheduled_message_id
    ),
    "ScheduledMessageService.ListScheduledMessages": (
        lambda w: scheduled.ListScheduledMessagesRequest(corp_id=w.corp_id)
    ),
    "ScheduledMessageService.UpdateScheduledMessage": (
        lambda w: scheduled.UpdateScheduledMessageRequest(
            corp_id=w.corp_id,
            scheduled_message=_scheduled(w),
            update_mask=FieldMask(paths=["content"]),
        )
    ),
    "ScheduledMessageService.CancelScheduledMessage": (
        lambda w: scheduled.CancelScheduledMessageRequest(
            corp_id=w.corp_id, scheduled_message_id=w.scheduled_message_id
        )
    ),
}

# What follows the first request of a client's stream.
FOLLOWING: dict[str, list[Message]] = {
    "MessagingService.SendMessages": [],
    "MediaService.UploadMedia": [media.UploadMediaRequest(chunk=b"more")],
}
