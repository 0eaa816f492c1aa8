"""Upgrade and rollback with code that lacks the last migrations, and with code that contracts."""

import shutil
from pathlib import Path

import pytest

from e2e.platform_process import run_tieline
from engines import Database
from integration.cli.served import serving
from tieline.chassis.migration_files import load_migrations
from tieline.chassis.streams import SERVICES
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port

NEXT = max(each.version for each in load_migrations("payments")) + 1
CONTRACTING = f"{NEXT:04d}_contract_deleted_corps.sql"

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


@pytest.fixture(scope="module")
def newer_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a source root with a migration of payments that contracts."""
    root = tmp_path_factory.mktemp("newer")
    shutil.copytree(SOURCES, root / "tieline", ignore=shutil.ignore_patterns("__pycache__"))
    migration = root / "tieline" / "payments" / "migrations" / CONTRACTING
    migration.write_text("-- Contract.\nDROP TABLE payments.deleted_corps;\n")
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


async def test_contracting_waits_until_it_is_asked_for_and_ends_the_way_back(
    newer_code: Path, administration: dict[str, str], nats: EmbeddedNats
) -> None:
    newer = {**administration, "PYTHONPATH": str(newer_code)}
    database = Database(administration["TIELINE_DATABASE_ADMIN_DSN"])
    await run_tieline("migrate", **administration)

    _, expanded = await run_tieline("migrate", **newer)
    _, contracted = await run_tieline("migrate", "--contract", **newer)
    status, refusal = await run_tieline(
        "serve", "payments", **settings_of("payments", database, nats, SOURCES.parent)
    )

    assert expanded.splitlines()[-2:] == [
        "0 migrations applied; streams are declared",
        f"waiting for --contract: payments/{NEXT:04d}",
    ]
    assert contracted.splitlines()[0] == f"applied payments/{NEXT:04d}"
    assert status == 1
    assert f"the database is newer than this code: {CONTRACTING}" in refusal
    assert refusal.splitlines()[-1].endswith("that brought it, or a later one")


async def test_contracting_is_refused_until_everything_is_expanded(
    administration: dict[str, str],
) -> None:
    early_status, early = await run_tieline("migrate", "--contract", **administration)
    await run_tieline("migrate", **administration)
    status, output = await run_tieline("migrate", "--contract", **administration)

    assert early_status == 1
    assert "are to be applied first: run `tieline migrate` without --contract" in early
    assert (status, output) == (0, "0 migrations applied; streams are declared\n")
