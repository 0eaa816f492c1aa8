"""What of a batch is written, against what is stored and what came before in the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.directory.imports.batch_builder import BATCH_RECORDS, Batch, BatchBuilder
from tieline.directory.imports.batches import (
    BatchPlan,
    StoredMember,
    Surroundings,
    plan_batch,
)
from tieline.directory.imports.columns import FIELD_COLUMNS
from tieline.directory.imports.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.imports.member_rows import MemberRow, ReadRows, RowError
from tieline.directory.imports.row_places import Place

HEADER = CsvRecord(1, 30, ["user_id", "name", "department"])


def fields(**values: str | None) -> tuple[str | None, ...]:
    """Return a row's fields; those that are not named are left out of the file."""
    return tuple(values.get(name) for name in FIELD_COLUMNS)


def row(
    line: int,
    user_id: str,
    *,
    mobile: str | None = "",
    email: str | None = "",
    name: str = "Wang",
    department: str = "East",
    **others: str | None,
) -> MemberRow:
    values = fields(name=name, position="Clerk", mobile=mobile, email=email, **others)
    return MemberRow(line, user_id, values, (department,))


def stored(
    user_id: str,
    *,
    mobile: str = "",
    email: str = "",
    import_id: str = "old",
    state: str = "active",
    places: tuple[Place, ...] = ((2, 7, True),),
) -> StoredMember:
    known = {"name": "Wang", "position": "Clerk", "gender": "unknown"}
    values = known | {"mobile": mobile, "email": email}
    texts = tuple(values.get(name, "") for name in FIELD_COLUMNS)
    return StoredMember(user_id, texts, places, {}, state, import_id, 5)


def plan(
    *rows: MemberRow,
    members: tuple[StoredMember, ...] = (),
    department_id: int = 2,
    leaders: dict[str, str] | None = None,
    rooms: dict[str, int] | None = None,
) -> BatchPlan:
    around = Surroundings(members, {"": 1, "East": department_id}, leaders or {}, rooms or {})
    return plan_batch(Batch(ReadRows(list(rows))), around, import_id="this")


def accepted(decided: BatchPlan) -> list[str]:
    return [member.user_id for member in decided.members]


def changed(decided: BatchPlan) -> list[str]:
    return [member.user_id for member in decided.members if member.is_changed]


def value(decided: BatchPlan, column: str) -> str:
    [member] = decided.members
    return member.fields[FIELD_COLUMNS.index(column)]


def test_new_members_are_added_in_the_order_of_the_file() -> None:
    rows = [row(2, "b"), row(3, "a")]

    decided = plan(*rows)

    assert (accepted(decided), decided.added, changed(decided)) == (["b", "a"], 2, ["b", "a"])


def test_member_as_stored_is_written_without_counting_as_changed() -> None:
    decided = plan(row(2, "a"), members=(stored("a"),))

    assert (accepted(decided), decided.added, decided.unchanged) == (["a"], 0, 1)


@pytest.mark.parametrize(
    "differing",
    [row(2, "a", name="Li"), row(2, "a", mobile="12345"), row(2, "a", email="a@b.cn")],
)
def test_member_that_differs_from_the_stored_one_counts_as_changed(differing: MemberRow) -> None:
    assert changed(plan(differing, members=(stored("a"),))) == ["a"]


def test_member_in_another_department_counts_as_changed() -> None:
    assert changed(plan(row(2, "a"), members=(stored("a"),), department_id=3)) == ["a"]


@pytest.mark.parametrize(
    ("state", "is_told", "is_disabled"),
    [
        pytest.param("active", True, True, id="is disabled"),
        pytest.param("disabled", False, False, id="is enabled"),
        pytest.param("disabled", None, True, id="stays disabled"),
        pytest.param("active", None, False, id="stays active"),
        pytest.param("left", True, True, id="comes back disabled"),
        pytest.param("left", None, False, id="comes back"),
    ],
)
def test_row_disables_and_enables_and_leaves_where_it_says_nothing(
    state: str, is_told: bool | None, is_disabled: bool
) -> None:
    """A member for whom that is another state counts as changed."""
    before = stored("a", state=state)

    decided = plan(row(2, "a")._replace(is_disabled=is_told), members=(before,))

    [member] = decided.members
    assert member.is_disabled is is_disabled
    assert member.is_changed is (state == "left" or is_disabled is not (state == "disabled"))


def test_corps_owner_is_not_disabled_by_a_row() -> None:
    around = Surroundings((stored("a"),), {"": 1, "East": 2}, owner_user_id="a")
    rows = [row(2, "a")._replace(is_disabled=True), row(3, "b")._replace(is_disabled=True)]

    decided = plan_batch(Batch(ReadRows(rows)), around, import_id="this")

    assert decided.errors == [RowError(2, "state", "can't be disabled: the member owns the corp")]
    assert [(each.user_id, each.is_disabled) for each in decided.members] == [("b", True)]


