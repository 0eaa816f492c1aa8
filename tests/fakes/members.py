"""Stands for directory where messaging asks it who is a member."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.chassis.errors import UnavailableError
from tieline.chassis.requests import RequestHandler, answering


class FakeMembers:
    """Knows everybody except those whom a test takes away."""

    def __init__(self) -> None:
        self.missing: set[tuple[str, str]] = set()
        """``(corp_id, user_id)`` of people who are not members."""

        self.out_of_range: set[tuple[str, str, str]] = set()
        """``(corp_id, agent_id, user_id)`` of members whom an app does not reach."""

        self.away_corp_ids: set[str] = set()
        """Corps for which the directory is away."""

        self.people: dict[tuple[str, str], list[str]] = {}
        """User ids of ``everybody``, ``department 5``, ``tag 7`` of a corp; what is not here is not
        there."""

    @asynccontextmanager
    async def answering(self, broker: Client) -> AsyncIterator[None]:
        """Answer messaging's questions; ``broker`` is directory's user."""
        handlers: dict[str, RequestHandler[Any, Any]] = {
            "find_missing_members": RequestHandler(
                directory_requests_pb2.FindMissingMembersRequest, self._find_missing_members
            ),
            "check_audience": RequestHandler(
                directory_requests_pb2.CheckAudienceRequest, self._check_audience
            ),
            "list_audience": RequestHandler(
                directory_requests_pb2.ListAudienceRequest, self._list_audience
            ),
        }
        async with answering(broker, "directory", handlers):
            yield

    async def _find_missing_members(
        self, request: directory_requests_pb2.FindMissingMembersRequest
    ) -> directory_requests_pb2.FindMissingMembersResponse:
        self._require_there(request.corp_id)
        return directory_requests_pb2.FindMissingMembersResponse(
            missing_user_ids=[
                user_id
                for user_id in request.user_ids
                if (request.corp_id, user_id) in self.missing
            ]
        )

    async def _check_audience(
        self, request: directory_requests_pb2.CheckAudienceRequest
    ) -> directory_requests_pb2.CheckAudienceResponse:
        self._require_there(request.corp_id)
        corp_id, audience = request.corp_id, request.audience
        return directory_requests_pb2.CheckAudienceResponse(
            invalid_user_ids=[
                each
                for each in audience.user_ids
                if (corp_id, each) in self.missing
                or (corp_id, request.agent_id, each) in self.out_of_range
            ],
            invalid_department_ids=[
                each
                for each in audience.department_ids
                if (corp_id, f"department {each}") not in self.people
            ],
            invalid_tag_ids=[
                each for each in audience.tag_ids if (corp_id, f"tag {each}") not in self.people
            ],
        )

    async def _list_audience(
        self, request: directory_requests_pb2.ListAudienceRequest
    ) -> directory_requests_pb2.ListAudienceResponse:
        self._require_there(request.corp_id)
        audience = request.audience
        named = {each for each in audience.user_ids if (request.corp_id, each) not in self.missing}
        names = [f"department {each}" for each in audience.department_ids]
        names += [f"tag {each}" for each in audience.tag_ids]
        names += ["everybody"] * audience.everybody
        for name in names:
            named.update(self.people.get((request.corp_id, name), ()))
        following = sorted(each for each in named if each > request.after_user_id)
        return directory_requests_pb2.ListAudienceResponse(user_ids=following[: request.limit])

    def _require_there(self, corp_id: str) -> None:
        if corp_id in self.away_corp_ids:
            raise UnavailableError("SERVICE_UNAVAILABLE", "away", {"service": "directory"})
