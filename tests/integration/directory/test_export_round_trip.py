"""What was exported comes back from its files, whatever happened to the corp meanwhile."""

import csv
import io
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fakes.directory_corps import Corp
from fakes.directory_files import (
    CSV,
    REPLACE_DEPARTMENTS,
    REPLACE_MEMBERS,
    XLSX,
    Files,
    Options,
)
from tieline.api.directory.v1 import export_service_pb2 as export

PATHS = ["", "East", "East/Shop", "West"]
TEXTS = st.text(alphabet="=+-@';,\"A王 ", max_size=4).map(str.strip)
# What no later write of the same values brings back.
OF_THE_WRITE = {"etag", "create_time", "update_time", "leave_time"}


def some(value: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", value])


@st.composite
def rows_of_one(draw: st.DrawFn, number: int, earlier: list[int]) -> dict[str, str]:
    paths = draw(st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True))
    return {
        "user_id": f"u{number}",
        "name": draw(TEXTS) or "A",
        "department": ";".join(paths),
        "department_order": ";".join(draw(st.sampled_from("012")) for _ in paths),
        "is_leader": ";".join(draw(st.sampled_from("01")) for _ in paths),
        "alias": draw(TEXTS),
        "gender": draw(st.sampled_from(["", "male", "female"])),
        "position": draw(TEXTS),
        "mobile": draw(some(f"+861380000000{number}")),
        "telephone": draw(some("-20")),
        "email": draw(some(f"u{number}@home.example")),
        "biz_email": draw(some(f"u{number}@work.example")),
        "address": draw(TEXTS),
        "direct_leader": draw(st.sampled_from(["", *(f"u{each}" for each in earlier)])),
        "external_position": draw(TEXTS),
        "avatar_media_id": draw(st.text(alphabet="-_aB3", max_size=3)),
        "external_profile": draw(some('{"corp_name": "A, B"}')),
        "state": draw(some("disabled")),
    }


@st.composite
def staffs(draw: st.DrawFn) -> list[dict[str, str]]:
    """Rows of members with any values; nobody reports to a later one."""
    numbers = sorted(draw(st.sets(st.integers(0, 5), min_size=1)))
    return [draw(rows_of_one(number, numbers[:at])) for at, number in enumerate(numbers)]


def write_rows(rows: list[dict[str, str]]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


async def replace(files: Files, file: bytes, mode: Any, format_: Any = CSV) -> None:
    """Make the corp the file's, with as many removals as that takes."""
    dry = await files.import_file(file, Options(mode=mode, format=format_, dry_run=True))
    told = dry.responses[-1].summary
    options = Options(mode=mode, format=format_, confirmed_removals=told.removed)
    outcome = await files.import_file(file, options)
    done = outcome.responses[-1].summary
    assert (dry.errors, outcome.errors) == ([], [])
    assert (done.added, done.updated, done.unchanged, done.removed) == (
        told.added, told.updated, told.unchanged, told.removed,
    )  # fmt: skip


async def read_corp(corp: Corp) -> list[Any]:
    members, departments = await corp.list_members(), await corp.list_departments()
    things: list[Any] = [*members.values(), *departments]
    for thing in things:
        for name in OF_THE_WRITE & set(thing.DESCRIPTOR.fields_by_name):
            thing.ClearField(name)
    return things


async def change_departments(
    corp: Corp, files: Files, names: list[str], *, is_reversed: bool
) -> None:
    """Give the departments names in English and places, and their leaders another order."""
    rows = []
    for number, department in enumerate(await corp.list_departments()):
        name = names[number % len(names)]
        leaders = list(department.leader_user_ids)
        row = {
            "id": str(department.department_id),
            "parent_id": str(department.parent_department_id),
            "name": department.name,
            "order": str(len(name)),
            "name_en": name,
            "leaders": ";".join(reversed(leaders) if is_reversed else leaders),
        }
        rows.append(row)
    await replace(files, write_rows(rows), REPLACE_DEPARTMENTS)


@pytest.mark.parametrize("format_", [CSV, XLSX], ids=["csv", "xlsx"])
# Unshrunk: an example takes a second.
@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    staff=staffs(),
    others=staffs(),
    names=st.lists(st.sampled_from(["", "East side", "=B"]), min_size=1),
    is_reversed=st.booleans(),
)
async def test_corp_that_was_exported_comes_back_from_its_files(
    corp: Corp,
    files: Files,
    format_: Any,
    staff: list[dict[str, str]],
    others: list[dict[str, str]],
    names: list[str],
    is_reversed: bool,
) -> None:
    """Departments, members, and departments again, whose leaders are there by then."""
    await replace(files, write_rows(staff), REPLACE_MEMBERS)
    await change_departments(corp, files, names, is_reversed=is_reversed)
    before = await read_corp(corp)
    members = await files.export_members(export.ExportMembersRequest(format=format_))
    departments = await files.export_departments(export.ExportDepartmentsRequest(format=format_))

    await replace(files, write_rows(others), REPLACE_MEMBERS)
    await replace(files, departments, REPLACE_DEPARTMENTS, format_)
    await replace(files, members, REPLACE_MEMBERS, format_)
    await replace(files, departments, REPLACE_DEPARTMENTS, format_)

    assert await read_corp(corp) == before
