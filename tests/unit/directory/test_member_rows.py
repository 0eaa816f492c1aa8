"""Each column's rule, and what a header may be."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.directory.departments.rules import MAX_PATH_CHARACTERS
from tieline.directory.imports.columns import FIELD_COLUMNS, MEMBER_COLUMNS
from tieline.directory.imports.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.imports.member_rows import MemberRow, ReadRows, RowError, RowReader

COLUMNS = ("user_id", "name", "department", "position", "mobile", "email")
GOOD = {
    "user_id": "Wang.Wei",
    "name": "王伟",
    "department": "East/Shanghai",
    "position": "Clerk",
    "mobile": "+8613800000000",
    "email": "Wang.Wei@example.com",
}
EVERYTHING = GOOD | {
    "department": "East;West",
    "department_order": "1;2",
    "is_leader": "0;1",
    "alias": "Wei",
    "gender": "男",
    "telephone": "021-5555 +1,2",
    "biz_email": "wei@work.cn",
    "address": "1 Main Street",
    "direct_leader": "Boss",
    "external_position": "顾问",
    "external_profile": '{"corp_name": "金玉"}',
    "avatar_media_id": "media_7-B",
    "state": "已禁用",
}


def read(**changes: str) -> MemberRow | list[RowError]:
    """Return what a row of these columns is, the good row's values in the others."""
    values = GOOD | {name: EVERYTHING[name] for name in changes} | changes
    if changes.keys() & {"department_order", "is_leader"}:
        values["department"] = EVERYTHING["department"]
    return only(RowReader(CsvRecord(1, 0, list(values))), list(values.values()))


def only(reader: RowReader, values: Sequence[str], line: int = 7) -> MemberRow | list[RowError]:
    outcome = reader.read([CsvRecord(line, 0, list(values))])
    assert outcome.refused == (1 if outcome.errors else 0)
    return outcome.errors or outcome.rows[0]


def fields(**values: str) -> tuple[str | None, ...]:
    return tuple(values.get(name) for name in FIELD_COLUMNS)


def test_good_row_gives_the_member_with_the_user_id_in_lower_case() -> None:
    assert read() == MemberRow(
        7,
        "wang.wei",
        fields(
            name="王伟", position="Clerk", mobile="+8613800000000", email="Wang.Wei@example.com"
        ),
        ("East/Shanghai",),
    )


def test_row_of_all_columns_gives_everything() -> None:
    row = read(**EVERYTHING)

    assert isinstance(row, MemberRow)
    assert (row.departments, row.orders, row.leaders) == (("East", "West"), (1, 2), (False, True))
    assert row.is_disabled
    known = dict(zip(FIELD_COLUMNS, row.fields, strict=True))
    assert (known["gender"], known["direct_leader"]) == ("male", "boss")
    assert known["telephone"] == EVERYTHING["telephone"]


def test_header_may_be_in_chinese_and_errors_call_the_columns_so() -> None:
    reader = RowReader(CsvRecord(1, 0, ["账号", "姓名", "部门", "手机"]))

    assert only(reader, ["w", "王伟", "东", "x"]) == [
        RowError(7, "手机", "must be 5 to 20 characters: digits, with or without a leading +")
    ]


def test_columns_of_attributes_are_read_by_their_names() -> None:
    reader = RowReader(CsvRecord(1, 0, ["user_id", "name", "department", "工牌"]), {"工牌": "text"})

    row = only(reader, ["w", "W", "", " A-17 "])

    assert isinstance(row, MemberRow)
    assert row.attributes == (("工牌", {"text": "A-17"}),)


def test_semicolon_behind_a_backslash_is_part_of_a_departments_name() -> None:
    row = read(department=r"A\;B/C;D")

    assert isinstance(row, MemberRow)
    assert row.departments == ("A;B/C", "D")


