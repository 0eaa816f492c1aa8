"""Composition root of the directory: the only module that knows every class."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tieline.api.directory.v1 import (
    change_service_pb2,
    change_service_pb2_grpc,
    directory_service_pb2,
    directory_service_pb2_grpc,
    school_service_pb2,
    school_service_pb2_grpc,
)
from tieline.chassis.events import consuming
from tieline.chassis.grpc_server import Served
from tieline.chassis.requests import answering
from tieline.chassis.runtime import service_runtime
from tieline.chassis.streams import durables_of
from tieline.directory.answers import build_handlers
from tieline.directory.changes_feed import ChangesFeed
from tieline.directory.changes_hub import ChangesHub
from tieline.directory.changes_purge import purging
from tieline.directory.changes_servicer import ChangeServicer
from tieline.directory.consumer import HANDLERS
from tieline.directory.repositories import SCHEMA
from tieline.directory.schools_servicer import SchoolServicer
from tieline.directory.servicer import DirectoryServicer
from tieline.directory.settings import DirectorySettings

SETTINGS = DirectorySettings


@asynccontextmanager
async def role(settings: DirectorySettings) -> AsyncIterator[None]:
    """Run the directory within the block."""
    async with service_runtime(settings, SCHEMA) as runtime, AsyncExitStack() as stack:
        await stack.enter_async_context(
            answering(runtime.broker, SCHEMA, build_handlers(runtime.pool))
        )
        for durable in durables_of(SCHEMA):
            await stack.enter_async_context(
                consuming(runtime.broker, runtime.pool, SCHEMA, durable, HANDLERS)
            )
        retention = dt.timedelta(days=settings.removal_retention_days)
        await stack.enter_async_context(purging(runtime.pool, retention))
        feed = ChangesFeed(runtime.pool, runtime.page_tokens)
        hub = await stack.enter_async_context(ChangesHub(runtime.pool, runtime.broker, feed))
        servicer = DirectoryServicer(runtime.pool, runtime.page_tokens)
        async with runtime.serving(
            Served(
                directory_service_pb2_grpc.add_DirectoryServiceServicer_to_server,
                servicer,
                directory_service_pb2.DESCRIPTOR.services_by_name["DirectoryService"],
            ),
            Served(
                change_service_pb2_grpc.add_ChangeServiceServicer_to_server,
                ChangeServicer(feed, hub),
                change_service_pb2.DESCRIPTOR.services_by_name["ChangeService"],
            ),
            Served(
                school_service_pb2_grpc.add_SchoolServiceServicer_to_server,
                SchoolServicer(runtime.pool, runtime.broker, runtime.page_tokens),
                school_service_pb2.DESCRIPTOR.services_by_name["SchoolService"],
            ),
        ):
            yield
