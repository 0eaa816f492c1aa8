"""ChangeService: translates between protobuf and the feed, nothing else."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from tieline.api.directory.v1 import change_service_pb2, change_service_pb2_grpc
from tieline.chassis.calls import current_principal
from tieline.chassis.grpc_context import Context
from tieline.chassis.page_tokens import page_size
from tieline.directory.changes.feed import ChangesFeed
from tieline.directory.changes.hub import ChangesHub
from tieline.directory.changes.rules import check_sees_whole_corp
from tieline.directory.visibility.viewers import Viewers


class ChangeServicer(change_service_pb2_grpc.ChangeServiceServicer):
    """Tells what changed in the corps of its callers."""

    def __init__(self, feed: ChangesFeed, hub: ChangesHub, viewers: Viewers) -> None:
        self._feed = feed
        self._hub = hub
        self._viewers = viewers

    async def ListChanges(
        self, request: change_service_pb2.ListChangesRequest, context: Context
    ) -> change_service_pb2.ListChangesResponse:
        """Return the next page behind a cursor."""
        corp_id = await self._require_whole_corp(request.corp_id)
        size = page_size(request.page_size, default=100, maximum=1000)
        cursor = self._feed.decode_cursor(corp_id, request.cursor)
        page = await self._feed.read(corp_id, cursor, size)
        return change_service_pb2.ListChangesResponse(
            changes=page.changes,
            next_cursor=self._feed.encode_cursor(corp_id, page.cursor),
            has_more=page.has_more,
        )

    async def WatchChanges(
        self, request: change_service_pb2.WatchChangesRequest, context: Context
    ) -> AsyncIterator[change_service_pb2.WatchChangesResponse]:
        """Send all that follows a cursor, and then what comes."""
        corp_id = await self._require_whole_corp(request.corp_id)
        cursor = self._feed.decode_cursor(corp_id, request.cursor)
        principal = current_principal()
        watcher = (corp_id, f"{principal.kind}:{principal.id}")
        async with aclosing(self._hub.watch(watcher, cursor)) as pages:
            async for page in pages:
                # An app's range may have been what was known here before identity's event came.
                await self._viewers.require_whole_corp(principal, corp_id)
                yield change_service_pb2.WatchChangesResponse(
                    changes=page.changes,
                    next_cursor=self._feed.encode_cursor(corp_id, page.cursor),
                    has_more=page.has_more,
                )

    async def _require_whole_corp(self, corp_id: str) -> str:
        principal = current_principal()
        corp_id = principal.require_corp(corp_id)
        check_sees_whole_corp(principal, corp_id)
        await self._viewers.require_whole_corp(principal, corp_id)
        return corp_id
