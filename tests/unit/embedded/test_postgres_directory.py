"""What stands in the way of a data directory is said before anything is started."""

from pathlib import Path

import pytest

from tieline.embedded.errors import EngineError
from tieline.embedded.postgres import EmbeddedPostgres


def postgres(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory, 1, superuser_password="unused")


def test_folder_with_something_else_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    with pytest.raises(EngineError, match="holds something that is not a PostgreSQL data"):
        postgres(tmp_path).initialise()

    assert (tmp_path / "thesis.txt").exists()


def test_data_of_another_major_version_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("17\n")

    with pytest.raises(EngineError, match="was made by PostgreSQL 17 and this is 18"):
        postgres(tmp_path).initialise()


def test_password_of_any_characters_stands_safely_in_the_dsn(tmp_path: Path) -> None:
    dsn = postgres(tmp_path).dsn("app", "p@ss:w/rd%", "tie line")

    assert dsn == "postgresql://app:p%40ss%3Aw%2Frd%25@127.0.0.1:1/tie%20line"
