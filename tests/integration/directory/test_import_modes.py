"""What a whole file does: workbooks and other encodings, replacements, dry runs."""

import io

import grpc
import pytest
from nats.aio.client import Client

from fakes.directory_corps import CALL_TIMEOUT_S, Corp, table
from fakes.directory_files import (
    AUTO,
    GB18030,
    REPLACE_DEPARTMENTS,
    REPLACE_MEMBERS,
    XLSX,
    Files,
    Options,
    workbook,
)
from fakes.directory_writers import Writer
from tieline.api.directory.v1 import directory_pb2
from tieline.chassis.ids import new_uuid7
from tieline.chassis.postgres import Connection, Pool
from tieline.client.errors import TielineError
from tieline.directory.imports.files import FileImport
from tieline.directory.imports.member_rows import RowError
from tieline.directory.imports.options import Mode
from tieline.directory.imports.options import Options as RunOptions
from tieline.directory.imports.run import RunState
from tieline.directory.imports.totals import Totals
from tieline.directory.imports.writes import Importer
from tieline.directory.repositories import corps
from tieline.directory.visibility.decision import Viewer

OWNER = "boss"
DEPARTMENTS = "name,id,parent_id,order"
LED_DEPARTMENTS = "name,id,parent_id,name_en,leaders"


def staff(count: int) -> list[tuple[str, str, str]]:
    return [(f"u{number:03d}", f"Wang {number}", "East") for number in range(count)]


async def refused(files: Files, file: bytes, options: Options) -> TielineError:
    with pytest.raises(TielineError) as raised:
        await files.import_file(file, options)
    return raised.value


async def user_ids(corp: Corp) -> set[str]:
    return set(await corp.list_members()) - {OWNER}


async def tree(corp: Corp) -> dict[int, str]:
    return {each.department_id: each.path for each in await corp.list_departments()}


async def test_workbook_is_imported_with_its_numbers_as_texts(corp: Corp, files: Files) -> None:
    file = workbook(["账号", "姓名", "部门", "手机"], ["w", "王伟", "东;西", 13800000000.0])

    outcome = await files.import_file(file, Options(format=XLSX))

    assert outcome.summary == (1, 0, 0, 2)
    member = (await corp.list_members())["w"]
    assert (member.name, member.mobile) == ("王伟", "13800000000")
    assert [each.department_id for each in member.departments] == [2, 3]


@pytest.mark.parametrize("encoding", [GB18030, AUTO])
async def test_file_in_gb_18030_is_imported(corp: Corp, files: Files, encoding: int) -> None:
    file = "账号,姓名,部门\nw,王伟𠮷,东\n".encode("gb18030")

    await files.import_file(file, Options(encoding=encoding))  # type: ignore[arg-type]

    assert (await corp.list_members())["w"].name == "王伟𠮷"


async def test_every_column_is_stored_and_may_be_left_out(corp: Corp, files: Files) -> None:
    header = (
        "user_id,name,department,department_order,is_leader,alias,gender,position,mobile,telephone,"
        "email,biz_email,address,direct_leader,external_position"
    )
    values = (
        "w,Wang,East;West,3;4,0;1,Wei,男,Clerk,12345,021-1,w@b.cn,w@work.cn,Street,boss,Adviser"
    )

    await files.import_file(f"{header}\n{values}\n".encode(), Options())
    whole = (await corp.list_members())["w"]
    await corp.import_file(table(("w", "Wang", "East;West")))

    assert [(at.order, at.leader) for at in whole.departments] == [(3, False), (4, True)]
    assert (whole.alias, whole.gender, whole.telephone) == (
        "Wei", directory_pb2.GENDER_MALE, "021-1",
    )  # fmt: skip
    assert (whole.biz_email, whole.address) == ("w@work.cn", "Street")
    assert (whole.direct_leader_user_id, whole.external_position) == (OWNER, "Adviser")
    assert (await corp.list_members())["w"] == whole
    leaders = {each.path: list(each.leader_user_ids) for each in await corp.list_departments()}
    assert leaders == {"": [], "East": [], "West": ["w"]}


