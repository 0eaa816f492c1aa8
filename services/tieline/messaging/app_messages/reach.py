"""Whom apps reach: messaging's questions to directory and identity."""

from collections.abc import Sequence

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.api.identity.v1 import identity_requests_pb2
from tieline.api.messaging.v1 import app_message_service_pb2
from tieline.chassis.admission.priorities import LOWEST_PRIORITY
from tieline.chassis.broker import Broker
from tieline.chassis.errors import NotFoundError
from tieline.chassis.requests import ask

Audience = app_message_service_pb2.AppMessageAudience


class AppReach:
    """Asks the directory whom an app reaches, and identity whether it may."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def is_enabled(self, corp_id: str, app_id: str, *, can_wait: bool = True) -> bool:
        """Return whether the app is there and not disabled."""
        request = identity_requests_pb2.GetAppRangeRequest(corp_id=corp_id, agent_id=int(app_id))
        try:
            response = await ask(
                self._broker,
                "identity",
                "get_app_range",
                request,
                identity_requests_pb2.GetAppRangeResponse,
                priority=LOWEST_PRIORITY if can_wait else None,
            )
        except NotFoundError:
            return False
        return not response.disabled

    async def find_invalid(
        self, corp_id: str, app_id: str, audience: Audience
    ) -> app_message_service_pb2.InvalidAudience:
        """Return what of the audience the app can't reach."""
        if audience.everybody:
            return app_message_service_pb2.InvalidAudience()
        response = await ask(
            self._broker,
            "directory",
            "check_audience",
            directory_requests_pb2.CheckAudienceRequest(
                corp_id=corp_id, agent_id=app_id, audience=_to_directory(audience)
            ),
            directory_requests_pb2.CheckAudienceResponse,
        )
        return app_message_service_pb2.InvalidAudience(
            user_ids=response.invalid_user_ids,
            department_ids=response.invalid_department_ids,
            tag_ids=response.invalid_tag_ids,
        )

    async def list_members(
        self, corp_id: str, app_id: str, audience: Audience, *, after: str, limit: int
    ) -> Sequence[str]:
        """Return the next members of the audience; asked as what can wait."""
        response = await ask(
            self._broker,
            "directory",
            "list_audience",
            directory_requests_pb2.ListAudienceRequest(
                corp_id=corp_id,
                agent_id=app_id,
                audience=_to_directory(audience),
                after_user_id=after,
                limit=limit,
            ),
            directory_requests_pb2.ListAudienceResponse,
            priority=LOWEST_PRIORITY,
        )
        return response.user_ids


def _to_directory(audience: Audience) -> directory_requests_pb2.Audience:
    return directory_requests_pb2.Audience(
        everybody=audience.everybody,
        user_ids=audience.user_ids,
        department_ids=audience.department_ids,
        tag_ids=audience.tag_ids,
    )
