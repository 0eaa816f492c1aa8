"""`tieline streams`: the event streams as files, and back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import click

from tieline.chassis.broker import Broker, connect_admin
from tieline.chassis.process import StartError
from tieline.chassis.stream_snapshots import is_declared, restore_stream, save_stream
from tieline.chassis.streams import SERVICES, stream_of
from tieline.cli.administration import load_broker_administration_settings
from tieline.cli.data_directory import DataDirectory
from tieline.cli.errors import CommandError
from tieline.cli.platform import NATS_ADMINISTRATOR
from tieline.embedded.nats import EmbeddedNats, User
from tieline.embedded.ports import find_free_port

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_DATA = click.option(
    "--data",
    "data_path",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Data folder of a platform on this machine, in place of TIELINE_NATS_ADMIN_URL.",
)

# The mirror REVOCATIONS is none of them: it fills itself from identity's stream.
_STREAMS = tuple(map(stream_of, SERVICES))


@click.group()
def streams() -> None:
    """The streams of all services' events, as files.

    Reads TIELINE_NATS_ADMIN_URL, or takes a platform on this machine by --data.

    \b
    Examples:
      tieline streams backup /backup/streams
      tieline streams restore /backup/streams
    """


@streams.command()
@_FOLDER
@_DATA
def backup(folder: Path, data_path: Path | None) -> None:
    """Write the streams and their consumers' places into the new FOLDER, while they are used.

    \b
    Examples:
      tieline streams backup /backup/streams
      tieline streams backup /backup/streams --data .tieline
    """
    url = None if data_path is None else _running_url(DataDirectory(data_path))
    if folder.exists():
        raise CommandError(f"{folder} is there already; give a folder that is not")
    folder.mkdir(mode=0o700, parents=True)
    for stream in _STREAMS:
        (folder / stream).mkdir(mode=0o700)
    asyncio.run(_backup(url, folder))


@streams.command()
@_FOLDER
@_DATA
def restore(folder: Path, data_path: Path | None) -> None:
    """Make the streams that FOLDER holds in a NATS that has none, before `tieline migrate`.

    With --data the platform must not run: its NATS is started for this alone.

    \b
    Examples:
      tieline streams restore /backup/streams
      tieline streams restore /backup/streams --data .tieline
    """
    with ExitStack() as stack:
        url = None
        if data_path is not None:
            data = DataDirectory(data_path)
            stack.enter_context(data.held())
            administrator = User(NATS_ADMINISTRATOR, data.read_secrets().nats_password)
            # Alone: the users of services come with `tieline up`.
            server = EmbeddedNats(data.nats, find_free_port(), [administrator])
            stack.enter_context(server.running())
            url = server.url(NATS_ADMINISTRATOR)
        asyncio.run(_restore(url, folder))


async def _backup(url: str | None, folder: Path) -> None:
    async with _connected(url) as broker:
        for stream in _STREAMS:
            count = await save_stream(broker, stream, folder / stream)
            click.echo(f"{stream}: {count} events saved")


async def _restore(url: str | None, folder: Path) -> None:
    async with _connected(url) as broker:
        # All of them first: half a restoration helps nobody.
        there = [stream for stream in _STREAMS if await is_declared(broker, stream)]
        if there:
            raise CommandError(
                f"NATS has {', '.join(there)} already; restore into one with an empty store, "
                "before `tieline migrate`"
            )
        for stream in _STREAMS:
            count = await restore_stream(broker, folder / stream)
            click.echo(f"{stream}: {count} events restored")


def _running_url(data: DataDirectory) -> str:
    address = data.read_endpoints()["nats"]
    return f"nats://{NATS_ADMINISTRATOR}:{data.read_secrets().nats_password}@{address}"


@asynccontextmanager
async def _connected(url: str | None) -> AsyncIterator[Broker]:
    """Connect to the URL, or to the one of the environment."""
    try:
        if url is not None:
            async with connect_admin(url) as broker:
                yield broker
            return
        settings = load_broker_administration_settings()
        admin_url = settings.nats_admin_url.get_secret_value()
        async with connect_admin(admin_url, tls=settings.nats_tls) as broker:
            yield broker
    except StartError as error:
        raise CommandError(error.text) from None
