"""The main job on a running platform, and how it ends when something is wrong with its input."""

import json
from pathlib import Path

import pytest

from e2e.platform_process import PlatformProcess, run_tieline
from tieline.api.identity.v1 import identity_service_pb2
from tieline.client import Tieline
from tieline.demo import short_day
from tieline.demo.full_day import ensure_staff_file

SMALL = ("--staff", "1000", "--lines", "400")


@pytest.mark.timeout(120)
async def test_day_ends_with_every_promise_kept_again_and_again(
    platform: PlatformProcess, tmp_path: Path
) -> None:
    figures_file = tmp_path / "figures.json"
    for _ in range(2):
        status, output = await run_tieline(
            *("demo", "--data", str(platform.data.path), "--json", str(figures_file), *SMALL)
        )

        assert status == 0, output
        figures = json.loads(figures_file.read_text())
        assert (figures["staff"], figures["messages"]) == (1000, 400)
        assert len(figures["checks"]) == 15
        assert all(figures["checks"].values()), output


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        pytest.param(17, ",1", ",x", "line 17, column mobile:", id="mobile"),
        pytest.param(2, "jy000001,", "jy 1,", "line 2, column user_id:", id="user id"),
        pytest.param(1, "user_id", "users", "line 1", id="header"),
    ],
)
async def test_corrupt_row_ends_the_day_in_one_line_that_names_it(
    platform: PlatformProcess, tmp_path: Path, line: int, old: str, new: str, message: str
) -> None:
    path = ensure_staff_file(tmp_path, seed=1, count=200)
    lines = path.read_text().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    corrupt = tmp_path / "staff.csv"
    corrupt.write_text("".join(lines))

    status, output = await run_tieline(
        *("demo", "--data", str(platform.data.path), "--staff-csv", str(corrupt))
    )

    assert status == 1
    assert output.splitlines()[-1].startswith(f"tieline: staff.csv {message}")
    assert "Traceback" not in output
    assert "messages sent" not in output


async def test_without_a_platform_the_day_says_how_to_get_one(tmp_path: Path) -> None:
    status, output = await run_tieline("demo", "--data", str(tmp_path))

    assert status == 1
    assert "tieline up" in output
    assert len(output.splitlines()) == 1


async def test_platform_that_is_gone_is_noticed_soon(
    platform: PlatformProcess, tmp_path: Path
) -> None:
    endpoints = platform.data.read_endpoints()
    endpoints["services"] = dict.fromkeys(endpoints["services"], "127.0.0.1:1")
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints))
    (tmp_path / "secrets.json").write_bytes(platform.data.secrets_file.read_bytes())

    status, output = await run_tieline("demo", "--data", str(tmp_path), *SMALL)

    assert status == 1
    assert output == "tieline: no platform answers at 127.0.0.1:1; start it with `tieline up`\n"


async def test_short_day_needs_nothing_that_the_image_has_not_and_its_corp_goes_again(
    platform: PlatformProcess, tieline: Tieline, tmp_path: Path
) -> None:
    for package in ("faker", "chatterbot_corpus", "yaml", "psutil"):
        (tmp_path / f"{package}.py").write_text("raise ModuleNotFoundError(name=__name__)")
    figures_file = tmp_path / "figures.json"

    status, output = await run_tieline(
        *("demo", "--short", "--data", str(platform.data.path), "--json", str(figures_file)),
        PYTHONPATH=str(tmp_path),
    )
    full_status, full_output = await run_tieline(
        *("demo", "--data", str(platform.data.path)), PYTHONPATH=str(tmp_path)
    )

    assert status == 0, output
    figures = json.loads(figures_file.read_text())
    assert (figures["staff"], figures["messages"]) == (short_day.SCALE.staff, short_day.SCALE.lines)
    assert len(figures["checks"]) == 15
    assert all(figures["checks"].values()), output
    password = platform.data.read_secrets().platform_administrator_password
    administrator = await tieline.sign_in_platform_administrator("platform", password)
    newest = await administrator.identity.ListCorps(
        identity_service_pb2.ListCorpsRequest(page_size=200)
    )
    (corp,) = (corp for corp in newest.corps if corp.display_name == "Tieline short demo")
    assert corp.HasField("purge_time")
    assert (full_status, len(full_output.splitlines())) == (1, 1)
    assert "give --short" in full_output
