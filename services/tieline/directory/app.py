"""Composition root of the directory: the only module that knows every class."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tieline.api.directory.v1 import (
    directory_service_pb2,
    directory_service_pb2_grpc,
    export_service_pb2,
    export_service_pb2_grpc,
    import_service_pb2,
    import_service_pb2_grpc,
)
from tieline.chassis.events import consuming
from tieline.chassis.grpc_server import Served
from tieline.chassis.requests import answering
from tieline.chassis.runtime import service_runtime
from tieline.chassis.streams import durables_of
from tieline.directory.answers import build_handlers
from tieline.directory.consumer import HANDLERS
from tieline.directory.export_servicer import ExportServicer
from tieline.directory.import_servicer import ImportServicer
from tieline.directory.import_worker import ImportWorker
from tieline.directory.repositories import SCHEMA
from tieline.directory.repositories.import_jobs import CONSTRAINT_ERRORS
from tieline.directory.servicer import DirectoryServicer
from tieline.directory.settings import DirectorySettings

SETTINGS = DirectorySettings


@asynccontextmanager
async def role(settings: DirectorySettings) -> AsyncIterator[None]:
    """Run the directory within the block."""
    async with (
        service_runtime(settings, SCHEMA, constraint_errors=CONSTRAINT_ERRORS) as runtime,
        AsyncExitStack() as stack,
    ):
        await stack.enter_async_context(
            answering(runtime.broker, SCHEMA, build_handlers(runtime.pool))
        )
        for durable in durables_of(SCHEMA):
            await stack.enter_async_context(
                consuming(runtime.broker, runtime.pool, SCHEMA, durable, HANDLERS)
            )
        servicer = DirectoryServicer(runtime.pool, runtime.page_tokens, settings.import_max_bytes)
        worker = ImportWorker(runtime.pool)
        await stack.enter_async_context(worker.running())
        async with runtime.serving(
            Served(
                directory_service_pb2_grpc.add_DirectoryServiceServicer_to_server,
                servicer,
                directory_service_pb2.DESCRIPTOR.services_by_name["DirectoryService"],
            ),
            Served(
                import_service_pb2_grpc.add_ImportServiceServicer_to_server,
                ImportServicer(
                    runtime.pool, runtime.page_tokens, worker, settings.import_max_bytes
                ),
                import_service_pb2.DESCRIPTOR.services_by_name["ImportService"],
            ),
            Served(
                export_service_pb2_grpc.add_ExportServiceServicer_to_server,
                ExportServicer(runtime.pool),
                export_service_pb2.DESCRIPTOR.services_by_name["ExportService"],
            ),
        ):
            yield
