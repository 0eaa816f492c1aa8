"""`tieline demo`: the main job on a running platform."""

import asyncio
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from tieline.cli.data_directory import DEFAULT_DATA_DIRECTORY, DataDirectory
from tieline.cli.errors import CommandError
from tieline.client import Endpoints
from tieline.demo.journal import Journal
from tieline.demo.report import print_report, write_figures
from tieline.demo.staff_file import FULL_STAFF, ensure_staff_file
from tieline.demo.stage import DemoError, Scale
from tieline.demo.story import play_day

# The holiday's last day; any number gives other people.
DEFAULT_SEED = 20260224

# Half a minute of talk, with the corpus's Chinese conversations among them.
DEFAULT_LINES = 3000

# Enough for the people of the day; the table of members bounds it above.
MIN_STAFF = 100
MAX_STAFF = 1_000_000


@click.command()
@click.option(
    "--data",
    "data_path",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA_DIRECTORY,
    show_default=True,
    envvar="TIELINE_DATA",
    show_envvar=True,
    help="Data folder of the running platform.",
)
@click.option(
    "--staff",
    type=click.IntRange(MIN_STAFF, MAX_STAFF),
    default=FULL_STAFF,
    show_default=True,
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
    default=DEFAULT_LINES,
    show_default=True,
    help="How many messages the staff write to each other.",
)
@click.option(
    "--seed",
    type=int,
    default=DEFAULT_SEED,
    show_default=True,
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
    staff: int,
    staff_csv: Path | None,
    lines: int,
    seed: int,
    json_path: Path | None,
) -> None:
    """A working day of a jewellery retailer, with a new corp each time.

    Exits with 1 if the day can't go on or one of its checks does not hold.

    \b
    Examples:
      tieline demo
      tieline demo --staff 1000 --lines 500
      tieline demo --staff-csv staff.csv
    """
    data = DataDirectory(data_path)
    # Read first: without a platform there is no need for a file.
    endpoints = Endpoints(**data.read_endpoints()["services"])
    password = data.read_secrets().platform_administrator_password
    staff_file = staff_csv or ensure_staff_file(data.path / "demo", seed, staff)
    journal = Journal(Console())
    scale = Scale(seed=seed, staff=staff, lines=lines)
    began = time.monotonic()
    try:
        asyncio.run(play_day(endpoints, password, staff_file, scale, journal))
    except DemoError as error:
        raise CommandError(str(error)) from error
    _conclude(journal, time.monotonic() - began, json_path)


def _conclude(journal: Journal, day_seconds: float, json_path: Path | None) -> None:
    print_report(journal.console, journal)
    if json_path is not None:
        write_figures(json_path, journal, day_seconds=day_seconds)
    if not journal.all_hold:
        journal.console.print("tieline: a check does not hold", style="bold red")
        sys.exit(1)
