"""A running platform for the tests that only call it; those that break things run their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.platform_process import PlatformProcess, platform_process
from tieline.client import Endpoints, Tieline, connect


@pytest.fixture(scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlatformProcess]:
    """`tieline up` of this worker."""
    folder: Path = tmp_path_factory.mktemp("platform")
    async with platform_process(folder / "data") as platform:
        await platform.is_up()
        yield platform


@pytest.fixture(scope="session")
async def tieline(platform: PlatformProcess) -> AsyncIterator[Tieline]:
    """A connection to the running platform, nobody signed in."""
    async with connect(Endpoints.read(platform.data.path / "endpoints.json")) as tieline:
        yield tieline
