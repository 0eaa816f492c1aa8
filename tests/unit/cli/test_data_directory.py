"""The folder of the platform: one holder, and secrets that are made once."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tieline.cli.data_directory import DataDirectory
from tieline.cli.errors import CommandError


def test_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")

    with (
        data.held(),
        pytest.raises(CommandError, match=rf"held by pid {os.getpid()} since \d{{4}}-"),
        data.held(),
    ):
        pass


def test_folder_is_free_after_its_holder(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")

    with data.held():
        pass
    with data.held():
        pass


def test_folder_of_a_killed_holder_is_waited_for_until_its_last_child_has_ended(
    tmp_path: Path,
) -> None:
    # The holder is gone; its child has the lock's file and ends when its input does.
    script = (
        "import subprocess, sys; from pathlib import Path\n"
        "from tieline.cli.data_directory import DataDirectory\n"
        "hold = DataDirectory(Path(sys.argv[1])).held(); lock = hold.__enter__()\n"
        "child = subprocess.Popen(['cat'], pass_fds=[lock]); print(child.pid, flush=True)\n"
        "import os; os._exit(1)\n"
    )
    data = DataDirectory(tmp_path / "data")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(data.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as holder:
        assert holder.stdout is not None
        child_pid = int(holder.stdout.readline())
        holder.wait()
        ender = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill {child_pid}"])

        with data.held():
            assert ender.wait() == 0, "the lock was given while the child held it"


def test_lock_that_is_a_link_is_refused_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("keep me")
    data = DataDirectory(tmp_path / "data")
    data.path.mkdir()
    (data.path / "lock").symlink_to(target)

    with pytest.raises(CommandError, match=r"data/lock is a symbolic link; remove it"), data.held():
        pass

    assert target.read_text() == "keep me"


def test_secrets_are_not_in_the_text_of_what_holds_them(tmp_path: Path) -> None:
    made = DataDirectory(tmp_path).secrets(["identity"])
    service = made.services["identity"]

    text = f"{made!r} {service!r}"

    assert not any(
        secret in text
        for secret in (
            *(made.postgres_password, made.nats_password, made.platform_administrator_password),
            *(service.database_password, service.nats_password, service.secret_key),
        )
    )


def test_secrets_are_made_once_and_are_their_owners_only(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)

    first = data.secrets(["identity"])

    assert data.secrets(["identity"]) == first
    assert stat.S_IMODE(data.secrets_file.stat().st_mode) == 0o600


def test_new_service_gets_secrets_and_the_others_keep_theirs(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    first = data.secrets(["identity"])

    second = data.secrets(["identity", "gateway"])

    assert second.services["identity"] == first.services["identity"]
    assert data.read_secrets().services.keys() == {"identity", "gateway"}


def test_missing_secrets_of_existing_data_are_not_made_anew(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.postgres.mkdir()

    with pytest.raises(CommandError, match=r"secrets\.json is missing"):
        data.secrets(["identity"])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"services": {}}', '{"services": {"a": {}}}'])
def test_damaged_secrets_are_one_line_that_names_the_file(tmp_path: Path, content: str) -> None:
    data = DataDirectory(tmp_path)
    data.secrets_file.write_text(content)

    with pytest.raises(CommandError, match=r"secrets\.json is damaged"):
        data.secrets(["identity"])


def test_endpoints_of_a_stopped_platform_are_not_found(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.write_endpoints({"nats": "127.0.0.1:1"})
    data.remove_endpoints()

    with pytest.raises(CommandError, match="no platform runs"):
        data.read_endpoints()


def test_endpoints_of_a_killed_platform_do_not_survive_the_next_start(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.write_endpoints({"nats": "127.0.0.1:1"})

    with data.held(), pytest.raises(CommandError, match="no platform runs"):
        data.read_endpoints()
