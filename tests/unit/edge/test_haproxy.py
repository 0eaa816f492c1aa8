"""What is said where HAProxy is missing."""

from pathlib import Path

import pytest

from tieline.chassis.process import StartError
from tieline.edge import haproxy


def test_a_missing_haproxy_is_named_with_the_package_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(haproxy, "_MORE_FOLDERS", str(tmp_path))

    with pytest.raises(StartError, match="apt-get install haproxy"):
        haproxy.find_binary()


def test_haproxy_is_found_where_only_the_administrators_path_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "haproxy"
    binary.touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(haproxy, "_MORE_FOLDERS", str(tmp_path))

    assert haproxy.find_binary() == str(binary)
