"""The shape of the tree that style and packaging rely on."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("services", "operator", "gen")


@pytest.mark.parametrize("source_root", SOURCE_ROOTS)
def test_namespace_package_has_no_init_file(source_root: str) -> None:
    # One would hide the other two roots' packages.
    assert not (ROOT / source_root / "tieline" / "__init__.py").exists()


def test_operator_folder_does_not_hide_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_every_test_file_lies_where_pytest_looks() -> None:
    levels = {"unit", "contract", "integration", "e2e"}

    stray = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.relative_to(ROOT / "tests").parts[0] not in levels
    ]

    assert stray == []
