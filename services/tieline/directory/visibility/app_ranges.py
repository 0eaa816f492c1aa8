"""The visible ranges of apps: a port, and identity behind it.

The directory keeps what identity answered until identity's event tells that the app was changed.
"""

from typing import Protocol

from tieline.api.identity.v1 import identity_requests_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.errors import NotFoundError
from tieline.chassis.requests import ask
from tieline.directory.members.rules import member_key
from tieline.directory.visibility.decision import NOBODY, Scope


class AppRanges(Protocol):
    """Knows which part of a corp an app may see."""

    async def fetch(self, corp_id: str, agent_id: str) -> Scope:
        """Return it; nobody for an app that is not there."""
        ...


class IdentityAppRanges:
    """Asks identity."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def fetch(self, corp_id: str, agent_id: str) -> Scope:
        """Return the app's visible range, or raise what keeps identity from answering."""
        request = identity_requests_pb2.GetAppRangeRequest(corp_id=corp_id, agent_id=int(agent_id))
        try:
            response = await ask(
                self._broker,
                "identity",
                "get_app_range",
                request,
                identity_requests_pb2.GetAppRangeResponse,
            )
        except NotFoundError:
            return NOBODY
        found = response.visible_range
        return Scope(
            user_ids=frozenset(member_key(user_id) for user_id in found.user_ids),
            department_ids=frozenset(found.department_ids),
            tag_ids=frozenset(found.tag_ids),
        )
