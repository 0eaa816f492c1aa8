"""The table at the end of the day, and its figures for the benchmark."""

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tieline.demo.conversations import SENDING_STEP
from tieline.demo.journal import Journal
from tieline.demo.staff_import import IMPORT_STEP


def print_report(console: Console, journal: Journal) -> None:
    """Show what was done, how many and how long, and every check."""
    steps = Table(title="The day")
    steps.add_column("what was done")
    steps.add_column("how many", justify="right")
    steps.add_column("seconds", justify="right")
    for step in journal.steps:
        steps.add_row(step.title, f"{step.count:,}", f"{step.seconds:.2f}")
    checks = Table(title="What must hold")
    for heading in ("promise", "holds", "how it was seen"):
        checks.add_column(heading)
    for check in journal.checks:
        checks.add_row(
            check.promise, "yes" if check.holds else "[bold red]NO[/]", escape(check.detail)
        )
    console.print(steps)
    console.print(checks)


def write_figures(path: Path, journal: Journal, *, day_seconds: float) -> None:
    """Write the day's figures as one JSON object."""
    counts = {step.title: step.count for step in journal.steps}
    figures = {
        "day_seconds": day_seconds,
        "import_seconds": journal.seconds(IMPORT_STEP),
        "staff": counts.get(IMPORT_STEP, 0),
        "message_seconds": journal.seconds(SENDING_STEP),
        "messages": counts.get(SENDING_STEP, 0),
        "checks": {check.promise: check.holds for check in journal.checks},
    }
    path.write_text(json.dumps(figures, indent=1) + "\n")
