"""The running platform of those tests that need none of their own."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from e2e import shared_platform
from e2e.faulty_scene import Note
from e2e.platform_process import (
    POSTGRES_DEFAULT_PORT,
    PlatformProcess,
    platform_process,
    take_port,
)
from tieline.client import Endpoints, Tieline, connect


@pytest.fixture(scope="package")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlatformProcess]:
    """A running platform whose default port for PostgreSQL was taken before it came.

    Stopped after the last test of this folder: running, it takes a twentieth of a core.
    """
    folder = tmp_path_factory.mktemp("platform")
    with contextlib.ExitStack() as stack:
        take_port(stack, POSTGRES_DEFAULT_PORT)
        async with platform_process(folder / "data", has_default_ports=True) as platform:
            await platform.is_up()
            yield platform


@pytest.fixture
def note(record_property: Note) -> Note:
    """Note a number with the test's result: ``--junit-xml`` writes it out, ``-s`` shows it."""

    def note(name: str, value: float) -> None:
        record_property(name, value)
        print(f"{name} {value:.2f}")

    return note


@pytest.fixture(autouse=True)
def _shares_one_platform(request: pytest.FixtureRequest) -> None:
    """Fail in a file that would start another platform on another worker."""
    if "platform" in request.fixturenames:
        file = request.node.nodeid.partition("::")[0]
        assert file in shared_platform.FILES, f"{file} is not in shared_platform.FILES"


@pytest.fixture(scope="package")
async def tieline(platform: PlatformProcess) -> AsyncIterator[Tieline]:
    """A connection to the running platform, nobody signed in."""
    async with connect(Endpoints.read(platform.data.path / "endpoints.json")) as tieline:
        yield tieline
