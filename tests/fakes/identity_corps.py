"""Stands for identity where the directory asks it what sort of corp one is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client

from tieline.api.identity.v1 import identity_pb2, identity_requests_pb2
from tieline.chassis.requests import RequestHandler, answering


class FakeIdentityCorps:
    """Takes every corp for a school that nobody verified, unless a test says otherwise."""

    def __init__(self) -> None:
        self.kinds: dict[str, identity_pb2.CorpKind.ValueType] = {}
        self.verified: set[str] = set()

    @asynccontextmanager
    async def answering(self, broker: Client) -> AsyncIterator[None]:
        """Answer ``find_corp``; ``broker`` is identity's user."""
        handler = RequestHandler(identity_requests_pb2.FindCorpRequest, self._find_corp)
        async with answering(broker, "identity", {"find_corp": handler}):
            yield

    async def _find_corp(
        self, request: identity_requests_pb2.FindCorpRequest
    ) -> identity_requests_pb2.FindCorpResponse:
        return identity_requests_pb2.FindCorpResponse(
            kind=self.kinds.get(request.corp_id, identity_pb2.CORP_KIND_SCHOOL),
            verified=request.corp_id in self.verified,
        )
