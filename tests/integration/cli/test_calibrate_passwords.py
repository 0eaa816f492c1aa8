"""`tieline calibrate-passwords` prints settings that identity takes."""

import os
import re

import pytest
from click.testing import CliRunner

from tieline.chassis.settings import load_settings
from tieline.cli.calibrate_passwords import calibrate_passwords
from tieline.identity.settings import IdentitySettings


def test_what_it_prints_is_a_start_of_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(
        calibrate_passwords, ["--target-ms", "100", "--max-memory-mib", "19"]
    )

    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if not line.startswith("#")]
    for name in [name for name in os.environ if name.startswith("TIELINE_")]:
        monkeypatch.delenv(name)
    for line in lines:
        monkeypatch.setenv(*line.split("="))
    monkeypatch.setenv("TIELINE_DATABASE_DSN", "postgresql://x@localhost/x")
    monkeypatch.setenv("TIELINE_NATS_URL", "nats://localhost:4222")
    monkeypatch.setenv("TIELINE_SECRET_KEY", "k" * 32)
    settings = load_settings(IdentitySettings)
    assert settings.password_memory_kib == 19 * 1024
    assert settings.password_time_cost >= 1
    assert re.search(r"one password takes \d+ ms", result.output)
