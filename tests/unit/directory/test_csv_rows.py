"""CSV in chunks: the same bytes give the same records, however they are cut."""

import csv
import io
import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tieline.directory.imports.csv_rows import (
    MAX_RECORD_BYTES,
    CsvMalformedError,
    CsvReader,
    CsvRecord,
)

# The characters that decide anything, with letters of one, two, three and four bytes.
TEXT = st.text(alphabet='",\r\n aé店𠮷\ufeff', max_size=40)
PIECES = st.one_of(
    TEXT.map(str.encode),
    st.sampled_from(
        [b"\xff", b"\xe5\xba", b"\r\n", b'"a\nb"', b'""', b"x" * 40_000, b"\xef\xbb\xbf"]
    ),
)
FILES = st.lists(PIECES, max_size=8).map(b"".join)


def read(*chunks: bytes) -> tuple[list[CsvRecord], str]:
    """Return the records, and the error that ended them."""
    reader = CsvReader()
    records: list[CsvRecord] = []
    try:
        for chunk in chunks:
            records.extend(reader.feed(chunk))
        records.extend(reader.finish())
    except CsvMalformedError as error:
        return records, error.text
    return records, ""


def values(*chunks: bytes) -> list[list[str]]:
    records, error = read(*chunks)
    assert not error
    return [record.values for record in records]


@given(file=FILES, cuts=st.lists(st.integers(min_value=0, max_value=200_000), max_size=6))
@example(file=b'\xef\xbb\xbfa\r\n"b\r\n', cuts=[1, 4, 6])
@example(file=b"x" * (MAX_RECORD_BYTES + 1), cuts=[MAX_RECORD_BYTES])
@example(file=b"x" * MAX_RECORD_BYTES + b"\r\n", cuts=[MAX_RECORD_BYTES + 1])
@example(file=b'"\n' + b"x" * MAX_RECORD_BYTES, cuts=[2, 9])
def test_any_chunking_gives_the_same_records_and_error(file: bytes, cuts: list[int]) -> None:
    borders = sorted({0, len(file), *(cut % (len(file) + 1) for cut in cuts)})
    chunks = [file[start:end] for start, end in itertools.pairwise(borders)]

    assert read(*chunks) == read(file)


@given(file=TEXT.map(str.encode))
def test_byte_by_byte_gives_the_same_records_and_error(file: bytes) -> None:
    assert read(*(file[at : at + 1] for at in range(len(file)))) == read(file)


@given(rows=st.lists(st.lists(st.text(alphabet='",\n a店', max_size=9), min_size=2), min_size=1))
def test_what_the_csv_module_writes_is_read_as_it_was(rows: list[list[str]]) -> None:
    file = io.StringIO()
    csv.writer(file).writerows(rows)

    assert values(file.getvalue().encode()) == rows


@given(text=st.text(alphabet='",\nab', max_size=30))
def test_well_formed_lines_end_where_the_csv_module_ends_them(text: str) -> None:
    try:
        expected = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error:
        return

    assert values(text.encode()) == expected


def test_records_know_their_line_and_where_they_end() -> None:
    file = b'a,b\r\n\r\n"c\r\nd",e\nf,g'

    records, _ = read(file)

    assert records == [
        CsvRecord(1, 5, ["a", "b"]),
        CsvRecord(3, 16, ["c\nd", "e"]),
        CsvRecord(5, 19, ["f", "g"]),
    ]


def test_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert values(b"\xef\xbb\xbfuser_id\n") == [["user_id"]]


def test_quote_within_an_unquoted_field_is_a_character_like_any_other() -> None:
    assert values(b'5" tablet,b\nc,d\n') == [['5" tablet', "b"], ["c", "d"]]


def test_half_quoted_field_spoils_its_own_record_only() -> None:
    records, error = read(b'"a"b,c\nd,e\n')

    assert error == ""
    assert "quoted whole" in records[0].problem
    assert records[1].values == ["d", "e"]


@pytest.mark.parametrize(
    ("file", "line", "text"),
    [
        pytest.param(b'a,b\nc,"d\ne,f\n', 2, "never closed", id="quote never closed"),
        pytest.param(b"a\n\xff\n", 2, "UTF-8", id="no UTF-8"),
        pytest.param(b"a\n\xe5\xba", 2, "UTF-8", id="cut within a character"),
        pytest.param(b"a\n" + b"x" * (MAX_RECORD_BYTES + 1) + b"\n", 2, "at most", id="long line"),
        pytest.param(
            b'a\n"' + b"\n" * 2 * MAX_RECORD_BYTES, 2, "not closed", id="long quoted field"
        ),
        pytest.param("a,b\n".encode("utf-16"), 1, "UTF-8", id="UTF-16"),
    ],
)
def test_malformed_file_names_the_line(file: bytes, line: int, text: str) -> None:
    reader = CsvReader()

    with pytest.raises(CsvMalformedError, match=text) as raised:
        for _ in (*reader.feed(file), *reader.finish()):
            pass

    assert raised.value.metadata == {"line": str(line)}
    assert raised.value.reason == "CSV_MALFORMED"


def test_line_of_64_kib_is_read() -> None:
    assert values(b"x" * MAX_RECORD_BYTES + b"\r\n") == [["x" * MAX_RECORD_BYTES]]


def test_records_before_the_malformed_line_are_given() -> None:
    records, error = read(b"a\nb\n\xff\nc\n")

    assert [record.values for record in records] == [["a"], ["b"]]
    assert error == "line 3: must be UTF-8"
