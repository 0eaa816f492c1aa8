"""A service that can't start says why in one line, with the way out, and exits with 1."""

import os
import sys
from typing import Protocol

import asyncpg
import pytest

from e2e.platform_process import run_tieline
from engines import Database
from tieline.cli import main
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port

PASSWORD = "hunter2"


@pytest.fixture
def settings(database: Database, nats: EmbeddedNats) -> dict[str, str]:
    """Settings with which the service would start."""
    return {
        "TIELINE_DATABASE_DSN": database.dsn("payments"),
        "TIELINE_NATS_URL": nats.url("payments"),
        "TIELINE_SECRET_KEY": "only-for-tests".ljust(32, "-"),
        "TIELINE_GRPC_PORT": str(find_free_port()),
    }


class RunHere(Protocol):
    """Runs a command; returns its status and what it printed."""

    def __call__(self, *arguments: str, **settings: str) -> tuple[int, str]: ...


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run what ends before it serves in this process, which has imported everything."""

    def run(*arguments: str, **settings: str) -> tuple[int, str]:
        for name in {*os.environ, *settings}:
            if name.startswith("TIELINE_"):
                monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["tieline", *arguments])
        with pytest.raises(SystemExit) as raised:
            main.run()
        assert isinstance(raised.value.code, int)
        printed = capsys.readouterr()
        return raised.value.code, printed.out + printed.err

    return run


def _with_port(address: str, port: int) -> str:
    scheme, _, rest = address.partition("://")
    host, _, path = rest.rpartition("@")[2].partition("/")
    return f"{scheme}://payments:{PASSWORD}@{host.partition(':')[0]}:{port}/{path}"


@pytest.mark.parametrize(
    ("changed", "value", "said"),
    [
        pytest.param("TIELINE_GRPC_PROT", "1", ["unknown setting TIELINE_GRPC_PROT"], id="unknown"),
        pytest.param("TIELINE_GRPC_PORT", "x", ["TIELINE_GRPC_PORT is wrong"], id="wrong value"),
        pytest.param("TIELINE_SECRET_KEY", PASSWORD, ["TIELINE_SECRET_KEY is wrong"], id="short"),
    ],
)
async def test_a_wrong_setting_is_named(
    settings: dict[str, str], here: RunHere, changed: str, value: str, said: list[str]
) -> None:
    status, output = here("serve", "payments", **{**settings, changed: value})

    assert status == 1
    assert all(words in output for words in said), output
    assert len(output.splitlines()) == 1, output
    assert PASSWORD not in output


async def test_a_dsn_that_is_none_is_named(settings: dict[str, str]) -> None:
    settings["TIELINE_DATABASE_DSN"] = f"postgresql://payments:{PASSWORD}@127.0.0.1:not-a-port/x"

    status, output = await run_tieline("serve", "payments", **settings)

    assert status == 1
    assert "TIELINE_DATABASE_DSN" in output
    assert len(output.splitlines()) == 1, output
    assert PASSWORD not in output


async def test_a_missing_setting_is_named(settings: dict[str, str], here: RunHere) -> None:
    del settings["TIELINE_NATS_URL"]

    status, output = here("serve", "payments", **settings)

    assert status == 1
    assert output.startswith("tieline: setting TIELINE_NATS_URL is missing")


async def test_a_database_that_is_away_is_named_with_its_setting(
    settings: dict[str, str],
) -> None:
    settings["TIELINE_DATABASE_DSN"] = _with_port(settings["TIELINE_DATABASE_DSN"], 1)

    status, output = await run_tieline("serve", "payments", **settings)

    assert status == 1
    assert output.startswith("tieline: can't connect to PostgreSQL at 127.0.0.1:1/")
    assert "TIELINE_DATABASE_DSN" in output
    assert len(output.splitlines()) == 1, output
    assert PASSWORD not in output


async def test_a_wrong_database_password_is_named_with_its_setting(
    settings: dict[str, str], database: Database
) -> None:
    address = database.admin_dsn.rpartition("@")[2]
    settings["TIELINE_DATABASE_DSN"] = f"postgresql://tieline_payments:{PASSWORD}@{address}"

    status, output = await run_tieline("serve", "payments", **settings)

    assert status == 1
    assert "password authentication failed" in output
    assert "TIELINE_DATABASE_DSN" in output
    assert len(output.splitlines()) == 1, output
    assert PASSWORD not in output


async def test_a_broker_that_is_away_is_named_with_its_setting(settings: dict[str, str]) -> None:
    settings["TIELINE_NATS_URL"] = f"nats://payments:{PASSWORD}@127.0.0.1:1"

    status, output = await run_tieline("serve", "payments", **settings)

    assert status == 1
    assert output.startswith("tieline: can't connect to NATS at 127.0.0.1:1")
    assert "TIELINE_NATS_URL" in output
    assert len(output.splitlines()) == 1, output
    assert PASSWORD not in output


async def test_a_database_that_was_not_migrated_says_how(
    settings: dict[str, str], administration: dict[str, str]
) -> None:
    # The role exists from the worker's own database; this one is empty.
    empty = administration["TIELINE_DATABASE_ADMIN_DSN"].rpartition("/")[2]
    settings["TIELINE_DATABASE_DSN"] = settings["TIELINE_DATABASE_DSN"].rpartition("/")[0] + (
        f"/{empty}"
    )

    status, output = await run_tieline("serve", "payments", **settings)

    assert status == 1
    assert output.endswith("run `tieline migrate`\n"), output
    assert len(output.splitlines()) == 1, output


async def test_a_half_applied_migration_is_named_with_the_way_out(
    administration: dict[str, str],
) -> None:
    await run_tieline("migrate", "payments", **administration)
    connection = await asyncpg.connect(administration["TIELINE_DATABASE_ADMIN_DSN"])
    # As a migration without a transaction leaves it that was killed in its middle.
    await connection.execute(
        "UPDATE payments.schema_migrations SET finish_time = NULL WHERE component = 'payments'"
    )
    await connection.close()

    status, output = await run_tieline("migrate", "payments", **administration)

    assert status == 1
    assert "stopped halfway; run `tieline migrate --rerun payments/0001`" in output
    assert len(output.splitlines()) == 1, output