async def test_replacement_lets_those_leave_whom_no_row_names(
    corp: Corp, files: Files, admin_broker: Client
) -> None:
    await corp.import_file(table(*staff(10)))
    events = await admin_broker.subscribe("tieline.directory.v1.member_left")
    await admin_broker.flush()
    file = table(*staff(7), ("u007", "", "East"), ("new", "New", ""))

    outcome = await files.import_file(file, Options(mode=REPLACE_MEMBERS))

    assert (outcome.summary, outcome.responses[-1].summary.removed) == ((1, 7, 1, 0), 2)
    # Whose row is bad stays, and so does the owner.
    assert await user_ids(corp) == {*(f"u{number:03d}" for number in range(8)), "new"}
    event = directory_pb2.MemberLeft.FromString((await events.next_msg(CALL_TIMEOUT_S)).data)
    assert (event.corp_id, list(event.user_ids)) == (corp.corp_id, ["u008", "u009"])
    await events.unsubscribe()


async def find_nobody(_: Connection) -> Viewer:
    raise AssertionError("whoever manages the whole corp is asked for nothing that is hidden")


class GivingOn:
    """Keeps nothing of an import; gives the corp to somebody else with the first batch."""

    def __init__(self, corp_id: str, heir: str) -> None:
        self._corp_id = corp_id
        self._heir = heir

    async def keep(self, connection: Connection, totals: Totals, errors: list[RowError]) -> None:
        await corps.note_corp(connection, self._corp_id, self._heir, is_active=True)

    async def tell_alive(self) -> None:
        pass


async def test_replacement_keeps_whoever_owns_the_corp_by_the_time_that_others_leave(
    corp: Corp, directory_pool: Pool
) -> None:
    await corp.import_file(table(*staff(10)))
    replacement = FileImport(
        directory_pool, corp.corp_id, new_uuid7(), RunOptions(mode=Mode.REPLACE_MEMBERS),
        Importer((), find_nobody), caller_user_id="",
    )  # fmt: skip
    state = RunState()

    steps = replacement.run(io.BytesIO(table(*staff(8))), GivingOn(corp.corp_id, "u009"), state)
    assert [step.is_last async for step in steps][-1]

    assert state.totals.removed == 1
    assert await user_ids(corp) == {*(f"u{number:03d}" for number in range(8)), "u009"}


async def test_member_whom_a_replacement_removed_comes_back_by_the_next_file(
    corp: Corp, files: Files
) -> None:
    await corp.import_file(table(*staff(4)))
    await files.import_file(table(*staff(3)), Options(mode=REPLACE_MEMBERS))

    outcome = await files.import_file(table(*staff(4)), Options(mode=REPLACE_MEMBERS))

    assert outcome.summary == (1, 3, 0, 0)
    assert len(await user_ids(corp)) == 4


async def test_replacement_that_would_remove_ninety_percent_changes_nothing(
    corp: Corp, files: Files
) -> None:
    await corp.import_file(table(*staff(100)))
    before = await corp.list_members()
    file = table(*staff(10), ("new", "New", ""))

    error = await refused(files, file, Options(mode=REPLACE_MEMBERS))

    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION, "MASS_DELETE_REFUSED",
    )  # fmt: skip
    assert error.metadata == {"removals": "90", "total": "101"}
    assert await corp.list_members() == before


async def test_mass_deletion_that_is_confirmed_as_it_is_takes_place(
    corp: Corp, files: Files
) -> None:
    await corp.import_file(table(*staff(100)))
    file = table(*staff(10))

    error = await refused(files, file, Options(mode=REPLACE_MEMBERS, confirmed_removals=91))
    outcome = await files.import_file(file, Options(mode=REPLACE_MEMBERS, confirmed_removals=90))

    assert error.reason == "MASS_DELETE_REFUSED"
    assert outcome.responses[-1].summary.removed == 90
    assert len(await user_ids(corp)) == 10


async def test_dry_run_tells_what_the_import_then_does(corp: Corp, files: Files) -> None:
    await corp.import_file(table(*staff(6), header="user_id,name,department"))
    file = table(
        ("u000", "Wang 0", "East", "11111"),
        ("u001", "Other", "South/Far", "22222"),
        ("new", "New", "South", "11111"),
        ("new2", "", "", ""),
        header="user_id,name,department,mobile",
    )
    options = Options(mode=REPLACE_MEMBERS)
    before = await corp.list_members(), await corp.list_departments()

    dry = await files.import_file(file, Options(mode=REPLACE_MEMBERS, dry_run=True))
    assert (await corp.list_members(), await corp.list_departments()) == before
    wet = await files.import_file(file, options)

    assert dry.responses[-1].summary == wet.responses[-1].summary
    assert dry.errors == wet.errors
    assert (dry.summary, dry.responses[-1].summary.removed) == ((0, 2, 2, 2), 4)


