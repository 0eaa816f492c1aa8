"""The steps between started engines and the first service."""

import uuid

import asyncpg
import pytest

from tieline.cli.errors import CommandError
from tieline.cli.preparation import create_database, set_role_passwords


async def test_database_is_created_once_whatever_its_name(postgres_admin_dsn: str) -> None:
    name = f'odd "name" {uuid.uuid4().hex}'

    await create_database(postgres_admin_dsn, name)
    await create_database(postgres_admin_dsn, name)

    connection = await asyncpg.connect(postgres_admin_dsn, database=name)
    assert await connection.fetchval("SELECT current_database()") == name
    await connection.close()


async def test_role_signs_in_with_its_newest_password_only(postgres_admin_dsn: str) -> None:
    role = f"role_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(postgres_admin_dsn)
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    await connection.close()

    await set_role_passwords(postgres_admin_dsn, {role: "first-'password"})
    await set_role_passwords(postgres_admin_dsn, {role: "second-'password"})

    connection = await asyncpg.connect(postgres_admin_dsn, user=role, password="second-'password")
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_admin_dsn, user=role, password="first-'password")


async def test_refusal_is_one_line_without_the_password(postgres_admin_dsn: str) -> None:
    address = postgres_admin_dsn.rpartition("@")[2]

    with pytest.raises(CommandError, match=r"PostgreSQL at 127\.0\.0\.1.* refused: ") as caught:
        await create_database(f"postgresql://postgres:hunter2@{address}", "never")

    assert "hunter2" not in str(caught.value)
