"""Asks messaging who is in a conversation.

Nothing is remembered: who is removed from a conversation can't open its red packets any more, from
the moment of the removal on.
"""

from tieline.api.messaging.v1 import messaging_requests_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.requests import ask
from tieline.payments.messages import to_principal_ref
from tieline.payments.red_packets import Opener


class Participation:
    """Knows participants."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def has(self, corp_id: str, conversation_id: str, who: Opener) -> bool:
        """Return whether somebody is in a conversation; False as well if there is none.

        Raises UnavailableError while messaging does not answer.
        """
        response = await ask(
            self._broker,
            "messaging",
            "check_participant",
            messaging_requests_pb2.CheckParticipantRequest(
                corp_id=corp_id,
                conversation_id=conversation_id,
                participant=to_principal_ref(who),
            ),
            messaging_requests_pb2.CheckParticipantResponse,
        )
        return response.participating
