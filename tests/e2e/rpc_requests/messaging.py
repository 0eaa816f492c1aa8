"""How messaging's methods are called with the ids of a world's corp."""

from google.protobuf.message import Message

from e2e.rpc_requests.world import Request, World, new_id
from tieline.api.messaging.v1 import messaging_pb2
from tieline.api.messaging.v1 import messaging_service_pb2 as messaging

MODULES = (messaging,)


def _hello(world: World) -> messaging_pb2.OutgoingMessage:
    return messaging_pb2.OutgoingMessage(
        conversation_id=world.conversation_id,
        client_message_id=new_id(),
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text="hello")),
    )


REQUESTS: dict[str, Request] = {
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
    "MessagingService.BatchListMessages": lambda w: messaging.BatchListMessagesRequest(
        corp_id=w.corp_id,
        ranges=[messaging.MessageRangeRequest(conversation_id=w.conversation_id)],
    ),
    "MessagingService.Subscribe": lambda w: messaging.SubscribeRequest(corp_id=w.corp_id),
}

# What follows the first request of a client's stream.
FOLLOWING: dict[str, list[Message]] = {
    "MessagingService.SendMessages": [],
}