def test_second_row_of_a_user_id_is_refused() -> None:
    decided = plan(row(2, "a"), row(3, "a", name="Li"))

    assert [member.line for member in decided.members] == [2]
    assert decided.errors == [RowError(3, "user_id", "is already on line 2 of this file")]
    assert decided.refused == 1


def test_user_id_of_an_earlier_batch_is_refused() -> None:
    decided = plan(row(9, "a"), members=(stored("a", import_id="this"),))

    assert decided.errors == [RowError(9, "user_id", "is already on line 5 of this file")]


def test_number_and_address_of_another_member_are_refused_by_column() -> None:
    owner = stored("owner", mobile="12345", email="Own@er.cn")

    decided = plan(row(2, "a", mobile="12345", email="own@ER.cn"), members=(owner,))

    assert decided.members == []
    assert decided.errors == [
        RowError(2, "mobile", "belongs to owner"),
        RowError(2, "email", "belongs to owner"),
    ]
    assert decided.refused == 1


def test_number_of_an_earlier_row_is_refused() -> None:
    decided = plan(row(2, "a", mobile="12345"), row(3, "b", mobile="12345"))

    assert decided.errors == [RowError(3, "mobile", "belongs to a")]


def test_number_that_an_earlier_row_gave_up_is_free() -> None:
    decided = plan(
        row(2, "a", mobile="99999", email="n@e.w.cn"),
        row(3, "b", mobile="12345", email="a@b.cn"),
        members=(stored("a", mobile="12345", email="a@b.cn"),),
    )

    assert accepted(decided) == ["a", "b"]


def test_number_that_a_later_row_gives_up_is_not_free_yet() -> None:
    decided = plan(
        row(2, "b", mobile="12345"),
        row(3, "a", mobile="99999"),
        members=(stored("a", mobile="12345"),),
    )

    assert accepted(decided) == ["a"]


def test_refused_row_takes_nothing_from_those_behind_it() -> None:
    decided = plan(
        row(2, "a", mobile="12345", email="o@w.cn"),
        row(3, "b", mobile="12345"),
        members=(stored("owner", email="o@w.cn"),),
    )

    assert accepted(decided) == ["b"]


def test_left_out_columns_keep_what_is_stored_and_what_it_takes() -> None:
    decided = plan(
        row(2, "a", mobile=None, email=None),
        row(3, "b", mobile="12345"),
        members=(stored("a", mobile="12345", email="a@b.cn"),),
    )

    assert (accepted(decided), changed(decided)) == (["a"], [])
    assert decided.errors == [RowError(3, "mobile", "belongs to a")]


def test_empty_value_of_a_column_that_is_there_clears_what_is_stored() -> None:
    decided = plan(row(2, "a"), members=(stored("a", mobile="12345"),))

    assert (value(decided, "mobile"), changed(decided)) == ("", ["a"])


def test_left_out_order_and_leadership_stay_where_the_department_stays() -> None:
    decided = plan(row(2, "a"), members=(stored("a", places=((2, 7, True), (9, 1, False))),))

    [member] = decided.members
    assert (member.orders, member.leaders, member.is_changed) == ((7,), (True,), True)


def test_member_who_left_is_added_again_with_what_the_file_says_alone() -> None:
    decided = plan(row(2, "a", mobile=None), members=(stored("a", state="left", mobile="12345"),))

    assert (decided.added, changed(decided), value(decided, "mobile")) == (1, ["a"], "")


def test_number_of_a_member_who_left_is_nobodys() -> None:
    decided = plan(row(2, "b", mobile="12345"), members=(stored("a", state="left"),))

    assert accepted(decided) == ["b"]


@pytest.mark.parametrize(
    ("leaders", "is_accepted"),
    [
        pytest.param({"boss": ""}, True, id="a member"),
        pytest.param({}, False, id="nobody"),
        pytest.param({"boss": "a"}, False, id="reports to the member"),
        pytest.param({"boss": "x", "x": "a"}, False, id="reports to the member over another"),
        pytest.param({"boss": "x", "x": "boss"}, True, id="a circle without the member"),
    ],
)
def test_leader_is_a_member_who_does_not_report_to_this_one(
    leaders: dict[str, str], is_accepted: bool
) -> None:
    decided = plan(row(2, "a", direct_leader="boss"), leaders=leaders)

    assert accepted(decided) == (["a"] if is_accepted else [])


def test_leader_may_stand_on_a_later_line() -> None:
    assert accepted(plan(row(2, "a", direct_leader="b"), row(3, "b"))) == ["a", "b"]


def test_those_under_a_later_row_that_is_refused_are_refused_too() -> None:
    decided = plan(
        row(2, "a", direct_leader="b"),
        row(3, "b", direct_leader="c"),
        row(4, "c", mobile="12345"),
        members=(stored("other", mobile="12345"),),
    )

    assert accepted(decided) == []
    assert [(error.line, error.column) for error in decided.errors] == [
        (2, "direct_leader"),
        (3, "direct_leader"),
        (4, "mobile"),
    ]