async def test_dry_run_knows_what_earlier_batches_would_have_stored(files: Files) -> None:
    rows = [(f"u{number}", "W", "East", "") for number in range(2100)]
    rows[0] = ("u0", "W", "East", "12345")
    rows[-2:] = [("u0", "Again", "East", ""), ("x", "X", "East", "12345")]
    file = table(*rows, header="user_id,name,department,mobile")

    outcome = await files.import_file(file, Options(dry_run=True))

    assert outcome.summary == (2098, 0, 2, 1)
    assert outcome.errors == [
        (2100, "user_id", "is already on line 2 of this file"),
        (2101, "mobile", "belongs to u0"),
    ]


async def test_departments_become_those_of_the_file(corp: Corp, files: Files) -> None:
    await corp.import_file(table(("a", "A", "East/Shop"), ("b", "B", "West"), ("c", "C", "Old/Er")))
    await corp.import_file(table(("c", "C", "")))
    ids = {path: each for each, path in (await tree(corp)).items()}
    file = table(
        ("West", str(ids["East"]), "1", "5"),
        ("East", str(ids["West"]), "1", ""),
        ("Shop", str(ids["East/Shop"]), str(ids["West"]), ""),
        ("New", "500", str(ids["East/Shop"]), ""),
        header=DEPARTMENTS,
    )

    outcome = await files.import_file(file, Options(mode=REPLACE_DEPARTMENTS))

    summary = outcome.responses[-1].summary
    assert (summary.departments_added, summary.departments_updated, summary.removed) == (1, 3, 2)
    assert await tree(corp) == {
        1: "",
        ids["East"]: "West",
        ids["West"]: "East",
        ids["East/Shop"]: "East/Shop",
        500: "East/Shop/New",
    }
    await corp.import_file(table(("d", "D", "Later")))
    assert (await tree(corp))[501] == "Later"


async def test_departments_get_names_in_english_and_leaders_in_their_order(
    owner: Writer, corp: Corp, files: Files
) -> None:
    """Who is not in the department is passed over; a column that is left out changes nothing."""
    await corp.import_file(table(("a", "A", "East"), ("b", "B", "East"), ("c", "C", "")))
    east = next(each for each, path in (await tree(corp)).items() if path == "East")
    everything = Options(mode=REPLACE_DEPARTMENTS)

    first = table(("East", str(east), "1", "East side", "B;c;a"), header=LED_DEPARTMENTS)
    await files.import_file(first, everything)
    led = await owner.get_department(east)
    again = await files.import_file(first, everything)
    short = table(("East", str(east), "1"), header="name,id,parent_id")
    kept = await files.import_file(short, everything)
    marks = (await owner.get_member("b")).departments[0].leader
    empty = table(("East", str(east), "1", "", ""), header=LED_DEPARTMENTS)
    await files.import_file(empty, everything)

    assert (led.name_en, list(led.leader_user_ids), marks) == ("East side", ["b", "a"], True)
    for outcome in (again, kept):
        assert outcome.responses[-1].summary.departments_updated == 0
    cleared = await owner.get_department(east)
    assert (cleared.name_en, list(cleared.leader_user_ids)) == ("", [])
    assert not (await owner.get_member("b")).departments[0].leader


async def test_what_can_not_be_a_name_or_a_leader_is_refused_by_column(
    corp: Corp, files: Files
) -> None:
    file = table(
        ("A", "7", "1", "a/b", ""),
        ("B", "8", "1", "", "li;li"),
        ("C", "9", "1", "", "li wang"),
        header=LED_DEPARTMENTS,
    )

    outcome = await files.import_file(file, Options(mode=REPLACE_DEPARTMENTS))

    assert [(line, column) for line, column, _ in outcome.errors] == [
        (2, "name_en"),
        (3, "leaders"),
        (4, "leaders"),
    ]
    assert await tree(corp) == {1: ""}


async def test_what_is_below_a_department_that_goes_may_move_to_its_place(
    corp: Corp, files: Files
) -> None:
    await corp.import_file(table(("a", "A", "East/Shop")))
    ids = {path: each for each, path in (await tree(corp)).items()}
    file = table(("East", str(ids["East/Shop"]), "1"), header="name,id,parent_id")

    outcome = await files.import_file(file, Options(mode=REPLACE_DEPARTMENTS))

    assert (outcome.errors, outcome.responses[-1].summary.removed) == ([], 1)
    assert await tree(corp) == {1: "", ids["East/Shop"]: "East"}


