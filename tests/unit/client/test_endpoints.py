"""Where the services are, and who could listen in on the way."""

import json
from pathlib import Path

import pytest

from tieline.client.endpoints import Endpoints, is_loopback

ADDRESSES = {
    "identity": "127.0.0.1:7101",
    "directory": "127.0.0.1:7102",
    "messaging": "127.0.0.1:7103",
    "contacts": "127.0.0.1:7104",
    "payments": "127.0.0.1:7105",
}


def test_file_of_a_running_platform_gives_every_address(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    path.write_text(json.dumps({"services": ADDRESSES, "nats": "127.0.0.1:7222"}))

    assert Endpoints.read(path) == Endpoints(**ADDRESSES)


def test_file_without_a_service_says_which_one(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    others = {name: target for name, target in ADDRESSES.items() if name != "payments"}
    path.write_text(json.dumps({"services": others}))

    with pytest.raises(ValueError, match="payments"):
        Endpoints.read(path)


def test_target_may_have_the_name_of_each_service_in_it() -> None:
    by_service = Endpoints.from_target("dns:///tieline-{service}:7100")

    assert (by_service.identity, by_service.payments) == (
        "dns:///tieline-identity:7100",
        "dns:///tieline-payments:7100",
    )
    assert Endpoints.from_target("edge:7100") == Endpoints.single("edge:7100")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("127.0.0.1:7101", True),
        ("localhost:7101", True),
        ("dns:///localhost:7101", True),
        ("[::1]:7101", True),
        ("unix:/run/tieline/identity.sock", True),
        ("localhost.evil.example:7101", False),
        ("127.0.0.1.nip.example:7101", False),
        ("dns:///127.evil.example:443", False),
        ("ipv4:127.0.0.1:1,10.0.0.1:2", False),
        ("tieline.example:443", False),
        ("dns:///edge:443", False),
    ],
)
def test_only_this_machine_is_loopback(target: str, expected: bool) -> None:
    assert is_loopback(target) == expected
