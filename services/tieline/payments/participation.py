"""Asks messaging who is in a conversation, and may say something there.

Nothing is remembered: who is removed from a conversation can't open its red packets any more, from
the moment of the removal on.
"""

from tieline.api.messaging.v1 import messaging_requests_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.requests import ask
from tieline.payments.messages import to_principal_ref
from tieline.payments.red_packets import (
    Opener,
    RedPacketIntent,
    conversation_not_found_error,
    greeting_blocked_error,
)


class Participation:
    """Knows participants."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def has(self, corp_id: str, conversation_id: str, who: Opener) -> bool:
        """Return whether somebody is in a conversation; False as well if there is none.

        Raises UnavailableError while messaging does not answer.
        """
        return (await self._ask(corp_id, conversation_id, who)).participating

    async def check_giving(self, corp_id: str, who: Opener, intent: RedPacketIntent) -> None:
        """Refuse a packet for a conversation of others, or with a greeting that the corp blocks.

        Raises UnavailableError while messaging does not answer.
        """
        answer = await self._ask(corp_id, intent.conversation_id, who, intent.greeting)
        if not answer.participating:
            raise conversation_not_found_error(intent.conversation_id)
        if answer.text_blocked:
            raise greeting_blocked_error()

    async def _ask(
        self, corp_id: str, conversation_id: str, who: Opener, text: str = ""
    ) -> messaging_requests_pb2.CheckParticipantResponse:
        return await ask(
            self._broker,
            "messaging",
            "check_participant",
            messaging_requests_pb2.CheckParticipantRequest(
                corp_id=corp_id,
                conversation_id=conversation_id,
                participant=to_principal_ref(who),
                text=text,
            ),
            messaging_requests_pb2.CheckParticipantResponse,
        )
