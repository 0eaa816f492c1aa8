"""Which PostgreSQL is refused before anything is written or served."""

import pytest

from tieline.chassis.migration_files import MigrationError
from tieline.chassis.migrations import check_server_version


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
