"""Stands for directory where messaging asks it who is a member."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.chassis.errors import UnavailableError
from tieline.chassis.requests import RequestHandler, answering


class FakeMembers:
    """Knows everybody except those whom a test takes away."""

    def __init__(self) -> None:
        self.missing: set[tuple[str, str]] = set()
        """``(corp_id, user_id)`` of people who are not members."""

        self.away_corp_ids: set[str] = set()
        """Corps for which the directory is away."""

    @asynccontextmanager
    async def answering(self, broker: Client) -> AsyncIterator[None]:
        """Answer ``find_missing_members``; ``broker`` is directory's user."""
        handler = RequestHandler(
            directory_requests_pb2.FindMissingMembersRequest, self._find_missing_members
        )
        async with answering(broker, "directory", {"find_missing_members": handler}):
            yield

    async def _find_missing_members(
        self, request: directory_requests_pb2.FindMissingMembersRequest
    ) -> directory_requests_pb2.FindMissingMembersResponse:
        if request.corp_id in self.away_corp_ids:
            raise UnavailableError("SERVICE_UNAVAILABLE", "away", {"service": "directory"})
        return directory_requests_pb2.FindMissingMembersResponse(
            missing_user_ids=[
                user_id
                for user_id in request.user_ids
                if (request.corp_id, user_id) in self.missing
            ]
        )
