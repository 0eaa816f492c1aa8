"""`tieline dead-letters`: events that a service gave up, and sending them again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tieline.chassis.broker import connect_admin
from tieline.chassis.dead_letters import DeadLetter, list_dead_letters, replay_dead_letters
from tieline.chassis.driver_errors import describe_address, describe_connection_error
from tieline.chassis.postgres import Connection
from tieline.chassis.process import StartError
from tieline.chassis.streams import SERVICES
from tieline.cli.administration import load_administration_settings
from tieline.cli.errors import CommandError

_SERVICE = click.argument("service", type=click.Choice(SERVICES))


@click.group()
def dead_letters() -> None:
    """Events that a service could not handle and put aside.

    Reads TIELINE_DATABASE_ADMIN_DSN and TIELINE_NATS_ADMIN_URL.

    \b
    Examples:
      tieline dead-letters list messaging
      tieline dead-letters replay messaging --all
      tieline dead-letters replay messaging 01934c7e-0000-7000-8000-000000000001
    """


@dead_letters.command("list")
@_SERVICE
def list_command(service: str) -> None:
    """List what SERVICE put aside, oldest first, 1000 at most.

    \b
    Example:
      tieline dead-letters list messaging
    """
    asyncio.run(_list(service))


@dead_letters.command("replay")
@_SERVICE
@click.argument("event_ids", nargs=-1, metavar="[EVENT_ID]...")
@click.option("--all", "replay_all", is_flag=True, help="All that `list` shows.")
def replay_command(service: str, event_ids: Sequence[str], replay_all: bool) -> None:
    """Send dead letters of SERVICE again, once their cause is cured.

    Services that handled an event before know it and do nothing.

    \b
    Example:
      tieline dead-letters replay messaging --all
    """
    if bool(event_ids) == replay_all:
        raise click.UsageError("give event ids, or --all")
    asyncio.run(_replay(service, frozenset(event_ids)))


async def _list(service: str) -> None:
    async with _connected() as connection:
        letters = await list_dead_letters(connection, service)
    table = Table("event", "corp", "subject", "given up", "deliveries", "reason")
    for letter in letters:
        # As they are: what looks like rich's markup in a reason is none.
        table.add_row(*map(escape, _cells(letter)))
    Console().print(table if letters else f"{service} has no dead letters")


async def _replay(service: str, event_ids: frozenset[str]) -> None:
    """Replay the named letters, or all if none is named."""
    settings = load_administration_settings()
    nats_url = settings.nats_admin_url.get_secret_value()
    async with _connected() as connection:
        letters = await list_dead_letters(connection, service)
        unknown = sorted(event_ids - {letter.event_id for letter in letters})
        if unknown:
            raise CommandError(f"{service} has no dead letter {', '.join(unknown)}")
        chosen = [letter for letter in letters if not event_ids or letter.event_id in event_ids]
        try:
            async with connect_admin(nats_url, tls=settings.nats_tls) as broker:
                count = await replay_dead_letters(connection, broker, service, chosen)
        except StartError as error:
            raise CommandError(error.text) from None
    click.echo(f"{count} events sent again")


def _cells(letter: DeadLetter) -> tuple[str, ...]:
    return (
        letter.event_id,
        letter.corp_id,
        letter.subject,
        f"{letter.create_time:%Y-%m-%d %H:%M:%S}",
        str(letter.deliveries),
        letter.reason,
    )


@asynccontextmanager
async def _connected() -> AsyncIterator[Connection]:
    dsn = load_administration_settings().database_admin_dsn.get_secret_value()
    try:
        connection = await asyncpg.connect(dsn)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CommandError(
            f"can't connect to PostgreSQL at {describe_address(dsn)}: "
            f"{describe_connection_error(error)}; start it, or correct TIELINE_DATABASE_ADMIN_DSN"
        ) from None
    try:
        yield connection
    finally:
        await connection.close()