async def test_departments_with_people_stay_and_bad_rows_leave_theirs(
    corp: Corp, files: Files
) -> None:
    await corp.import_file(table(("a", "A", "East/Shop"), ("b", "B", "West")))
    before = await tree(corp)
    ids = {path: each for each, path in before.items()}
    file = table(
        ("East", str(ids["East"]), str(ids["East/Shop"])),
        ("Shop", str(ids["East/Shop"]), str(ids["East"])),
        ("a:b", "77", "1"),
        ("Lost", "78", "79"),
        header="name,id,parent_id",
    )

    outcome = await files.import_file(file, Options(mode=REPLACE_DEPARTMENTS))

    assert await tree(corp) == before
    assert [(line, column) for line, column, _ in outcome.errors] == [
        (2, "parent_id"),
        (4, "name"),
        (5, "parent_id"),
    ]


async def test_replacing_departments_has_the_guard_and_the_dry_run_too(
    corp: Corp, files: Files
) -> None:
    rows = [(f"D{number}", str(number), "1") for number in range(2, 103)]
    everything = Options(mode=REPLACE_DEPARTMENTS)
    await files.import_file(table(*rows, header="name,id,parent_id"), everything)
    few = table(*rows[:50], header="name,id,parent_id")
    before = await tree(corp)

    error = await refused(files, few, everything)
    dry = await files.import_file(few, Options(mode=REPLACE_DEPARTMENTS, dry_run=True))

    assert error.metadata == {"removals": "51", "total": "102"}
    assert dry.responses[-1].summary.confirmation_needed
    assert await tree(corp) == before


async def test_administrator_of_a_department_imports_its_rows_alone(
    corp: Corp, files: Files, channel: grpc.aio.Channel
) -> None:
    await corp.import_file(table(("a", "A", "East/Shop"), ("b", "B", "West")))
    ids = {path: each for each, path in (await tree(corp)).items()}
    token = corp.tokens.sign(
        {
            "kind": "member",
            "corp": corp.corp_id,
            "sub": "limited",
            "roles": ["administrator"],
            "rights": ["manage_directory"],
            "departments": [ids["East"]],
        }
    )
    limited = Files(corp, channel, token)
    file = table(("a", "A2", "East/New"), ("b", "B2", "East"), ("c", "C", "West"))

    outcome = await limited.import_file(file, Options())

    assert [(line, column) for line, column, _ in outcome.errors] == [
        (3, "user_id"),
        (4, "department"),
    ]
    members = await corp.list_members()
    assert (members["a"].name, members["b"].name) == ("A2", "B")
    error = await refused(limited, file, Options(mode=REPLACE_MEMBERS))
    assert error.reason == "OUT_OF_RANGE"
    with pytest.raises(TielineError, match="OUT_OF_RANGE"):
        await limited.export_members()


@pytest.mark.parametrize(
    ("file", "options", "reason"),
    [
        pytest.param(b"PK not a zip", Options(format=XLSX), "FILE_MALFORMED", id="no zip"),
        pytest.param(b"", Options(format=XLSX), "FILE_MALFORMED", id="empty workbook"),
        pytest.param(
            "账号,姓名,部门\n".encode(),
            Options(encoding=GB18030),
            "CSV_MALFORMED",
            id="UTF-8 as GB",
        ),
        pytest.param(
            b"\xef\xbb\xbfuser_id,name,department\n",
            Options(encoding=GB18030),
            "CSV_MALFORMED",
            id="UTF-8's mark in GB 18030",
        ),
        pytest.param(
            b"user_id,name,department\na,\xff\xff,\n",
            Options(encoding=AUTO),
            "CSV_MALFORMED",
            id="neither UTF-8 nor GB 18030",
        ),
        pytest.param(
            b'user_id,name,department\na,"' + b"x" * 10_000_000,
            Options(dry_run=True),
            "CSV_MALFORMED",
            id="cell of 10 MB",
        ),
        pytest.param(
            b"\n" * 20_000_001, Options(dry_run=True), "FILE_TOO_LARGE", id="more than 20 MB"
        ),
        pytest.param(b"", Options(mode=99), "INVALID_FIELD", id="unknown mode"),  # type: ignore[arg-type]
        pytest.param(b"", Options(mode=REPLACE_DEPARTMENTS), "CSV_MALFORMED", id="no departments"),
        pytest.param(
            b"name,id\n", Options(mode=REPLACE_DEPARTMENTS), "CSV_MALFORMED", id="no parents"
        ),
    ],
)
async def test_file_that_is_not_what_it_is_said_to_be_changes_nothing(
    corp: Corp, files: Files, file: bytes, options: Options, reason: str
) -> None:
    error = await refused(files, file, options)

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert await user_ids(corp) == set()
