"""PostgreSQL refuses to run as root; these are the ways around that, and exist for root only."""

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from tieline.embedded import account
from tieline.embedded.ports import find_free_port
from tieline.embedded.postgres import EmbeddedPostgres

ROOT = 0
NOBODY = 65534

IS_ROOT = os.geteuid() == ROOT
HAS_NAMESPACES = subprocess.run(["unshare", "--user", "true"], check=False).returncode == 0


def build_postgres(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "data", find_free_port(), superuser_password="unused")


def owners(postgres: EmbeddedPostgres) -> set[int]:
    return {path.stat().st_uid for path in postgres.directory.rglob("*")}


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

    def test_another_users_data_are_served_as_that_user(tmp_path: Path) -> None:
        postgres = build_postgres(tmp_path)
        postgres.initialise()
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(postgres.directory)], check=True)

        with postgres.running() as process_id:
            assert psutil.Process(process_id).uids().effective == NOBODY

        assert owners(postgres) == {NOBODY}
