"""`tieline demo`: the main job on a running platform."""

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console

from tieline.cli.data_directory import DataDirectory, data_option
from tieline.cli.errors import CommandError
from tieline.cli.remote_platform import TARGET_HELP, Tls, remote_platform
from tieline.client import Endpoints
from tieline.demo import short_day
from tieline.demo.journal import Journal
from tieline.demo.report import print_report, write_figures
from tieline.demo.staff_file import FULL_STAFF
from tieline.demo.stage import DemoError, Material, Scale
from tieline.demo.story import Platform, play_day

# The holiday's last day; any number gives other people.
DEFAULT_SEED = 20260224

# Half a minute of talk, with the corpus's Chinese conversations among them.
DEFAULT_LINES = 3000

# Enough for the people of the day; the table of members bounds it above.
MIN_STAFF = 100
MAX_STAFF = 1_000_000

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@data_option("Data folder of the running platform.")
@click.option(
    "--short",
    is_flag=True,
    help="Few people and lines, made without the packages of the extra `embedded`; the deletion of "
    "the corp is asked for in the end.",
)
@click.option("--target", help=TARGET_HELP)
@click.option(
    "--tls/--no-tls",
    "tls_is_on",
    default=None,
    help="Whether TLS is spoken at the target.  [default: except on this machine]",
)
@click.option("--tls-ca", type=_FILE, help="PEM file of the authorities that are trusted there.")
@click.option("--tls-server-name", help="The name in the certificate, if not the target's.")
@click.option("--tls-certificate", type=_FILE, help="PEM file of a certificate to show there.")
@click.option("--tls-key", type=_FILE, help="PEM file of its key.")
@click.option(
    "--staff",
    type=click.IntRange(MIN_STAFF, MAX_STAFF),
    show_default=f"{FULL_STAFF}",
    help="How many staff to make and import.",
)
@click.option(
    "--staff-csv",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Import this file instead of a made one.",
)
@click.option(
    "--lines",
    type=click.IntRange(10, 1_000_000),
    show_default=f"{DEFAULT_LINES}",
    help="How many messages the staff write to each other.",
)
@click.option(
    "--seed",
    type=int,
    show_default=f"{DEFAULT_SEED}",
    help="The same seed gives the same people, who say the same things.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the day's figures to this file.",
)
def demo(
    data_path: Path,
    short: bool,
    target: str | None,
    tls_is_on: bool | None,
    tls_ca: Path | None,
    tls_server_name: str | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    staff: int | None,
    staff_csv: Path | None,
    lines: int | None,
    seed: int | None,
    json_path: Path | None,
) -> None:
    """A working day of a jewellery retailer, with a new corp each time.

    Exits with 1 if the day can't go on or one of its checks does not hold.

    \b
    Examples:
      tieline demo
      tieline demo --staff 1000 --lines 500
      tieline demo --staff-csv staff.csv
      TIELINE_ADMINISTRATOR_PASSWORD=… tieline demo --short --target edge.example.com:443
    """
    if short and (staff or staff_csv or lines or seed is not None):
        raise click.UsageError("--short decides --staff, --staff-csv, --lines and --seed")
    tls = Tls(tls_is_on, tls_ca, tls_server_name, tls_certificate, tls_key)
    if target is None and tls != Tls(None, None, None, None, None):
        raise click.UsageError("the options of TLS go with --target")
    # Read first: without a platform there is no need for a file.
    platform = _find_platform(data_path, target, tls)
    scale = Scale(
        seed=DEFAULT_SEED if seed is None else seed,
        staff=staff or FULL_STAFF,
        lines=lines or DEFAULT_LINES,
    )
    journal = Journal(Console())
    began = time.monotonic()
    with ExitStack() as stack:
        if short:
            scale = short_day.SCALE
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            material = short_day.make_material(folder)
        else:
            material = _full_material(data_path, scale, staff_csv)
        try:
            asyncio.run(play_day(platform, material, scale, journal, deletes_corp=short))
        except DemoError as error:
            raise CommandError(str(error)) from error
    _conclude(journal, time.monotonic() - began, json_path)


def _find_platform(data_path: Path, target: str | None, tls: Tls) -> Platform:
    if target is not None:
        return remote_platform(target, tls, "the day begins with a corp of its own")
    data = DataDirectory(data_path)
    endpoints = Endpoints(**data.read_endpoints()["services"])
    return Platform(endpoints, data.read_secrets().platform_administrator_password)


def _full_material(data_path: Path, scale: Scale, staff_csv: Path | None) -> Material:
    try:
        from tieline.demo import full_day
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the full day needs {error.name}: install tieline[embedded], or give --short"
        ) from None
    folder = DataDirectory(data_path).path / "demo"
    staff_file = staff_csv or full_day.ensure_staff_file(folder, scale.seed, scale.staff)
    return full_day.make_material(scale, staff_file)


def _conclude(journal: Journal, day_seconds: float, json_path: Path | None) -> None:
    print_report(journal.console, journal)
    if json_path is not None:
        write_figures(json_path, journal, day_seconds=day_seconds)
    if not journal.all_hold:
        journal.console.print("tieline: a check does not hold", style="bold red")
        sys.exit(1)
