"""`tieline streams` where it is refused; tests/e2e/test_restore.py shows it at work."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tieline.cli.errors import CommandError
from tieline.cli.streams import streams
from tieline.embedded.nats import EmbeddedNats


@pytest.fixture(autouse=True)
def _administers(monkeypatch: pytest.MonkeyPatch, nats: EmbeddedNats) -> None:
    monkeypatch.setenv("TIELINE_NATS_ADMIN_URL", nats.url("admin"))


def refusal(*arguments: str) -> str:
    error = CliRunner().invoke(streams, arguments).exception
    assert isinstance(error, CommandError), error
    return str(error)


def test_backup_does_not_write_into_what_is_there(tmp_path: Path) -> None:
    assert "is there already" in refusal("backup", str(tmp_path))


def test_streams_that_are_there_are_not_restored_over(tmp_path: Path) -> None:
    assert CliRunner().invoke(streams, ["backup", str(tmp_path / "saved")]).exit_code == 0

    text = refusal("restore", str(tmp_path / "saved"))

    assert text.startswith("NATS has IDENTITY, DIRECTORY, MESSAGING, CONTACTS, PAYMENTS already")


def test_without_an_address_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIELINE_NATS_ADMIN_URL")

    assert "TIELINE_NATS_ADMIN_URL is missing" in refusal("restore", str(tmp_path))


def test_platform_that_does_not_run_has_nothing_to_back_up(tmp_path: Path) -> None:
    text = refusal("backup", str(tmp_path / "saved"), "--data", str(tmp_path))

    assert "no platform runs" in text
