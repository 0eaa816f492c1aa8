"""Messaging in memory, with a network that breaks when told to, for feeds under test."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from fakes.platform import FakePlatform, Refusal
from tieline.api.messaging.v1 import messaging_pb2, messaging_service_pb2

# Small, so that a handful of messages takes several pages.
PAGE_SIZE = 3


class FakeConversations:
    """Keeps messages by the promises that the proto makes, and breaks subscriptions on demand."""

    def __init__(self, platform: FakePlatform) -> None:
        self.messages: dict[str, list[messaging_pb2.Message]] = defaultdict(list)
        self.gone: set[str] = set()
        """Of these nothing can be listed."""

        self.open_subscriptions = 0
        self._live: set[asyncio.Queue[messaging_service_pb2.SubscribeResponse | None]] = set()
        platform.answers.update(
            ListConversations=self._list_conversations,
            ListMessages=self._list_messages,
            Subscribe=self._subscribe,
        )

    def store(self, conversation_id: str, text: str) -> messaging_pb2.Message:
        """Store and deliver a message."""
        message = self.lose(conversation_id, text)
        for queue in self._live:
            queue.put_nowait(messaging_service_pb2.SubscribeResponse(message=message))
        return message

    def lose(self, conversation_id: str, text: str) -> messaging_pb2.Message:
        """Store a message that no subscriber hears of."""
        message = messaging_pb2.Message(
            conversation_id=conversation_id, sequence=len(self.messages[conversation_id]) + 1
        )
        message.content.text.text = text
        self.messages[conversation_id].append(message)
        return message

    def join(self, conversation_id: str) -> None:
        """Tell subscribers of a conversation that they are in now."""
        joined = self._conversation(conversation_id)
        for queue in self._live:
            queue.put_nowait(messaging_service_pb2.SubscribeResponse(joined=joined))

    def leave(self, conversation_id: str) -> None:
        """Tell subscribers of a conversation that they are not in any more."""
        left = messaging_service_pb2.ConversationLeft(conversation_id=conversation_id)
        for queue in self._live:
            queue.put_nowait(messaging_service_pb2.SubscribeResponse(left=left))

    def break_subscriptions(self) -> None:
        """End every subscription, with whatever was not delivered yet."""
        for queue in self._live:
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)
        self._live.clear()

    async def _subscribe(
        self, request: Any, metadata: Mapping[str, str]
    ) -> AsyncIterator[messaging_service_pb2.SubscribeResponse]:
        queue: asyncio.Queue[messaging_service_pb2.SubscribeResponse | None] = asyncio.Queue()
        self._live.add(queue)
        self.open_subscriptions += 1
        try:
            started = messaging_service_pb2.SubscriptionStarted()
            yield messaging_service_pb2.SubscribeResponse(started=started)
            for rest in self._list_rest(request) if request.catch_up else ():
                yield rest
            while (update := await queue.get()) is not None:
                yield update
        finally:
            self.open_subscriptions -= 1
        raise Refusal(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", retry_after_s=0.01)

    def _list_rest(
        self, request: messaging_service_pb2.SubscribeRequest
    ) -> list[messaging_service_pb2.SubscribeResponse]:
        """Return messages of what the client holds, and what to fetch of the others."""
        response = messaging_service_pb2.SubscribeResponse
        held = {each.conversation_id: each.sequence for each in request.held}
        updates = [
            response(left=messaging_service_pb2.ConversationLeft(conversation_id=name))
            for name in held
            if name not in self.messages
        ]
        for name, stored in self.messages.items():
            if name in held:
                if held[name] > len(stored):
                    raise Refusal(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        "HELD_AHEAD",
                        metadata={"conversationId": name},
                    )
                rest = messaging_service_pb2.MessageBatch(messages=stored[held[name] :])
                if request.batches:
                    updates.append(response(messages=rest))
                else:
                    updates += [response(message=message) for message in rest.messages]
            else:
                fetch = messaging_service_pb2.ConversationToFetch(
                    conversation_id=name, last_sequence=len(stored)
                )
                updates.append(response(fetch=fetch))
        return [*updates, response(caught_up=messaging_service_pb2.CaughtUp())]

    def _list_conversations(
        self, request: messaging_service_pb2.ListConversationsRequest, metadata: Mapping[str, str]
    ) -> messaging_service_pb2.ListConversationsResponse:
        names = sorted(self.messages)
        begin = int(request.page_token or 0)
        end = begin + PAGE_SIZE
        return messaging_service_pb2.ListConversationsResponse(
            conversations=[self._conversation(name) for name in names[begin:end]],
            next_page_token=str(end) if end < len(names) else "",
        )

    def _list_messages(
        self, request: messaging_service_pb2.ListMessagesRequest, metadata: Mapping[str, str]
    ) -> messaging_service_pb2.ListMessagesResponse:
        if request.conversation_id in self.gone:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "CONVERSATION_NOT_FOUND")
        stored = self.messages[request.conversation_id]
        begin = request.after_sequence
        return messaging_service_pb2.ListMessagesResponse(
            messages=stored[begin : begin + PAGE_SIZE], last_sequence=len(stored)
        )

    def _conversation(self, conversation_id: str) -> messaging_pb2.Conversation:
        return messaging_pb2.Conversation(
            conversation_id=conversation_id, last_sequence=len(self.messages[conversation_id])
        )
