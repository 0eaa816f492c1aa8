"""The staff that are made: as many as asked for, within the limits, the same each time."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from tieline.demo.full_day import ensure_staff_file, make_full_staff
from tieline.demo.staff_file import store_count

SEED = 7
USER_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_\-@.]{0,63}")
DEPARTMENT = re.compile(r'[^\\:*?"<>|/]{1,64}')


def test_full_staff_work_in_the_813_departments_of_the_retailer() -> None:
    staff = list(make_full_staff(SEED, 36_000))

    departments = Counter(row.department for row in staff)
    stores = [name for name in departments if "/" in name]
    assert len(staff) == 36_000
    assert len(stores) == 800
    assert len(departments) == 1 + 12 + 800
    assert {name.partition("/")[0] for name in stores} < set(departments)


def test_nobody_shares_a_user_id_mobile_or_email() -> None:
    staff = list(make_full_staff(SEED, 5_000))

    for column in ("user_id", "mobile", "email"):
        values = {getattr(row, column).lower() for row in staff}
        assert len(values) == len(staff), column


def test_every_value_is_within_the_limits_of_the_directory() -> None:
    for row in make_full_staff(SEED, 2_000):
        assert USER_ID.fullmatch(row.user_id)
        assert 1 <= len(row.name) <= 64
        assert len(row.position) <= 128
        assert re.fullmatch(r"1[0-9]{10}", row.mobile)
        assert 6 <= len(row.email.encode()) <= 64
        assert all(DEPARTMENT.fullmatch(part) for part in row.department.split("/"))


def test_same_seed_gives_the_same_people_and_another_one_others() -> None:
    assert list(make_full_staff(SEED, 100)) == list(make_full_staff(SEED, 100))
    assert list(make_full_staff(SEED, 100)) != list(make_full_staff(SEED + 1, 100))


@pytest.mark.parametrize(("staff", "stores"), [(36_000, 800), (100_000, 800), (1_000, 22), (1, 1)])
def test_fewer_staff_run_fewer_stores(staff: int, stores: int) -> None:
    assert store_count(staff) == stores


def test_file_is_made_once_and_then_found(tmp_path: Path) -> None:
    path = ensure_staff_file(tmp_path / "demo", SEED, 100)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    path.write_text("kept")

    again = ensure_staff_file(tmp_path / "demo", SEED, 100)

    assert [row["user_id"] for row in rows] == [row.user_id for row in make_full_staff(SEED, 100)]
    assert again.read_text() == "kept"
    assert [file.name for file in path.parent.iterdir()] == ["staff-7-100.csv"]


def test_file_that_was_half_written_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "staff-7-100.new").write_text("user_id,na")

    path = ensure_staff_file(tmp_path, SEED, 100)

    with path.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 100
