"""Contacts in this process, on the worker's engines."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import grpc
import pytest

from engines import Database
from fakes.tokens import TestTokens
from integration.contacts.corp import Corp, Stub
from tieline.chassis.ids import new_corp_id


@pytest.fixture
async def corp(
    start_service: Callable[[str], Awaitable[grpc.aio.Channel]], tokens: TestTokens
) -> Corp:
    """A corp of the test's own."""
    return Corp(Stub(await start_service("contacts")), tokens, new_corp_id())


@pytest.fixture
async def admin_connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """The superuser, who fills groups faster than customers can."""
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        yield connection
    finally:
        await connection.close()
