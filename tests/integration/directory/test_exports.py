"""Exports: whole, readable by an import as they are, and harmless in a spreadsheet."""

import csv
import io

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.directory_corps import Corp, table
from fakes.directory_files import (
    AUTO,
    GB18030,
    REPLACE_DEPARTMENTS,
    REPLACE_MEMBERS,
    XLSX,
    Files,
    Options,
)
from fakes.directory_writers import Writer
from tieline.api.directory.v1 import attribute_pb2, attribute_service_pb2, directory_pb2
from tieline.api.directory.v1 import export_service_pb2 as export
from tieline.client.errors import TielineError

HEADER = (
    "user_id,name,department,department_order,is_leader,alias,position,mobile,email,direct_leader"
)
# What a spreadsheet, CSV or the lists of departments might take for something else.
NAMES = st.text(alphabet="=+-@';,\"A王 ", min_size=1, max_size=5).filter(lambda name: name.strip())


async def test_export_has_every_member_and_column(corp: Corp, files: Files) -> None:
    await corp.import_file(
        table(("w", "王伟", "East;West", "3;4", "0;1", "Wei", "Clerk", "+12345", "", "boss"),
              header=HEADER)
    )  # fmt: skip

    rows = list(csv.DictReader(io.StringIO((await files.export_members()).decode())))

    assert [row["user_id"] for row in rows] == ["boss", "w"]
    assert (rows[1]["department"], rows[1]["department_order"], rows[1]["is_leader"]) == (
        "East;West", "3;4", "0;1",
    )  # fmt: skip
    # A number that begins like a formula is none for the spreadsheet that opens the file.
    assert (rows[1]["mobile"], rows[1]["direct_leader"]) == ("'+12345", "boss")


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.tuples(NAMES, NAMES, NAMES, NAMES), min_size=1, max_size=5))
async def test_exports_that_are_imported_change_nothing(
    corp: Corp, files: Files, rows: list[tuple[str, str, str, str]]
) -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["user_id", "name", "department", "alias"])
    for number, (name, department, other, alias) in enumerate(rows):
        paths = ";".join(part.replace(";", r"\;") for part in (department, other))
        writer.writerow([f"u{number}", name, paths, alias])
    await corp.import_file(file.getvalue().encode())
    before = await corp.list_members(), await corp.list_departments()

    for request, options in (
        (export.ExportMembersRequest(), Options(mode=REPLACE_MEMBERS)),
        (export.ExportMembersRequest(byte_order_mark=True), Options(encoding=AUTO)),
        (export.ExportMembersRequest(encoding=GB18030), Options(encoding=GB18030)),
        (export.ExportMembersRequest(format=XLSX), Options(format=XLSX)),
    ):
        outcome = await files.import_file(await files.export_members(request), options)
        assert outcome.errors == []
        assert outcome.responses[-1].summary.unchanged == len(before[0])
    for format_ in (export.ExportDepartmentsRequest().format, XLSX):
        exported = await files.export_departments(export.ExportDepartmentsRequest(format=format_))
        outcome = await files.import_file(
            exported, Options(mode=REPLACE_DEPARTMENTS, format=format_)
        )
        assert outcome.errors == []

    assert (await corp.list_members(), await corp.list_departments()) == before


async def test_workbook_holds_texts_and_no_formulas(corp: Corp, files: Files) -> None:
    await corp.import_file(table(("w", "=1+1", ""), header="user_id,name,department"))

    file = await files.export_members(export.ExportMembersRequest(format=XLSX))

    sheet = openpyxl.load_workbook(io.BytesIO(file)).worksheets[0]
    [cell] = [cell for row in sheet.iter_rows() for cell in row if cell.value == "=1+1"]
    assert cell.data_type == "s"


async def test_large_export_comes_in_pieces_and_whole(corp: Corp, files: Files) -> None:
    rows = [(f"u{number:05d}", "W" * 60, "East") for number in range(5000)]
    await corp.import_file(table(*rows))

    exported = await files.export_members()

    assert len(exported) > 300_000
    assert len(exported.splitlines()) == len(rows) + 2


async def test_attributes_of_the_corp_are_columns(corp: Corp, files: Files) -> None:
    file = await files.export_members(export.ExportMembersRequest(byte_order_mark=True))

    assert file.startswith(b"\xef\xbb\xbfuser_id,name,department,")


@pytest.mark.parametrize("is_workbook", [False, True])
async def test_links_and_profiles_are_in_the_file_and_come_back_from_it(
    owner: Writer, corp: Corp, files: Files, is_workbook: bool
) -> None:
    for name, kind in (
        ("Badge", attribute_pb2.ATTRIBUTE_KIND_TEXT),
        ("Blog", attribute_pb2.ATTRIBUTE_KIND_WEB),
        ("Shop", attribute_pb2.ATTRIBUTE_KIND_MINI_PROGRAM),
    ):
        await owner.send(
            attribute_service_pb2.CreateAttributeRequest(
                attribute=attribute_pb2.Attribute(name=name, kind=kind)
            )
        )
    badge = attribute_pb2.AttributeValue(name="Badge", text="A-17")
    blog = attribute_pb2.AttributeValue(
        name="Blog", web=attribute_pb2.WebLink(url="https://a.cn/?x=1|2", title="a|b\\")
    )
    shop = attribute_pb2.AttributeValue(
        name="Shop", mini_program=attribute_pb2.MiniProgramLink(app_id="wx1", title="Shop")
    )
    member = await owner.create_member(
        "li",
        extended_attributes=[badge, blog, shop],
        external_profile=directory_pb2.ExternalProfile(corp_name="金玉", attributes=[blog]),
    )
    format_ = XLSX if is_workbook else export.ExportMembersRequest().format
    file = await files.export_members(export.ExportMembersRequest(format=format_))

    same = await files.import_file(file, Options(format=format_))
    await owner.update_member("li", extended_attributes=[], external_profile=None)
    back = await files.import_file(file, Options(format=format_))

    assert same.errors == back.errors == []
    assert same.responses[-1].summary.unchanged == 2
    assert back.responses[-1].summary.unchanged == 1
    restored = await owner.get_member("li")
    assert restored.extended_attributes == member.extended_attributes
    assert restored.external_profile == member.external_profile


async def test_cells_that_are_no_links_or_profiles_are_refused_by_column(
    owner: Writer, corp: Corp
) -> None:
    await owner.send(
        attribute_service_pb2.CreateAttributeRequest(
            attribute=attribute_pb2.Attribute(name="Blog", kind=attribute_pb2.ATTRIBUTE_KIND_WEB)
        )
    )
    file = table(
        ("good", "Good", "", "Blog|https://a.cn", "{}"),
        ("link", "Link", "", "https://a.cn", "{}"),
        ("profile", "Profile", "", "", "x"),
        header="user_id,name,department,Blog,external_profile",
    )

    outcome = await corp.import_file(file)

    assert [(line, column) for line, column, _ in outcome.errors] == [
        (3, "Blog"),
        (4, "external_profile"),
    ]
    assert outcome.summary[:3] == (1, 0, 2)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (export.ExportMembersRequest(encoding=AUTO), "encoding"),
        (export.ExportMembersRequest(format=77), "format"),  # type: ignore[arg-type]
        (
            export.ExportMembersRequest(encoding=GB18030, byte_order_mark=True),
            "byte_order_mark",
        ),
    ],
)
async def test_export_that_can_not_be_is_refused(
    files: Files, request_: export.ExportMembersRequest, field: str
) -> None:
    with pytest.raises(TielineError) as raised:
        await files.export_members(request_)

    assert list(raised.value.violations) == [field]
