"""`tieline surge` on a running platform, with its result and its page."""

import json
from pathlib import Path

import pytest

from e2e.platform_process import PlatformProcess, run_tieline

pytestmark = pytest.mark.timeout(120)

SHORT = ("--duration", "4", "--base", "10", "--factor", "2", "--members", "3", "--customers", "2")


@pytest.mark.parametrize("callers", ["well-behaved", "strangers"])
async def test_a_short_surge_leaves_a_result_and_a_page(
    callers: str, platform: PlatformProcess, tmp_path: Path
) -> None:
    result_file, page_file = tmp_path / "surge.json", tmp_path / "surge.html"

    status, output = await run_tieline(
        *("surge", "--data", str(platform.data.path), "--callers", callers, *SHORT),
        *("--json", str(result_file), "--html", str(page_file)),
    )

    assert status == 0, output
    result = json.loads(result_file.read_text())
    summary = result["summary"]
    assert summary["offered"] > 20
    assert summary["good"] > 0
    # On a busy machine calls may be late; none may be wrong.
    assert summary["failures"] == {}
    assert sum(row["offered"] for row in result["seconds"]) == summary["offered"]
    assert page_file.read_text().startswith("<!doctype html>")


async def test_a_surge_without_a_platform_says_so(tmp_path: Path) -> None:
    status, output = await run_tieline("surge", "--data", str(tmp_path / "none"))

    assert status == 1
    assert "no platform runs" in output
