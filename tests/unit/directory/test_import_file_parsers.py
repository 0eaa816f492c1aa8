"""Whatever bytes a file has: a documented error or records, in bounded memory and time.

A fuzz test of the parsers: hypothesis makes files, whole ones and spoilt ones.
"""

import contextlib
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import timedelta

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tieline.directory.imports import xlsx_rows, xlsx_safety
from tieline.directory.imports.batch_builder import BatchBuilder
from tieline.directory.imports.csv_rows import (
    CsvMalformedError,
    CsvReader,
    CsvRecord,
    Encoding,
    guard_formula,
)
from tieline.directory.imports.xlsx_rows import read_workbook
from tieline.directory.imports.xlsx_safety import FileMalformedError

# The whole module takes some 10 s.
FUZZED = settings(
    max_examples=150,
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
HEADER = "user_id,name,department"
TEXTS = st.text(alphabet="王A ,;\"'=+-@\r\n\t\x00伟🙂\ufeff", max_size=12)


def workbook(*rows: list[object]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


GOOD_BOOK = workbook(["user_id", "name", "department"], ["a", "A", ""], ["b", "B", "East"])


def rewrite(change: Callable[[str, bytes], bytes], **added: bytes) -> bytes:
    """Return the good workbook with its parts changed, and others added."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(GOOD_BOOK)) as source,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
        for name, content in added.items():
            target.writestr(name, content)
    return file.getvalue()


def in_sheet(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, part: part.replace(old, new) if "worksheets/" in name else part


def read_csv(file: bytes, encoding: Encoding) -> list[CsvRecord]:
    reader = CsvReader(encoding)
    return [*reader.feed(file), *reader.finish()]


def build_batches(records: list[CsvRecord]) -> tuple[set[str], int]:
    """Return the members of the good rows, and how many rows there are."""
    builder = BatchBuilder()
    batches = [*(builder.add(record) for record in records), builder.finish()]
    known = [batch for batch in batches if batch is not None]
    members = {row.user_id for batch in known for row in batch.read.rows}
    return members, sum(batch.record_count for batch in known)


@FUZZED
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=60),
            TEXTS.map(str.encode),
            TEXTS.map(lambda text: text.encode("gb18030")),
            st.sampled_from([HEADER.encode(), b"\n", b"\r\n", b'"', b"good,Good,\n"]),
        ),
        max_size=12,
    ),
    encoding=st.sampled_from(Encoding),
)
def test_any_bytes_as_csv_are_rows_or_a_malformed_file(
    pieces: list[bytes], encoding: Encoding
) -> None:
    with contextlib.suppress(CsvMalformedError):
        records = read_csv(b"".join(pieces), encoding)
        build_batches(records)


@FUZZED
@given(junk=st.lists(st.text(alphabet="x,;王 -'", max_size=20), max_size=10), data=st.data())
def test_good_rows_are_never_lost_among_bad_ones(junk: list[str], data: st.DataObject) -> None:
    good = [f"good{number},Good,East" for number in range(5)]
    lines = data.draw(st.permutations([*good, *junk]))
    encoding = data.draw(st.sampled_from([Encoding.UTF_8, Encoding.GB18030]))
    file = "\n".join([HEADER, *lines]).encode(encoding)

    members, rows = build_batches(read_csv(file, encoding))

    assert {f"good{number}" for number in range(5)} <= members
    assert rows == len([line for line in lines if line])


@given(value=TEXTS)
def test_value_that_is_guarded_is_read_as_it_was(value: str) -> None:
    text = value.replace("\r", "").replace("\n", "").replace('"', "").replace(",", "")
    line = f"{guard_formula(text)},x".encode()

    records = read_csv(line, Encoding.UTF_8)

    # The mark at the beginning of a file is none of its characters.
    assert records[0].values[0] == text.removeprefix("\ufeff") or text.startswith("\ufeff")


@pytest.mark.parametrize(("value", "is_guarded"), [
    ("=1+1", True), ("+86", True), ("-", True), ("@x", True), ("'=", True), ("'a", False),
    ("a=", False), ("", False),
])  # fmt: skip
def test_formulas_alone_are_guarded(value: str, is_guarded: bool) -> None:
    assert (guard_formula(value) != value) is is_guarded


@pytest.mark.parametrize(
    ("file", "encoding", "names"),
    [
        pytest.param("王".encode(), Encoding.AUTO, ["王"], id="UTF-8"),
        pytest.param("王".encode("gb18030"), Encoding.AUTO, ["王"], id="GB 18030"),
        pytest.param("\ufeff王".encode(), Encoding.AUTO, ["王"], id="UTF-8 with its mark"),
        pytest.param("a\n王".encode("gb18030"), Encoding.AUTO, ["a", "王"], id="ASCII first"),
        pytest.param("𠮷€".encode("gb18030"), Encoding.GB18030, ["𠮷€"], id="four bytes"),
    ],
)
def test_encoding_is_told_or_guessed(file: bytes, encoding: Encoding, names: list[str]) -> None:
    assert [record.values[0] for record in read_csv(file, encoding)] == names


@FUZZED
@given(
    spoils=st.lists(st.tuples(st.integers(0, len(GOOD_BOOK) - 1), st.integers(0, 255)), max_size=8),
    end=st.integers(0, len(GOOD_BOOK)),
)
def test_spoilt_workbook_is_rows_or_a_malformed_file(
    spoils: list[tuple[int, int]], end: int
) -> None:
    file = bytearray(GOOD_BOOK)
    for at, value in spoils:
        file[at] = value
    with contextlib.suppress(FileMalformedError):
        for _ in read_workbook(io.BytesIO(bytes(file[: max(end, len(file) - 20)]))):
            pass


@FUZZED
@given(
    part=st.sampled_from(["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"]),
    old=st.sampled_from([b"row", b"<c ", b't="', b"r=", b"A1", b"sheet", b"1", b"/"]),
    new=st.sampled_from([b"", b"x", b"-1", b"9999", b"<", b"&a;", b"NaN", b"\x00"]),
)
def test_workbook_with_spoilt_xml_is_rows_or_a_malformed_file(
    part: str, old: bytes, new: bytes
) -> None:
    file = rewrite(lambda name, content: content.replace(old, new) if name == part else content)
    with contextlib.suppress(FileMalformedError):
        for _ in read_workbook(io.BytesIO(file)):
            pass


def test_rows_of_a_workbook_are_records_by_their_numbers() -> None:
    file = workbook(["a", "b"], [], ["x", 13800000000.0, None, None], [True, None, "far"])

    records = [record for piece in read_workbook(io.BytesIO(file)) for record in piece]

    assert [(record.line, record.values) for record in records] == [
        (1, ["a", "b"]),
        (3, ["x", "13800000000"]),
        (4, ["1", "", "far"]),
    ]


ENTITIES = b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 1000 + b'"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param(b"", "must be an XLSX", id="empty"),
        pytest.param(b"user_id,name\n", "must be an XLSX", id="CSV"),
        pytest.param(GOOD_BOOK[:-100], "must be an XLSX", id="cut off"),
        pytest.param(
            rewrite(lambda name, part: part, **{"xl/media/zeros.bin": bytes(2 * 10**6)}),
            "too large",
            id="bomb of zeros",
        ),
        pytest.param(
            rewrite(lambda name, part: part, **{"xl/sharedStrings.xml": b"<a>" + b"x" * 10**6}),
            "too large",
            id="shared texts",
        ),
        pytest.param(
            rewrite(lambda name, part: part, **{f"x{n}": b"" for n in range(1001)}),
            "at most 1000 parts",
            id="many parts",
        ),
        pytest.param(
            rewrite(in_sheet(b"<worksheet", ENTITIES + b"<worksheet")),
            "document type",
            id="entities in a sheet",
        ),
        pytest.param(
            rewrite(lambda name, part: ENTITIES + b"<x/>" if name.endswith(".rels") else part),
            "document type",
            id="entities in relations",
        ),
        pytest.param(
            rewrite(in_sheet(b"<sheetData>", b"<sheetData><row>" + b"<c/>" * 300_000 + b"</row>")),
            "row of more",
            id="endless row",
        ),
        pytest.param(
            rewrite(in_sheet(b"<sheetData>", b"<sheetData>" + b'<row xmlns=""/>' * 70_000)),
            "beside its rows",
            id="rows that are none",
        ),
        pytest.param(
            rewrite(
                in_sheet(
                    b"<sheetData>",
                    b"<sheetData><row><c><v><![CDATA[" + b"<row " * 250_000 + b"]]></v></c></row>",
                )
            ),
            "row of more",
            id="text that looks like rows",
        ),
        pytest.param(
            rewrite(
                lambda name, part: part,
                **{"xl/sharedStrings.xml": b"<sst>" + b"<si/>" * 60_000 + b"</sst>"},
            ),
            "too large",
            id="shared texts of nothing",
        ),
        pytest.param(
            rewrite(lambda name, part: part, **{"xl/media/a.png": b"<a>" + b"<b/>" * 300_000}),
            "too large",
            id="XML that is not called so",
        ),
        pytest.param(
            rewrite(lambda name, part: part, **{"xl/media/a.png": ENTITIES + b"<a/>"}),
            "document type",
            id="entities in a picture",
        ),
        pytest.param(
            rewrite(
                lambda name, part: (
                    part.replace(b"relationships/worksheet", b"relationships/chartsheet")
                    if name.endswith("workbook.xml.rels")
                    else part
                )
            ),
            "takes a part",
            id="sheet that is called a chart",
        ),
        pytest.param(
            rewrite(in_sheet(b'<row r="2"', b'<row r="1000000000"')),
            "beyond row",
            id="row that is far down",
        ),
        pytest.param(
            rewrite(lambda name, part: b"\xff" if name == "xl/workbook.xml" else part),
            "can't be read",
            id="part that is no XML",
        ),
    ],
)
def test_workbook_that_is_not_safe_is_refused_in_little_memory(
    monkeypatch: pytest.MonkeyPatch, file: bytes, text: str
) -> None:
    # The same in small: a test need not unpack 300 MB.
    monkeypatch.setattr(xlsx_safety, "MAX_UNPACKED_BYTES", 1_500_000)
    monkeypatch.setattr(xlsx_safety, "MAX_SHARED_STRINGS_BYTES", 900_000)
    monkeypatch.setattr(xlsx_safety, "MAX_SHARED_STRINGS_ELEMENTS", 50_000)
    monkeypatch.setattr(xlsx_safety, "MAX_OTHER_PART_BYTES", 1_000_000)
    monkeypatch.setattr(xlsx_rows, "MAX_ROW_NUMBER", 1000)
    tracemalloc.start()
    try:
        with pytest.raises(FileMalformedError, match=text):
            for _ in read_workbook(io.BytesIO(file)):
                pass
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 8_000_000


def test_size_that_the_archive_tells_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_safety, "MAX_UNPACKED_BYTES", 1_500_000)
    file = rewrite(lambda name, part: part, **{"xl/media/zeros.bin": bytes(2 * 10**6)})
    # Both lists say that there are 16 bytes.
    lying = file.replace((2 * 10**6).to_bytes(4, "little"), (16).to_bytes(4, "little"))
    assert lying != file

    with pytest.raises(FileMalformedError):
        for _ in read_workbook(io.BytesIO(lying)):
            pass
