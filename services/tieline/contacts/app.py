"""Composition root of contacts: the only module that knows every class."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.api.contacts.v1 import contacts_service_pb2, contacts_service_pb2_grpc
from tieline.chassis.grpc_server import Served
from tieline.chassis.runtime import service_runtime
from tieline.contacts.repository import SCHEMA
from tieline.contacts.servicer import ContactsServicer
from tieline.contacts.settings import ContactsSettings

SETTINGS = ContactsSettings


@asynccontextmanager
async def role(settings: ContactsSettings) -> AsyncIterator[None]:
    """Run contacts."""
    async with service_runtime(settings, SCHEMA) as runtime:
        servicer = ContactsServicer(runtime.pool, runtime.page_tokens)
        async with runtime.serving(
            Served(
                contacts_service_pb2_grpc.add_ContactsServiceServicer_to_server,
                servicer,
                contacts_service_pb2.DESCRIPTOR.services_by_name["ContactsService"],
            )
        ):
            yield
