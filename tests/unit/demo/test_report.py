"""What the day says of itself."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tieline.demo.journal import Check, Journal
from tieline.demo.report import print_report, write_figures
from tieline.demo.staff_import import IMPORT_STEP


@pytest.fixture
def journal() -> Journal:
    return Journal(Console(file=io.StringIO(), width=100))


def printed(journal: Journal) -> str:
    assert isinstance(journal.console.file, io.StringIO)
    return journal.console.file.getvalue()


def test_step_is_said_when_it_is_done_with_count_and_title(journal: Journal) -> None:
    with journal.step("staff imported") as step:
        step.count = 36_000

    assert "36,000  staff imported" in printed(journal)


def fail_within_a_step(journal: Journal) -> None:
    with journal.step("messages sent"):
        raise OSError("gone")


def test_step_that_failed_is_not_noted_as_done_but_known_as_begun(journal: Journal) -> None:
    with pytest.raises(OSError, match="gone"):
        fail_within_a_step(journal)

    assert journal.steps == []
    assert journal.doing == "messages sent"


def test_one_broken_promise_is_shown_and_fails_the_day(journal: Journal) -> None:
    journal.check(Check("nothing is lost", True, "3 messages"))
    held_before = journal.all_hold

    journal.check(Check("the ledger balances", False, "off by [red] fen"))
    print_report(journal.console, journal)

    assert (held_before, journal.all_hold) == (True, False)
    assert "NO" in printed(journal)
    assert "off by [red] fen" in printed(journal)


def test_figures_are_written_for_the_benchmark(journal: Journal, tmp_path: Path) -> None:
    with journal.step(IMPORT_STEP) as step:
        step.count = 10
    journal.check(Check("nothing is lost", True, ""))

    write_figures(tmp_path / "figures.json", journal, day_seconds=3.5)

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["staff"] == 10
    assert figures["import_seconds"] == pytest.approx(journal.steps[0].seconds)
    assert figures["day_seconds"] == 3.5
    assert figures["checks"] == {"nothing is lost": True}
