"""`tieline migrate`: brings databases and streams to what this version needs."""

import asyncio
from collections.abc import Sequence

import click

from tieline.chassis.migration_files import MigrationError
from tieline.chassis.migrations import pending
from tieline.chassis.streams import SERVICES
from tieline.cli.administration import load_administration_settings
from tieline.cli.errors import CommandError
from tieline.cli.preparation import distribute, migrate_and_declare


@click.command()
@click.argument("services", nargs=-1, type=click.Choice(SERVICES), metavar="[SERVICE]...")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if something is missing.")
@click.option(
    "--contract",
    is_flag=True,
    help="Apply what contracts, too: no replica of the version before is left, nor comes back.",
)
@click.option(
    "--rerun",
    metavar="MIGRATION",
    help="Run this migration again, which stopped halfway; `tieline migrate` says which one.",
)
@click.option("--citus", is_flag=True, help="Distribute the tables over the nodes of Citus.")
@click.option("--dry-run", is_flag=True, help="With --citus: print the statements, run none.")
def migrate(
    services: Sequence[str],
    check: bool,
    contract: bool,
    rerun: str | None,
    citus: bool,
    dry_run: bool,
) -> None:
    """Apply missing migrations and declare the streams; all services' without a SERVICE.

    Run it before the services of a new version, and with --contract once all of them are of that
    version: from then on the version before refuses the database. Two at once migrate once. It
    reads TIELINE_DATABASE_ADMIN_DSN, TIELINE_NATS_ADMIN_URL and TIELINE_NATS_REPLICAS.

    \b
    Examples:
      tieline migrate
      tieline migrate --check
      tieline migrate --contract
      tieline migrate --rerun identity/0003
      tieline migrate --citus --dry-run
    """
    if dry_run and not citus:
        raise click.UsageError("--dry-run belongs to --citus")
    settings = load_administration_settings()
    admin_dsn = settings.database_admin_dsn.get_secret_value()
    chosen = services or SERVICES
    if check:
        _check(admin_dsn, chosen, contract=contract)
        return
    if citus:
        _distribute(admin_dsn, dry_run=dry_run)
        return
    if contract:
        _check_expanded(admin_dsn, chosen)
    applied = asyncio.run(
        migrate_and_declare(
            admin_dsn,
            settings.nats_admin_url.get_secret_value(),
            chosen,
            contract=contract,
            rerun=rerun,
            replicas=settings.nats_replicas,
            nats_tls=settings.nats_tls,
            report=lambda name: click.echo(f"applied {name}"),
        )
    )
    click.echo(f"{len(applied)} migrations applied; streams are declared")
    for name in _list_pending(admin_dsn, chosen, contract=True):
        click.echo(f"waiting for --contract: {name}")


def _list_pending(admin_dsn: str, services: Sequence[str], *, contract: bool) -> list[str]:
    try:
        return asyncio.run(pending(admin_dsn, services, contract=contract))
    except MigrationError as error:
        raise CommandError(error.text) from None


def _check_expanded(admin_dsn: str, services: Sequence[str]) -> None:
    """Refuse to contract in the step that expands: replicas of the version before still run."""
    missing = _list_pending(admin_dsn, services, contract=False)
    if missing:
        raise CommandError(
            f"{len(missing)} migrations are to be applied first: run `tieline migrate` without "
            "--contract, let every replica be of this version, and then contract"
        )


def _check(admin_dsn: str, services: Sequence[str], *, contract: bool) -> None:
    missing = _list_pending(admin_dsn, services, contract=contract)
    for name in missing:
        click.echo(f"pending {name}")
    if missing:
        raise CommandError(f"{len(missing)} migrations are pending; run `tieline migrate`")
    click.echo("nothing is pending")


def _distribute(admin_dsn: str, *, dry_run: bool) -> None:
    statements = asyncio.run(distribute(admin_dsn, dry_run=dry_run))
    for statement in statements:
        click.echo(f"{statement};")
    if not dry_run:
        click.echo(f"{len(statements)} tables distributed")
