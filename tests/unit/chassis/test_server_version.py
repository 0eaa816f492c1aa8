"""Which PostgreSQL and which NATS are refused before anything is written or served."""

import pytest

from tieline.chassis import broker
from tieline.chassis.migration_files import MigrationError
from tieline.chassis.migrations import check_server_version
from tieline.chassis.process import StartError


@pytest.mark.parametrize("major", [9, 13, 14])
def test_older_server_is_refused_in_a_sentence_with_both_versions(major: int) -> None:
    with pytest.raises(MigrationError) as caught:
        check_server_version(major)

    assert caught.value.text == (
        f"PostgreSQL is version {major}, Tieline needs 15 or newer: upgrade the server, "
        "or name another one"
    )


@pytest.mark.parametrize("major", [15, 16, 18, 19])
def test_supported_server_is_not_refused(major: int) -> None:
    check_server_version(major)


@pytest.mark.parametrize("version", ["2.9.25", "2.10.27", "1.4.1", "", "two"])
def test_older_nats_is_refused_in_a_sentence_with_both_versions_and_no_password(
    version: str,
) -> None:
    with pytest.raises(StartError) as caught:
        broker.check_server_version(version, "nats://admin:hunter2@nats:4222")

    assert caught.value.text == (
        f"NATS at nats:4222 is version {version}, Tieline needs 2.11 or newer: upgrade the "
        "server, or name another one"
    )


@pytest.mark.parametrize("version", ["2.11.0", "2.12.1-RC.2", "v2.15.1", "3.0.0"])
def test_supported_nats_is_not_refused(version: str) -> None:
    broker.check_server_version(version, "nats://nats:4222")
