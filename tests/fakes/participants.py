"""Stands for messaging where a service asks it who is in a conversation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client

from tieline.api.messaging.v1 import messaging_requests_pb2
from tieline.chassis.requests import RequestHandler, answering


class FakeParticipants:
    """Knows the participants that the test names."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str]] = set()
        self.questions = 0
        self.blocked_word: str | None = None
        """What no text may have."""

    def admit(self, corp_id: str, conversation_id: str, *ids: str) -> None:
        """Put members or customers into a conversation."""
        self._known |= {(corp_id, conversation_id, id_) for id_ in ids}

    def remove(self, corp_id: str, conversation_id: str, id_: str) -> None:
        """Take somebody out of a conversation."""
        self._known.discard((corp_id, conversation_id, id_))

    @asynccontextmanager
    async def answering(self, broker: Client) -> AsyncIterator[None]:
        """Answer ``check_participant``; ``broker`` is messaging's user."""
        handler = RequestHandler(
            messaging_requests_pb2.CheckParticipantRequest, self._check_participant
        )
        async with answering(broker, "messaging", {"check_participant": handler}):
            yield

    async def _check_participant(
        self, request: messaging_requests_pb2.CheckParticipantRequest
    ) -> messaging_requests_pb2.CheckParticipantResponse:
        self.questions += 1
        key = (request.corp_id, request.conversation_id, request.participant.id)
        is_known = key in self._known
        word = self.blocked_word
        return messaging_requests_pb2.CheckParticipantResponse(
            participating=is_known,
            text_blocked=is_known and word is not None and word in request.text,
        )
