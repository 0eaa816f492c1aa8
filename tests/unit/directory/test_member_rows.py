"""Each column's rule, and what a header may be."""

import pytest

from tieline.directory.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.departments import MAX_PATH_CHARACTERS
from tieline.directory.member_rows import COLUMNS, MemberRow, RowError, RowReader

GOOD = {
    "user_id": "Wang.Wei",
    "name": "王伟",
    "department": "East/Shanghai",
    "position": "Clerk",
    "mobile": "+8613800000000",
    "email": "Wang.Wei@example.com",
}


def read(**changes: str) -> MemberRow | list[RowError]:
    reader = RowReader(CsvRecord(1, 0, list(COLUMNS)))
    values = GOOD | changes
    return reader.read(CsvRecord(7, 0, [values[name] for name in COLUMNS]))


def test_good_row_gives_the_member_with_the_user_id_in_lower_case() -> None:
    assert read() == MemberRow(
        7, "wang.wei", "王伟", "East/Shanghai", "Clerk", "+8613800000000", "Wang.Wei@example.com"
    )


def test_spaces_around_values_are_dropped() -> None:
    assert read(name=" 王伟\u3000", department=" East / Shanghai ") == read()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("user_id", "a" * 64, id="longest user id"),
        pytest.param("user_id", "0_-@.", id="all of a user id's characters"),
        pytest.param("name", "王" * 64, id="longest name"),
        pytest.param("name", "王\u3000伟", id="wide space within a name"),
        pytest.param("department", "", id="root department"),
        pytest.param("department", "/".join("abcdefghijklmno"), id="15 levels"),
        pytest.param("department", "a" * 64, id="longest department"),
        pytest.param("position", "", id="no position"),
        pytest.param("position", "x" * 128, id="longest position"),
        pytest.param("mobile", "", id="no mobile"),
        pytest.param("mobile", "12345", id="shortest mobile"),
        pytest.param("mobile", "+" + "1" * 19, id="longest mobile"),
        pytest.param("email", "", id="no email"),
        pytest.param("email", "a@b.cn", id="shortest email"),
        pytest.param("email", "a" * 52 + "@example.com", id="longest email"),
    ],
)
def test_value_within_its_rule_is_accepted(column: str, value: str) -> None:
    assert isinstance(read(**{column: value}), MemberRow)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("user_id", "", id="no user id"),
        pytest.param("user_id", "a" * 65, id="user id too long"),
        pytest.param("user_id", "_a", id="user id that begins with a sign"),
        pytest.param("user_id", "王", id="user id beyond ASCII"),
        pytest.param("user_id", "\u212aate", id="user id whose lower case is ASCII"),
        pytest.param("name", "", id="no name"),
        pytest.param("name", "王" * 65, id="name too long"),
        pytest.param("name", "a\nb", id="line break in a name"),
        pytest.param("name", "a\x00b", id="NUL in a name"),
        pytest.param("department", "a//b", id="department without a name"),
        pytest.param("department", "/a", id="path that begins with a slash"),
        pytest.param("department", "a:b", id="forbidden character"),
        pytest.param("department", "a\tb", id="control character in a department"),
        pytest.param("department", "a" * 65, id="department's name too long"),
        pytest.param("department", "/".join("abcdefghijklmnop"), id="16 levels"),
        pytest.param(
            "department", "/".join(["a" * 63] * 8) + "/b", id="path one character too long"
        ),
        pytest.param(
            "department", f"a{' ' * MAX_PATH_CHARACTERS}/b", id="path too long as it is written"
        ),
        pytest.param("position", "x" * 129, id="position too long"),
        pytest.param("position", "a\x7f", id="control character in a position"),
        pytest.param("mobile", "1234", id="mobile too short"),
        pytest.param("mobile", "+" + "1" * 20, id="mobile too long"),
        pytest.param("mobile", "138-0000", id="mobile with a sign"),
        pytest.param("mobile", "１２３４５", id="mobile of wide digits"),
        pytest.param("email", "a@b.c", id="email too short"),
        pytest.param("email", "a" * 53 + "@example.com", id="email too long"),
        pytest.param("email", "example.com", id="email without an at"),
        pytest.param("email", "a b@example.com", id="email with a space"),
        pytest.param("email", "王@example.com", id="email beyond ASCII"),
    ],
)
def test_value_that_breaks_its_rule_is_refused_by_line_and_column(column: str, value: str) -> None:
    errors = read(**{column: value})

    assert isinstance(errors, list)
    assert [(error.line, error.column) for error in errors] == [(7, column)]
    assert errors[0].reason.startswith("must ")


def test_longest_path_is_accepted() -> None:
    path = "/".join(["a" * 63] * 8)

    assert len(path) == MAX_PATH_CHARACTERS - 1
    assert isinstance(read(department=path), MemberRow)


def test_row_with_several_faults_names_all_of_them() -> None:
    errors = read(user_id="", mobile="x", email="y")

    assert isinstance(errors, list)
    assert [error.column for error in errors] == ["user_id", "mobile", "email"]


def test_columns_may_stand_in_any_order_and_optional_ones_be_left_out() -> None:
    reader = RowReader(CsvRecord(1, 0, ["department", " name ", "user_id"]))

    row = reader.read(CsvRecord(2, 0, ["East", "王伟", "w"]))

    assert row == MemberRow(2, "w", "王伟", "East", "", "", "")
    assert reader.columns == {"department", "name", "user_id"}


@pytest.mark.parametrize("width", [5, 7, 1])
def test_row_of_another_width_than_the_header_is_refused_as_a_whole(width: int) -> None:
    reader = RowReader(CsvRecord(1, 0, list(COLUMNS)))

    errors = reader.read(CsvRecord(2, 0, ["x"] * width))

    assert errors == [RowError(2, "", f"has {width} columns; the header has 6")]


def test_record_that_is_no_csv_is_refused_with_its_problem() -> None:
    reader = RowReader(CsvRecord(1, 0, list(COLUMNS)))

    assert reader.read(CsvRecord(2, 0, [], "is odd")) == [RowError(2, "", "is odd")]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param(["user_id", "name"], "lacks department", id="required column missing"),
        pytest.param([*COLUMNS, "e-mail"], "unknown column 'e-mail'", id="unknown column"),
        pytest.param([*COLUMNS, "name"], "twice", id="column twice"),
        pytest.param([*COLUMNS, *(f"x{i}" for i in range(59))], "at most 64", id="65 columns"),
        pytest.param([*COLUMNS, ""], "unknown column ''", id="column without a name"),
    ],
)
def test_wrong_header_is_refused_with_its_line(names: list[str], text: str) -> None:
    with pytest.raises(CsvMalformedError, match=text) as raised:
        RowReader(CsvRecord(1, 0, names))

    assert raised.value.metadata == {"line": "1"}


def test_header_with_a_half_quoted_field_is_refused() -> None:
    with pytest.raises(CsvMalformedError, match="the header is odd"):
        RowReader(CsvRecord(1, 0, [], "is odd"))
