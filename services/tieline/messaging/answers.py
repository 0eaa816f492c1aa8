"""What messaging answers other services over NATS."""

from typing import Any

from tieline.api.messaging.v1 import messaging_requests_pb2
from tieline.chassis.postgres import Pool
from tieline.chassis.requests import RequestHandler
from tieline.messaging.conversations.rules import find_participant
from tieline.messaging.repositories.participants import ParticipantRepository
from tieline.messaging.sending.batches import Screen


def build_handlers(pool: Pool, screen: Screen) -> dict[str, RequestHandler[Any, Any]]:
    """Return the handlers of ``requests.messaging.v1.*`` by method."""

    async def check_participant(
        request: messaging_requests_pb2.CheckParticipantRequest,
    ) -> messaging_requests_pb2.CheckParticipantResponse:
        # No for conversations that are not there.
        participant = find_participant(request.participant)
        if participant is None:
            return messaging_requests_pb2.CheckParticipantResponse()
        pair = ((request.corp_id, request.conversation_id), participant)
        async with pool.acquire() as connection:
            participating = await ParticipantRepository(connection).filter_participants([pair])
        if pair not in participating:
            return messaging_requests_pb2.CheckParticipantResponse()
        return messaging_requests_pb2.CheckParticipantResponse(
            participating=True, text_blocked=screen(request.corp_id, request.text).is_blocked
        )

    return {
        "check_participant": RequestHandler(
            messaging_requests_pb2.CheckParticipantRequest, check_participant
        )
    }
