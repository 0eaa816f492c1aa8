"""PostgreSQL refuses to run as root; these are the ways around that, and exist for root only."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tieline.embedded import account
from tieline.embedded.errors import EngineError
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

ROOT = 0
NOBODY = 65534
# No account of this machine.
ORDINARY_USER = 54321

IS_ROOT = os.geteuid() == ROOT
HAS_NAMESPACES = subprocess.run(["unshare", "--user", "true"], check=False).returncode == 0


def build_postgres(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "data", find_free_port(), superuser_password="unused")


def owners(postgres: EmbeddedPostgres) -> set[int]:
    return {path.stat().st_uid for path in postgres.directory.rglob("*")}


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="tieline-tests-") as name:
        yield Path(name)


if IS_ROOT and HAS_NAMESPACES:

    def test_data_stay_roots_in_a_user_namespace(tmp_path: Path) -> None:
        postgres = build_postgres(tmp_path)

        with postgres.running():
            pass

        assert owners(postgres) == {ROOT}


if IS_ROOT:

    def test_new_data_are_nobodys_where_namespaces_are_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(account, "_in_user_namespace", lambda: ["false"])
        postgres = build_postgres(tmp_path)

        with postgres.running() as process_id:
            assert psutil.Process(process_id).uids().effective == NOBODY

        assert owners(postgres) == {NOBODY}

    def test_another_users_data_are_served_with_that_users_rights_alone(public: Path) -> None:
        # As `chown user` leaves it: the group is still root's.
        os.chown(public, ORDINARY_USER, -1)

        command = [*account.account_prefix(public), "cat", "/proc/self/status"]
        status = subprocess.run(command, capture_output=True, text=True, check=True).stdout

        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Uid"].split() == [str(ORDINARY_USER)] * 4
        assert facts["Gid"].split() == [str(NOBODY)] * 4
        assert facts["Groups"].split() == []
        capabilities = [int(facts[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")]
        assert capabilities == [0, 0, 0]

    def test_data_that_their_owner_can_not_reach_are_an_error(tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        directory = closed / "data"
        directory.mkdir(parents=True)
        closed.chmod(0o700)
        os.chown(directory, ORDINARY_USER, ORDINARY_USER)

        with pytest.raises(EngineError, match=f"data belongs to user {ORDINARY_USER}, whom"):
            account.account_prefix(directory)

    def test_nobodys_data_are_served_as_nobody(tmp_path: Path) -> None:
        postgres = build_postgres(tmp_path)
        postgres.initialise()
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(postgres.directory)], check=True)

        with postgres.running() as process_id:
            assert psutil.Process(process_id).uids().effective == NOBODY

        assert owners(postgres) == {NOBODY}
