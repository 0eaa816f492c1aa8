"""The configuration that nats-server is given."""

import json
import stat
from pathlib import Path

from tieline.chassis.streams import Permissions
from tieline.embedded.nats import EmbeddedNats, User


def test_configuration_with_its_passwords_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    nats = EmbeddedNats(tmp_path / "nats", 1, [User("admin", "secret")])

    nats.initialise()
    nats.initialise()

    assert stat.S_IMODE((tmp_path / "nats" / "nats.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "nats").stat().st_mode) == 0o700


def test_password_is_not_in_the_text_of_its_user() -> None:
    assert "a-password" not in repr(User("admin", "a-password"))


def test_second_start_takes_the_new_users(tmp_path: Path) -> None:
    EmbeddedNats(tmp_path, 1, [User("old", "secret")]).initialise()
    EmbeddedNats(tmp_path, 2, [User("new", "secret")]).initialise()

    config = json.loads((tmp_path / "nats.conf").read_text())
    assert [user["user"] for user in config["authorization"]["users"]] == ["new"]
    assert config["listen"] == "127.0.0.1:2"


def test_only_users_with_permissions_are_limited(tmp_path: Path) -> None:
    allowed = Permissions(publish=("events.>",), subscribe=())
    EmbeddedNats(tmp_path, 1, [User("admin", "a"), User("app", "b", allowed)]).initialise()

    admin, app = json.loads((tmp_path / "nats.conf").read_text())["authorization"]["users"]
    assert "permissions" not in admin
    assert app["permissions"]["publish"] == {"allow": ["events.>"]}
    # No subjects means none, not all.
    assert app["permissions"]["subscribe"] == {"allow": []}