def test_refused_rows_still_name_their_members() -> None:
    reader = RowReader(CsvRecord(1, 0, list(COLUMNS)))
    good = [GOOD[name] for name in COLUMNS]
    bad = [GOOD | {"user_id": "B", "name": ""}, GOOD | {"user_id": "!", "name": ""}]
    records = [good, *([each[name] for name in COLUMNS] for each in bad), ["C"]]

    outcome = reader.read([CsvRecord(2 + at, 0, values) for at, values in enumerate(records)])

    assert [row.user_id for row in outcome.rows] == ["wang.wei"]
    assert (outcome.refused, outcome.refused_user_ids) == (3, {"b", "c"})


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                name: st.sampled_from([EVERYTHING[name], "", "x", "a\nb", "1", ";", "🙂", "a@b.cn"])
                for name in MEMBER_COLUMNS
            }
        ),
        max_size=6,
    )
)
def test_rows_of_a_batch_are_judged_as_each_is_by_itself(rows: list[dict[str, str]]) -> None:
    def read_all(*batches: list[CsvRecord]) -> ReadRows:
        reader, together = RowReader(CsvRecord(1, 0, list(MEMBER_COLUMNS))), ReadRows()
        for batch in batches:
            outcome = reader.read(batch)
            together.rows += outcome.rows
            together.errors += outcome.errors
            together.refused += outcome.refused
        return together

    records = [CsvRecord(2 + at, 0, list(row.values())) for at, row in enumerate(rows)]

    assert read_all(records) == read_all(*([record] for record in records))


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
        pytest.param("department", ";".join(map(str, range(100))), id="100 departments"),
        pytest.param("department", ";East", id="the root and another department"),
        pytest.param("department_order", "4294967295;0", id="highest order"),
        pytest.param("department_order", "", id="no order"),
        pytest.param("is_leader", "是;否", id="leader in Chinese"),
        pytest.param("gender", "Female", id="gender in capitals"),
        pytest.param("telephone", "1" * 32, id="longest telephone"),
        pytest.param("biz_email", "", id="no work email"),
        pytest.param("address", "x" * 128, id="longest address"),
        pytest.param("direct_leader", "", id="no leader"),
        pytest.param("external_position", "顾" * 12, id="longest external position"),
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
        pytest.param("email", "a@example.com\nb@example.com", id="two emails"),
        pytest.param("department", ";".join(map(str, range(101))), id="101 departments"),
        pytest.param("department", "East;East", id="department twice"),
        pytest.param("department_order", "1", id="one order for two departments"),
        pytest.param("department_order", "4294967296;0", id="order too high"),
        pytest.param("department_order", "-1;0", id="negative order"),
        pytest.param("department_order", "1_0;0", id="order that only Python reads"),
        pytest.param("is_leader", "1;2", id="neither 0 nor 1"),
        pytest.param("gender", "other", id="unknown gender"),
        pytest.param("telephone", "1" * 33, id="telephone too long"),
        pytest.param("telephone", "call me", id="telephone of letters"),
        pytest.param("biz_email", "work", id="work email without an at"),
        pytest.param("address", "x" * 129, id="address too long"),
        pytest.param("direct_leader", "王", id="leader who is no user id"),
        pytest.param("avatar_media_id", "a b", id="avatar with a space"),
        pytest.param("state", "left", id="state that no row gives"),
        pytest.param("external_position", "顾" * 13, id="external position too long"),
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

    assert only(reader, ["East", "王伟", "w"]) == MemberRow(7, "w", fields(name="王伟"), ("East",))


@pytest.mark.parametrize("width", [5, 7, 1])
def test_row_of_another_width_than_the_header_is_refused_as_a_whole(width: int) -> None:
    reader = RowReader(CsvRecord(1, 0, list(COLUMNS)))

    assert only(reader, ["x"] * width) == [
        RowError(7, "", f"has {width} columns; the header has 6")
    ]


def test_record_that_is_no_csv_is_refused_with_its_problem() -> None:
    reader = RowReader(CsvRecord(1, 0, list(COLUMNS)))

    assert reader.read([CsvRecord(2, 0, [], "is odd")]).errors == [RowError(2, "", "is odd")]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param(["user_id", "name"], "lacks department", id="required column missing"),
        pytest.param([*COLUMNS, "e-mail"], "unknown column 'e-mail'", id="unknown column"),
        pytest.param([*COLUMNS, "name"], "twice", id="column twice"),
        pytest.param([*COLUMNS, *(f"x{i}" for i in range(1994))], "at most 64", id="2,000 columns"),
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
