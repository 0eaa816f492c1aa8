"""What becomes of a parallel run of tests when one of them ends its worker."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CONFTEST = """
import os
from e2e.shared_platform import ByFileAndPlatform
from late_tests import told_of

def pytest_configure(config):
    config.own_stderr = os.dup(2)

def pytest_runtest_protocol(item):
    with told_of(item.nodeid, 1.0, item.config.own_stderr):
        from _pytest.runner import pytest_runtest_protocol
        return pytest_runtest_protocol(item, None)

def pytest_xdist_make_scheduler(config, log):
    return ByFileAndPlatform(config, log)
"""

# Eight of these are enough for each worker to have finished some when one ends.
FILE = """
import asyncio
import os
import pytest

async def wait_for_ever():
    await asyncio.Event().wait()

@pytest.mark.parametrize("number", range(3))
def test_it(number):
    if number == {number}:
        {act}
"""

HANGS = "asyncio.run(wait_for_ever())"

# Of the tests of that run. Those that do nothing have it as well, on a machine with other work.
TIMEOUT_S = 8


def run(folder: Path, *, number: int, act: str) -> subprocess.CompletedProcess[str]:
    """Run eight files by two workers; a test of the sixth does this."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {TESTS}\ntimeout = {TIMEOUT_S}\ntimeout_method = thread\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    for file in range(8):
        text = FILE.format(number=number if file == 5 else -1, act=act)
        (folder / f"test_{file}.py").write_text(text)
    options = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("number", range(3))
def test_a_worker_that_ends_fails_its_test_and_the_others_are_run(
    tmp_path: Path, number: int
) -> None:
    """The first, one in the middle, or the last of its file."""
    ended = run(tmp_path, number=number, act="os._exit(1)")

    assert "1 failed, 23 passed" in ended.stdout, ended.stdout + ended.stderr


def test_a_test_that_hangs_says_where(tmp_path: Path) -> None:
    ended = run(tmp_path, number=1, act=HANGS)

    assert "test_5.py::test_it[1] is about to run out of its time" in ended.stderr
    assert "wait_for_ever > locks.py" in ended.stderr
    assert "1 failed, 23 passed" in ended.stdout
