"""A database of the test's own, so that migrating it disturbs nobody."""

import uuid

import asyncpg
import pytest

from tieline.embedded.nats import EmbeddedNats


@pytest.fixture
async def administration(postgres_admin_dsn: str, nats: EmbeddedNats) -> dict[str, str]:
    """Return the variables of an operator: an empty database and the worker's NATS."""
    name = f"cli_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres_admin_dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return {
        "TIELINE_DATABASE_ADMIN_DSN": f"{postgres_admin_dsn.rpartition('/')[0]}/{name}",
        "TIELINE_NATS_ADMIN_URL": nats.url("admin"),
    }
