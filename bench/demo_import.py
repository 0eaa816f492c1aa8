"""How long the main job's import of 36,000 staff takes, beside a bare COPY of the same file.

Measures ``demo.import_seconds``. The COPY goes through the same driver into one table without
constraints, in the same PostgreSQL, right after the import.
"""

import asyncio
import csv
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from bench.harness import Benchmark, Figure, Target, summarise
from bench.local_platform import LocalPlatform, running_platform, temporary_data

_IMPORT = "demo.import_seconds"
_COPY = "limits.postgres_copy_36000_seconds"
_RUNS = 3


async def measure() -> Sequence[Figure]:
    """Play the demo's day several times on one platform; each run is a corp of its own."""
    imports, copies = [], []
    with temporary_data() as data:
        async with running_platform(data) as platform:
            for _ in range(_RUNS):
                imports.append(await _import_seconds(platform))
                copies.append(await _copy_seconds(platform))
    return [
        summarise(_COPY, copies, "s"),
        summarise(
            _IMPORT,
            imports,
            "s",
            against=_COPY,
            against_values=copies,
            target=Target("value", "at most", 10),
        ),
    ]


async def _import_seconds(platform: LocalPlatform) -> float:
    result = platform.data / "demo.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tieline.cli.main", "demo"),
        *("--data", str(platform.data), "--json", str(result)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    if await process.wait() != 0:
        raise RuntimeError("tieline demo failed; run it by itself to see why")
    return float(json.loads(result.read_text())["import_seconds"])


async def _copy_seconds(platform: LocalPlatform) -> float:
    rows = _read_rows(next((platform.data / "demo").glob("*.csv")))
    connection = await asyncpg.connect(_superuser_dsn(platform))
    try:
        columns = [f"c{number} text" for number in range(len(rows[0]))]
        await connection.execute(f"CREATE TABLE public.bare_copy ({', '.join(columns)})")
        begin = time.monotonic()
        await connection.copy_records_to_table("bare_copy", schema_name="public", records=rows)
        seconds = time.monotonic() - begin
        await connection.execute("DROP TABLE public.bare_copy")
        return seconds
    finally:
        await connection.close()


def _read_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def _superuser_dsn(platform: LocalPlatform) -> str:
    secrets = json.loads((platform.data / "secrets.json").read_text())
    address = json.loads((platform.data / "endpoints.json").read_text())["postgres"]
    return f"postgresql://postgres:{secrets['postgres_password']}@{address}/tieline"


BENCHMARKS = (Benchmark((_COPY, _IMPORT), measure),)
