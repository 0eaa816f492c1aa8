"""The image, put together without a builder: what it holds, and a role that runs in it."""

import json
import subprocess
from pathlib import Path

import pytest

from e2e.platform_process import environment
from engines import Database
from integration.cli.served import serving
from integration.image.assembled_image import (
    HOME,
    USER_ID,
    assemble,
    entering,
    locked_names,
    may_make_namespaces,
)
from tieline.embedded.nats import EmbeddedNats
from tieline.embedded.ports import find_free_port

# What docs/operations/install.md promises of the environment, unpacked.
MAX_MEGABYTES = 200

ROLES = [
    *(f"{name}.app" for name in ("identity", "directory", "messaging", "contacts", "payments")),
    "operator.app",
    "edge.app",
    "cli.main",
]

if may_make_namespaces():

    @pytest.fixture(scope="module")
    def inside(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
        """What stands before a command that runs in the image; made once."""
        folder = tmp_path_factory.mktemp("image")
        root = folder / "root"
        root.mkdir()
        return entering(assemble(folder), root)

    def run(inside: list[str], *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*inside, *command], env=environment(), capture_output=True, text=True, check=False
        )

    def test_command_of_the_image_runs(inside: list[str]) -> None:
        ran = run(inside, f"{HOME}/bin/tieline", "version")

        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith("tieline ")

    def test_image_has_its_own_number_and_writes_to_nothing_but_its_temporary_folder(
        inside: list[str],
    ) -> None:
        tried = f"/ {HOME} /usr /etc $PWD"
        script = f"id -u; for folder in {tried}; do touch $folder/x && echo $folder; done"

        # The working folder is the temporary one.
        assert run(inside, "sh", "-c", script).stdout == f"{USER_ID}\n/tmp\n"

    def test_every_role_is_imported_from_what_the_lock_brings(inside: list[str]) -> None:
        names = [f"tieline.{role}" for role in ROLES]
        script = f"import importlib; [importlib.import_module(name) for name in {names!r}]"

        ran = run(inside, f"{HOME}/bin/python", "-I", "-c", script)

        assert ran.returncode == 0, ran.stderr

    def test_image_holds_what_is_locked_and_no_installer(inside: list[str]) -> None:
        script = (
            "import importlib.metadata as m, json; "
            "print(json.dumps([each.name.lower().replace('_', '-') for each in m.distributions()]))"
        )
        ran = run(inside, f"{HOME}/bin/python", "-I", "-c", script)

        held = set(json.loads(ran.stdout))
        assert held - {"tieline"} <= {name.replace("_", "-") for name in locked_names()}
        assert {"tieline", "grpcio", "asyncpg", "nats-py"} <= held

    def test_environment_is_as_small_as_promised(inside: list[str]) -> None:
        ran = run(inside, "du", "--summarize", "--apparent-size", "--block-size=1M", str(HOME))

        assert int(ran.stdout.split()[0]) < MAX_MEGABYTES

    async def test_role_serves_in_the_image_and_ends_at_sigterm(
        inside: list[str], database: Database, nats: EmbeddedNats, tmp_path: Path
    ) -> None:
        settings = {
            "TIELINE_DATABASE_DSN": database.dsn("payments"),
            "TIELINE_NATS_URL": nats.url("payments"),
            "TIELINE_SECRET_KEY": "only-for-tests".ljust(32, "-"),
            "TIELINE_GRPC_PORT": str(find_free_port()),
            "TIELINE_SHUTDOWN_GRACE_S": "2",
        }
        program = [*inside, f"{HOME}/bin/tieline"]

        async with serving(settings, tmp_path / "output", program=program) as served:
            served.process.terminate()

            assert served.process.wait() == 0, served.output
