"""Composition root of the directory: the only module that knows every class."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tieline.api.directory.v1 import directory_service_pb2, directory_service_pb2_grpc
from tieline.chassis.events import consuming
from tieline.chassis.requests import answering
from tieline.chassis.runtime import service_runtime
from tieline.chassis.streams import durables_of
from tieline.directory.answers import DirectoryAnswers
from tieline.directory.consumer import HANDLERS
from tieline.directory.servicer import DirectoryServicer
from tieline.directory.settings import DirectorySettings

SERVICE = "directory"
SETTINGS = DirectorySettings


@asynccontextmanager
async def role(settings: DirectorySettings) -> AsyncIterator[None]:
    """Run the directory within the block."""
    async with service_runtime(settings, SERVICE) as runtime, AsyncExitStack() as stack:
        answers = DirectoryAnswers(runtime.pool)
        await stack.enter_async_context(
            answering(runtime.broker, SERVICE, answers.build_handlers())
        )
        for durable in durables_of(SERVICE):
            await stack.enter_async_context(
                consuming(runtime.broker, runtime.pool, SERVICE, durable, HANDLERS)
            )
        servicer = DirectoryServicer(runtime.pool, runtime.page_tokens)
        services = [directory_service_pb2.DESCRIPTOR.services_by_name["DirectoryService"]]
        async with runtime.serving(
            lambda server: directory_service_pb2_grpc.add_DirectoryServiceServicer_to_server(
                servicer, server
            ),
            services,
        ):
            yield