def test_attributes_are_merged_by_name_and_cleared_by_an_empty_value() -> None:
    before = stored("a")._replace(attributes={"Badge": {"text": "1"}, "Blog": {"web": {}}})
    changing = row(2, "a")._replace(attributes=(("Badge", None), ("Desk", {"text": "7"})))

    [member] = plan(changing, members=(before,)).members

    assert member.attributes == {"Blog": {"web": {}}, "Desk": {"text": "7"}}
    assert member.is_changed


def test_rows_outside_of_the_callers_departments_are_refused() -> None:
    around = Surroundings(
        (stored("other", places=((9, 0, False),)),),
        {"": 1, "East": 2},
        can_manage_path=lambda path: path == "East",
        can_manage_member=lambda member: member.places[0][0] == 2,
    )
    rows = [row(2, "a"), row(3, "b", department=""), row(4, "other")]

    decided = plan_batch(Batch(ReadRows(rows)), around, import_id="this")

    assert accepted(decided) == ["a"]
    assert [(error.line, error.column) for error in decided.errors] == [
        (3, "department"),
        (4, "user_id"),
    ]


_VALUES = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from("abcd"),
        "mobile": st.sampled_from(["", "", "12345"]) | st.none(),
        "email": st.sampled_from(["", "a@b.cn", "A@b.cn"]),
        "direct_leader": st.sampled_from(["", "", "", "b"]) | st.none(),
        "department": st.sampled_from(["East", "East", "West"]),
    }
)


@given(st.lists(_VALUES, max_size=4))
def test_rows_of_new_members_alone_are_decided_as_among_others(
    values: list[dict[str, str]],
) -> None:
    rows = [row(line, **value) for line, value in enumerate(values, start=2)]
    # With somebody stored each row is looked at by itself.
    plans = [
        plan_batch(
            Batch(ReadRows(rows)),
            Surroundings(others, {"": 1, "East": 2}, can_manage_path=lambda path: path == "East"),
            import_id="this",
        )
        for others in ((), (stored("somebody else"),))
    ]

    assert plans[0] == plans[1]


def test_new_member_has_what_the_row_says_and_what_a_column_that_is_left_out_means() -> None:
    given_row = row(2, "a", email=None)._replace(attributes=(("Badge", None), ("Desk", {})))

    [member] = plan(given_row).members

    values = {"name": "Wang", "position": "Clerk", "gender": "unknown"}
    assert member.fields == tuple(values.get(name, "") for name in FIELD_COLUMNS)
    assert (member.orders, member.leaders, member.attributes) == ((0,), (False,), {"Desk": {}})
    assert (member.before, member.is_changed) == (None, True)


def test_rows_that_a_full_department_has_no_room_for_are_refused() -> None:
    rows = [row(2, "a"), row(3, "b", department=""), row(4, "c"), row(5, "stays"), row(6, "d")]

    decided = plan(*rows, members=(stored("stays"),), rooms={"East": 2})

    assert accepted(decided) == ["a", "b", "c", "stays"]
    assert decided.errors == [
        RowError(6, "department", "has 30000 members and departments already")
    ]


def test_errors_are_given_in_the_order_of_the_file() -> None:
    read = ReadRows(
        [row(2, "a"), row(3, "a"), row(9, "a")], [RowError(5, "name", "bad")], refused=1
    )

    decided = plan_batch(Batch(read), Surroundings((), {"": 1}), import_id="this")

    assert [error.line for error in decided.errors] == [3, 5, 9]
    assert decided.refused == 3


def test_columns_are_called_what_the_header_calls_them() -> None:
    read = ReadRows([row(2, "a"), row(3, "a")], column_names={"user_id": "账号"})

    decided = plan_batch(Batch(read), Surroundings((), {}), import_id="this")

    assert [error.column for error in decided.errors] == ["账号"]


def test_batch_is_full_with_its_last_record_good_or_bad() -> None:
    builder = BatchBuilder()
    builder.add(HEADER)
    records = [
        CsvRecord(line, line * 10, [f"u{line}", "Wang" if line % 2 else "", "East"])
        for line in range(2, BATCH_RECORDS + 3)
    ]

    batches = [builder.add(record) for record in records]

    full = batches[-2]
    assert full is not None
    assert batches.count(None) == BATCH_RECORDS
    assert (len(full.read.rows), full.read.refused) == (BATCH_RECORDS // 2, BATCH_RECORDS // 2)
    assert full.end_byte == records[-2].end_byte
    rest = builder.finish()
    assert rest is not None
    assert rest.read.rows == []
    assert rest.read.refused == 1


def test_file_of_a_header_alone_has_no_batch() -> None:
    builder = BatchBuilder()
    builder.add(HEADER)

    assert builder.finish() is None


def test_empty_file_is_malformed() -> None:
    with pytest.raises(CsvMalformedError, match="empty"):
        BatchBuilder().finish()
