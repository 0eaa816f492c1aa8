"""What messaging answers other services over NATS."""

from tieline.api.messaging.v1 import messaging_requests_pb2
from tieline.chassis.postgres import Pool
from tieline.messaging.conversations import find_participant
from tieline.messaging.repositories.conversations import ConversationRepository


class MessagingAnswers:
    """The handlers of ``requests.messaging.v1.*``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check_participant(
        self, request: messaging_requests_pb2.CheckParticipantRequest
    ) -> messaging_requests_pb2.CheckParticipantResponse:
        """Tell whether somebody is in a conversation; no for conversations that are not there."""
        participant = find_participant(request.participant)
        if participant is None:
            return messaging_requests_pb2.CheckParticipantResponse()
        pair = ((request.corp_id, request.conversation_id), participant)
        async with self._pool.acquire() as connection:
            participating = await ConversationRepository(connection).filter_participants([pair])
        return messaging_requests_pb2.CheckParticipantResponse(participating=pair in participating)
