"""Composition root of contacts: the only module that knows every class."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tieline.api.contacts.v1 import contacts_service_pb2, contacts_service_pb2_grpc
from tieline.chassis.corps_purge import purging_corps
from tieline.chassis.events import consuming
from tieline.chassis.grpc_server import Served
from tieline.chassis.runtime import service_runtime
from tieline.chassis.streams import durables_of
from tieline.contacts.consumer import HANDLERS
from tieline.contacts.corps_purge import purge
from tieline.contacts.repositories import SCHEMA
from tieline.contacts.servicer import ContactsServicer
from tieline.contacts.settings import ContactsSettings

SETTINGS = ContactsSettings


@asynccontextmanager
async def role(settings: ContactsSettings) -> AsyncIterator[None]:
    """Run contacts. What is entered last is left first."""
    async with service_runtime(settings, SCHEMA) as runtime, AsyncExitStack() as stack:
        pool = runtime.pool
        await stack.enter_async_context(purging_corps(pool, purge))
        for durable in durables_of(SCHEMA):
            await stack.enter_async_context(
                consuming(runtime.broker, pool, SCHEMA, durable, HANDLERS)
            )
        await stack.enter_async_context(
            runtime.serving(
                Served(
                    contacts_service_pb2_grpc.add_ContactsServiceServicer_to_server,
                    ContactsServicer(pool, runtime.page_tokens),
                    contacts_service_pb2.DESCRIPTOR.services_by_name["ContactsService"],
                )
            )
        )
        yield
