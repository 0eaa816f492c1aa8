"""Stands for identity where the directory asks it what an app may see."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client

from tieline.api.identity.v1 import app_pb2, identity_requests_pb2
from tieline.chassis.requests import RequestHandler, answering

ROOT_DEPARTMENT_ID = 1


class FakeAppRanges:
    """Gives apps the whole corp, except those that a test gives another range."""

    def __init__(self) -> None:
        self.ranges: dict[tuple[str, int], app_pb2.AppRange] = {}
        """By corp and agent id."""

        self.disabled: set[tuple[str, int]] = set()
        """Apps in whose name nothing is sent."""

        self.asked = 0

    @asynccontextmanager
    async def answering(self, broker: Client) -> AsyncIterator[None]:
        """Answer ``get_app_range``; ``broker`` is identity's user."""
        handler = RequestHandler(identity_requests_pb2.GetAppRangeRequest, self._get_app_range)
        async with answering(broker, "identity", {"get_app_range": handler}):
            yield

    async def _get_app_range(
        self, request: identity_requests_pb2.GetAppRangeRequest
    ) -> identity_requests_pb2.GetAppRangeResponse:
        self.asked += 1
        whole = app_pb2.AppRange(department_ids=[ROOT_DEPARTMENT_ID])
        return identity_requests_pb2.GetAppRangeResponse(
            visible_range=self.ranges.get((request.corp_id, request.agent_id), whole),
            disabled=(request.corp_id, request.agent_id) in self.disabled,
        )
