"""A disk that fills up: before the data are made, and while the platform serves."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from e2e.faulty_scene import set_the_scene
from e2e.faulty_world import faulty_world, reading
from e2e.platform_process import environment, free_base_port, tieline_command
from e2e.small_disk import PostgresOnSmallDisk, fill, small_disk
from fakes.eventually import eventually
from fakes.tokens import TestTokens
from tieline.api.directory.v1 import directory_service_pb2 as directory
from tieline.api.identity.v1 import identity_pb2
from tieline.api.identity.v1 import identity_service_pb2 as identity
from tieline.client import Endpoints, RetryPolicy, SignedIn, Tieline, TielineError, connect

# Each refusal is to be seen.
ONE_ATTEMPT = RetryPolicy(budget_ratio=0, budget_per_second=0, budget_capacity=0)

PASSWORD = "a long password"

# The tests see a small file system of their own at the same place as the platform.
_MOUNT = 'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"'


def on_a_small_disk(directory: Path, size: str, *command: str) -> list[str]:
    """Return the argv that runs a command with a file system of this size on the directory."""
    script = _MOUNT.format(size=size)
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    return [*namespace, "bash", "-c", script, str(directory), *command]


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None, "it has ended"
    return process.returncode, output.decode()


class Corps:
    """Creates corps, and remembers what was acknowledged and why others were refused."""

    def __init__(self, tieline: Tieline, administrator: SignedIn) -> None:
        self._tieline = tieline
        self._administrator = administrator
        self._acknowledged: list[str] = []
        self._codes: dict[str, str] = {}
        self.refusals: set[str] = set()

    async def create(self) -> None:
        """Create one, or raise TielineError."""
        response = await self._administrator.identity.CreateCorp(
            identity.CreateCorpRequest(
                display_name="Jinyu Jewellery",
                kind=identity_pb2.CORP_KIND_COMPANY,
                owner_user_id="owner",
                owner_name="Owner",
            )
        )
        corp_id = response.corp.corp_id
        self._acknowledged.append(corp_id)
        self._codes[corp_id] = response.owner_invitation.code

    async def is_created(self) -> bool:
        """Try to create one."""
        try:
            await self.create()
        except TielineError as error:
            self.refusals.add(error.reason)
            return False
        return True

    async def is_refused(self) -> bool:
        """Try to create one."""
        return not await self.is_created()

    async def reach_the_directory(self) -> bool:
        """Tell whether the directory has heard of every acknowledged corp, by its event."""
        for corp_id, code in self._codes.items():
            try:
                owner = await self._tieline.accept_invitation(corp_id, "owner", code, PASSWORD)
                await owner.directory.GetMember(directory.GetMemberRequest(user_id="owner"))
            except TielineError:
                return False
        return True

    async def missing(self) -> list[str]:
        """Return the acknowledged corps that are not there."""
        missing = []
        for corp_id in self._acknowledged:
            try:
                await self._administrator.identity.GetCorp(identity.GetCorpRequest(corp_id=corp_id))
            except TielineError:
                missing.append(corp_id)
        return missing


@asynccontextmanager
async def _platform(command: Sequence[str], output: Path) -> AsyncIterator[int]:
    """Run the command until the block is left; yield its process id."""
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment(), stdout=file, stderr=file
        )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _sign_in(tieline: Tieline, data: Path) -> SignedIn:
    secrets = json.loads((data / "secrets.json").read_text())
    return await tieline.sign_in_platform_administrator(
        "platform", secrets["platform_administrator_password"]
    )


@pytest.mark.parametrize("size", ["4k", "4m", "24m"])
async def test_a_disk_too_small_for_the_data_is_one_line(tmp_path: Path, size: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    up = [*tieline_command("up"), "--data", str(disk / "data")]
    up += ["--base-port", str(free_base_port())]

    status, output = await run(*on_a_small_disk(disk, size, *up))

    last_line = output.splitlines()[-1]
    assert status == 1, output
    assert last_line.startswith("tieline: "), output
    assert "disk is full" in last_line or "No space left" in last_line, output
    assert "--data" in last_line, output
    assert "Traceback" not in output


@pytest.mark.timeout(180)
async def test_a_disk_that_fills_while_serving_refuses_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    up = [*tieline_command("up"), "--data", str(disk / "data")]
    up += ["--base-port", str(free_base_port())]
    async with _platform(on_a_small_disk(disk, "300m", *up), tmp_path / "output") as seen_from:
        # The file system is visible from here through the process that lives on it.
        visible = Path(f"/proc/{seen_from}/root{disk}")
        await eventually(lambda: (visible / "data" / "endpoints.json").exists(), timeout_s=60)
        endpoints = Endpoints.read(visible / "data" / "endpoints.json")
        async with connect(endpoints, retries=ONE_ATTEMPT) as tieline:
            corps = Corps(tieline, await _sign_in(tieline, visible / "data"))
            await corps.create()

            filler = visible / "filler"
            fill(filler)
            await eventually(corps.is_refused, timeout_s=60)
            filler.unlink()
            await eventually(corps.is_created, timeout_s=60)

            assert await corps.missing() == []
            await eventually(corps.reach_the_directory, timeout_s=60)
            assert corps.refusals <= {"STORAGE_FULL", "DATABASE_UNAVAILABLE", "BROKER_UNAVAILABLE"}


async def _use_up_the_log(dsn: str) -> None:
    """Begin files of the write-ahead log until there is no room for one, which ends the server."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        while True:
            connection = await asyncpg.connect(dsn)
            # A file in which nothing stands is not left for the next one.
            await connection.execute(
                "SELECT pg_logical_emit_message(false, 'test', ''), pg_switch_wal()"
            )
            await connection.close()


@pytest.mark.timeout(180)
async def test_messages_refused_while_the_disk_is_full_are_stored_when_there_is_room(
    tmp_path: Path, tokens: TestTokens
) -> None:
    """Once for the tables alone, and once for the log too, which ends PostgreSQL."""
    with small_disk(tmp_path / "disk", "160m") as disk:
        postgres = PostgresOnSmallDisk(disk)
        async with faulty_world(tmp_path, tokens, postgres) as world:
            scene = await set_the_scene(world, "disk")
            async with reading(scene.readers):
                async with world.talking(scene.writer, *scene.groups):
                    await scene.goes_on()

                    disk.fill()
                    await eventually(lambda: "STORAGE_FULL" in world.ledger.reasons)
                    disk.free()
                    await scene.goes_on()

                    disk.fill()
                    await _use_up_the_log(postgres.dsn())
                    await eventually(world.postgres.has_ended)
                    world.postgres.stop()
                    disk.free()
                    # As whatever runs it would, again and again.
                    world.postgres.start()
                    await scene.goes_on()

                await scene.check()
            assert world.ledger.reasons <= {"STORAGE_FULL", "DATABASE_UNAVAILABLE", ""}
