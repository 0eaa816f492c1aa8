"""What of a batch is written, against what is stored and what came before in the file."""

import pytest

from tieline.directory.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.import_batches import (
    BATCH_RECORDS,
    Batch,
    BatchBuilder,
    BatchPlan,
    StoredMember,
    plan_batch,
)
from tieline.directory.member_rows import COLUMNS, MemberRow, RowError

HEADER = CsvRecord(1, 30, ["user_id", "name", "department"])


def row(
    line: int, user_id: str, *, mobile: str = "", email: str = "", name: str = "Wang"
) -> MemberRow:
    return MemberRow(line, user_id, name, "East", "Clerk", mobile, email)


def stored(
    user_id: str, *, mobile: str = "", email: str = "", import_id: str = "old"
) -> StoredMember:
    return StoredMember(user_id, "Wang", 2, "Clerk", mobile, email, import_id, 5)


def plan(
    *rows: MemberRow,
    members: tuple[StoredMember, ...] = (),
    columns: tuple[str, ...] = COLUMNS,
    department_id: int = 2,
) -> BatchPlan:
    return plan_batch(
        Batch(rows=list(rows)),
        members,
        import_id="this",
        columns=columns,
        department_ids={"": 1, "East": department_id},
    )


def test_new_members_are_added_in_the_order_of_the_file() -> None:
    rows = [row(2, "b"), row(3, "a")]

    decided = plan(*rows)

    assert (decided.rows, decided.added, decided.changed_user_ids) == (rows, 2, ["b", "a"])


def test_member_as_stored_is_written_without_counting_as_changed() -> None:
    decided = plan(row(2, "a"), members=(stored("a"),))

    assert (len(decided.rows), decided.added, decided.changed_user_ids) == (1, 0, [])


@pytest.mark.parametrize(
    "changed",
    [row(2, "a", name="Li"), row(2, "a", mobile="12345"), row(2, "a", email="a@b.cn")],
)
def test_member_that_differs_from_the_stored_one_counts_as_changed(changed: MemberRow) -> None:
    assert plan(changed, members=(stored("a"),)).changed_user_ids == ["a"]


def test_member_in_another_department_counts_as_changed() -> None:
    assert plan(row(2, "a"), members=(stored("a"),), department_id=3).changed_user_ids == ["a"]


def test_second_row_of_a_user_id_is_refused() -> None:
    decided = plan(row(2, "a"), row(3, "a", name="Li"))

    assert [accepted.line for accepted in decided.rows] == [2]
    assert decided.errors == [RowError(3, "user_id", "is already on line 2 of this file")]
    assert decided.refused == 1


def test_user_id_of_an_earlier_batch_is_refused() -> None:
    decided = plan(row(9, "a"), members=(stored("a", import_id="this"),))

    assert decided.errors == [RowError(9, "user_id", "is already on line 5 of this file")]


def test_number_and_address_of_another_member_are_refused_by_column() -> None:
    owner = stored("owner", mobile="12345", email="Own@er.cn")

    decided = plan(row(2, "a", mobile="12345", email="own@ER.cn"), members=(owner,))

    assert decided.rows == []
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

    assert [accepted.user_id for accepted in decided.rows] == ["a", "b"]


def test_number_that_a_later_row_gives_up_is_not_free_yet() -> None:
    decided = plan(
        row(2, "b", mobile="12345"),
        row(3, "a", mobile="99999"),
        members=(stored("a", mobile="12345"),),
    )

    assert [accepted.user_id for accepted in decided.rows] == ["a"]


def test_refused_row_takes_nothing_from_those_behind_it() -> None:
    decided = plan(
        row(2, "a", mobile="12345", email="o@w.cn"),
        row(3, "b", mobile="12345"),
        members=(stored("owner", email="o@w.cn"),),
    )

    assert [accepted.user_id for accepted in decided.rows] == ["b"]


def test_left_out_columns_keep_what_is_stored() -> None:
    bare = MemberRow(2, "a", "Wang", "East", "", "", "")

    decided = plan(
        bare,
        row(3, "b", mobile="12345"),
        members=(stored("a", mobile="12345", email="a@b.cn"),),
        columns=("user_id", "name", "department"),
    )

    assert decided.rows == [row(2, "a", mobile="12345", email="a@b.cn")]
    assert decided.changed_user_ids == []


def test_empty_value_of_a_column_that_is_there_clears_what_is_stored() -> None:
    decided = plan(row(2, "a"), members=(stored("a", mobile="12345"),))

    assert (decided.rows[0].mobile, decided.changed_user_ids) == ("", ["a"])


def test_errors_are_given_in_the_order_of_the_file() -> None:
    batch = Batch(
        rows=[row(2, "a"), row(3, "a"), row(9, "a")], errors=[RowError(5, "name", "bad")], refused=1
    )

    decided = plan_batch(batch, (), import_id="this", columns=COLUMNS, department_ids={"": 1})

    assert [error.line for error in decided.errors] == [3, 5, 9]
    assert decided.refused == 3


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
    assert (len(full.rows), full.refused) == (BATCH_RECORDS // 2, BATCH_RECORDS // 2)
    assert full.end_byte == records[-2].end_byte
    rest = builder.finish()
    assert rest is not None
    assert [row.line for row in rest.rows] == []
    assert rest.refused == 1


def test_file_of_a_header_alone_has_no_batch() -> None:
    builder = BatchBuilder()
    builder.add(HEADER)

    assert builder.finish() is None


def test_empty_file_is_malformed() -> None:
    with pytest.raises(CsvMalformedError, match="empty"):
        BatchBuilder().finish()
