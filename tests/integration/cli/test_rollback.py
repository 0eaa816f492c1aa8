"""The release before on the newest schema: processes whose code lacks the last migrations."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest

from e2e.platform_process import run_tieline
from engines import Database
from integration.cli.served import serving
from tieline.chassis.migration_files import load_migrations
from tieline.chassis.streams import SERVICES
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port

SOURCES = Path(__file__).parents[3] / "services" / "tieline"


@pytest.fixture(scope="module")
def older_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a source root without the last expanding migration of each service."""
    root = tmp_path_factory.mktemp("older")
    shutil.copytree(SOURCES, root / "tieline", ignore=shutil.ignore_patterns("__pycache__"))
    for service in SERVICES:
        last = [each for each in load_migrations(service) if not each.is_contracting][-1]
        (root / "tieline" / service / "migrations" / last.file_name).unlink()
    return root


def settings_of(service: str, database: Database, nats: EmbeddedNats, code: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(code),
        "TIELINE_DATABASE_DSN": database.dsn(service),
        "TIELINE_NATS_URL": nats.url(service),
        "TIELINE_SECRET_KEY": "only-for-tests".ljust(32, "-"),
        "TIELINE_GRPC_PORT": str(find_free_port()),
        "TIELINE_SHUTDOWN_GRACE_S": "2",
    }


@pytest.mark.parametrize("service", SERVICES)
async def test_older_code_serves_the_schema_that_newer_code_expanded(
    service: str, older_code: Path, database: Database, nats: EmbeddedNats, tmp_path: Path
) -> None:
    settings = settings_of(service, database, nats, older_code)

    async with serving(settings, tmp_path / "output", service=service) as served:
        assert "newer" not in served.output


async def test_older_code_migrates_nothing_after_the_newer_code_and_goes_before_it(
    older_code: Path, administration: dict[str, str]
) -> None:
    older = {**administration, "PYTHONPATH": str(older_code)}

    await run_tieline("migrate", **older)
    _, upgrade = await run_tieline("migrate", **administration)
    status, rollback = await run_tieline("migrate", **older)

    assert upgrade.splitlines()[-1].startswith(f"{len(SERVICES)} migrations applied")
    assert (status, rollback) == (0, "0 migrations applied; streams are declared\n")


async def test_older_code_refuses_the_schema_that_newer_code_contracted(
    older_code: Path, administration: dict[str, str], nats: EmbeddedNats
) -> None:
    await run_tieline("migrate", **administration)
    await contract(administration, "payments")
    database = Database(administration["TIELINE_DATABASE_ADMIN_DSN"])
    settings = settings_of("payments", database, nats, older_code)

    status, output = await run_tieline("serve", "payments", **settings)

    assert status == 1
    assert "the database is newer than this code: 0099_contract_names.sql" in output
    assert output.splitlines()[-1].endswith("that brought it, or a later one")


async def test_contracting_is_refused_until_everything_is_expanded(
    administration: dict[str, str],
) -> None:
    early_status, early = await run_tieline("migrate", "--contract", **administration)
    await run_tieline("migrate", **administration)
    status, output = await run_tieline("migrate", "--contract", **administration)

    assert early_status == 1
    assert "are to be applied first: run `tieline migrate` without --contract" in early
    assert (status, output) == (0, "0 migrations applied; streams are declared\n")


async def contract(administration: Mapping[str, str], service: str) -> None:
    """Leave what newer code's contracting migration would leave."""
    connection = await asyncpg.connect(administration["TIELINE_DATABASE_ADMIN_DSN"])
    try:
        await connection.execute(
            f"INSERT INTO {service}.schema_migrations VALUES"
            " ($1, 99, '0099_contract_names.sql', '', now(), now())",
            service,
        )
    finally:
        await connection.close()
