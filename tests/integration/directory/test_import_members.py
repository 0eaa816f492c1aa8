"""Importing members from a CSV, over a real channel on a real database."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import grpc
import pytest
from nats.aio.client import Client

from engines import Database
from fakes.directory_corps import (
    CALL_TIMEOUT_S,
    Corp,
    ImportOutcome,
    chunk_message,
    config_message,
    raising_tieline_errors,
    table,
)
from fakes.eventually import eventually
from tieline.api.directory.v1 import directory_pb2, directory_service_pb2
from tieline.chassis.ids import new_corp_id
from tieline.client.errors import TielineError
from tieline.directory.id_events import EVENT_IDS as EVENT_USER_IDS
from tieline.directory.imports.batch_builder import BATCH_RECORDS
from tieline.directory.imports.totals import MAX_ERRORS
from tieline.directory.imports.upload import MAX_CHUNK_BYTES

FULL_HEADER = "user_id,name,department,position,mobile,email"
OWNER = "boss"


def staff(count: int, *, first: int = 0, departments: int = 7) -> list[tuple[str, str, str]]:
    return [
        (f"u{number:05d}", f"Wang {number}", f"Branch {number % departments}/Store")
        for number in range(first, first + count)
    ]


async def first_response(
    call: grpc.aio.StreamStreamCall[
        directory_service_pb2.ImportMembersRequest, directory_service_pb2.ImportMembersResponse
    ],
) -> directory_service_pb2.ImportMembersResponse:
    with raising_tieline_errors():
        response = await call.read()
    assert isinstance(response, directory_service_pb2.ImportMembersResponse)
    return response


async def refusal(import_: asyncio.Future[ImportOutcome] | object) -> TielineError:
    with pytest.raises(TielineError) as raised:
        await import_  # type: ignore[misc]  # a coroutine, as tests write it
    return raised.value


def facts(members: dict[str, directory_pb2.Member]) -> dict[str, tuple[str, int, str, str, str]]:
    """Return what a file says of each member, without times."""
    return {
        user_id: (m.name, m.department_id, m.position, m.mobile, m.email)
        for user_id, m in members.items()
    }


def places(departments: list[directory_pb2.Department]) -> list[tuple[int, str, int]]:
    """Return what two imports of the same file must agree on."""
    return [(at.department_id, at.path, at.member_count) for at in departments]


async def test_import_adds_members_and_the_departments_on_their_paths(corp: Corp) -> None:
    file = table(
        ("Wang.Wei", "王伟", "East/Shanghai", "Clerk", "13800000000", "Wei@example.com"),
        ("li", '"Li, ""Na"""', "", "", "", ""),
        header=FULL_HEADER,
    )

    outcome = await corp.import_file(file)

    assert outcome.summary == (2, 0, 0, 2)
    assert outcome.errors == []
    assert outcome.responses[-1].committed_rows == 2
    assert outcome.responses[-1].committed_bytes == len(file)
    departments = await corp.list_departments()
    assert [(d.path, d.parent_department_id, d.member_count) for d in departments] == [
        ("", 0, 2),
        ("East", 1, 0),
        ("East/Shanghai", 2, 1),
    ]
    assert facts(await corp.list_members()) == {
        OWNER: ("Zhao Min", 1, "", "", ""),
        "wang.wei": ("王伟", 3, "Clerk", "13800000000", "Wei@example.com"),
        "li": ('Li, "Na"', 1, "", "", ""),
    }


async def test_same_file_again_changes_nothing(corp: Corp, admin_broker: Client) -> None:
    file = table(*staff(BATCH_RECORDS + 1))
    await corp.import_file(file)
    members, departments = await corp.list_members(), await corp.list_departments()
    events = await admin_broker.subscribe("tieline.directory.v1.members_imported")
    await admin_broker.flush()

    again = await corp.import_file(file)

    assert again.summary == (0, BATCH_RECORDS + 1, 0, 0)
    assert await corp.list_members() == members
    assert await corp.list_departments() == departments
    # Events are published in order: what came first would be here first.
    await corp.import_file(table(("sentinel", "S", "")))
    assert await next_user_ids(events.messages, corp) == ["sentinel"]
    await events.unsubscribe()


async def next_user_ids(messages: AsyncIterator[object], corp: Corp) -> list[str]:
    """Return the user ids of the corp's next event."""
    async with asyncio.timeout(CALL_TIMEOUT_S):
        async for message in messages:
            event = directory_pb2.MembersImported.FromString(message.data)  # type: ignore[attr-defined]
            if event.corp_id == corp.corp_id:
                return list(event.user_ids)
    raise AssertionError("the subscription ended")


async def test_events_name_every_new_member_once_a_thousand_at_most(
    corp: Corp, admin_broker: Client
) -> None:
    events = await admin_broker.subscribe("tieline.directory.v1.members_imported")
    await admin_broker.flush()
    rows = staff(2 * EVENT_USER_IDS + 1)

    await corp.import_file(table(*rows))

    parts = [await next_user_ids(events.messages, corp) for _ in range(3)]
    assert [len(part) for part in parts] == [EVENT_USER_IDS, EVENT_USER_IDS, 1]
    assert [user_id for part in parts for user_id in part] == [row[0] for row in rows]
    await events.unsubscribe()


async def test_bad_rows_are_reported_and_the_good_ones_stored(corp: Corp) -> None:
    file = table(
        ("a", "A", "East"),
        ("b", "", "East:West"),
        ("c", "C"),
        ('"d"x', "D", "East"),
        ("e", "E", "East"),
    )

    outcome = await corp.import_file(file)

    assert outcome.summary == (2, 0, 3, 1)
    assert [(line, column) for line, column, _ in outcome.errors] == [
        (3, "name"),
        (3, "department"),
        (4, ""),
        (5, ""),
    ]
    assert set(await corp.list_members()) == {OWNER, "a", "e"}


async def test_changed_columns_are_stored_and_left_out_ones_stay(corp: Corp) -> None:
    await corp.import_file(
        table(("a", "A", "East", "Clerk", "12345", "A@b.cn"), header=FULL_HEADER)
    )
    before = (await corp.list_members())["a"]

    outcome = await corp.import_file(
        table(("", "A", "West", "B"), header="mobile,user_id,department,name")
    )

    after = (await corp.list_members())["a"]
    assert outcome.summary == (0, 1, 0, 1)
    assert (after.name, after.position, after.mobile, after.email) == ("B", "Clerk", "", "A@b.cn")
    assert after.create_time == before.create_time
    assert after.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()


async def test_user_id_twice_in_a_file_keeps_its_first_row_across_batches(corp: Corp) -> None:
    rows = staff(BATCH_RECORDS)

    outcome = await corp.import_file(
        table(*rows, ("U00000", "Later", ""), ("x", "X", ""), ("X", "Y", ""))
    )

    assert outcome.errors == [
        (BATCH_RECORDS + 2, "user_id", "is already on line 2 of this file"),
        (BATCH_RECORDS + 4, "user_id", f"is already on line {BATCH_RECORDS + 3} of this file"),
    ]
    members = await corp.list_members()
    assert (members["u00000"].name, members["x"].name) == ("Wang 0", "X")


async def test_number_and_address_of_members_whom_the_file_does_not_name_are_refused(
    corp: Corp,
) -> None:
    await corp.import_file(
        table(
            ("old1", "O", "", "12345", ""), ("old2", "O", "", "", "Old@b.cn"), header=PHONE_HEADER
        )
    )

    outcome = await corp.import_file(
        table(
            ("a", "A", "", "12345", ""),
            ("b", "B", "", "", "oLD@B.CN"),
            ("c", "C", "", "55555", "c@b.cn"),
            header=PHONE_HEADER,
        )
    )

    assert outcome.errors == [(2, "mobile", "belongs to old1"), (3, "email", "belongs to old2")]
    assert (await corp.list_members()).keys() == {OWNER, "old1", "old2", "c"}


async def test_number_and_address_change_hands_in_the_order_of_the_file(corp: Corp) -> None:
    await corp.import_file(table(("old", "O", "", "12345", "Old@b.cn"), header=PHONE_HEADER))

    outcome = await corp.import_file(
        table(
            ("a", "A", "", "12345", ""),
            ("c", "C", "", "55555", "c@b.cn"),
            ("d", "D", "", "55555", "C@b.cn"),
            ("old", "O", "", "99999", ""),
            ("e", "E", "", "12345", "old@b.cn"),
            header=PHONE_HEADER,
        )
    )

    assert outcome.errors == [
        (2, "mobile", "belongs to old"),
        (4, "mobile", "belongs to c"),
        (4, "email", "belongs to c"),
    ]
    members = await corp.list_members()
    assert members.keys() == {OWNER, "old", "c", "e"}
    assert (members["e"].mobile, members["old"].mobile) == ("12345", "99999")


PHONE_HEADER = "user_id,name,department,mobile,email"


async def test_same_ids_and_numbers_in_two_corps_are_no_conflict(
    corp: Corp, other_corp: Corp
) -> None:
    file = table(("a", "A", "East", "", "12345", "a@b.cn"), header=FULL_HEADER)

    await corp.import_file(file)
    outcome = await other_corp.import_file(file)

    assert outcome.summary == (1, 0, 0, 1)


async def test_chunks_may_be_cut_anywhere(corp: Corp, other_corp: Corp) -> None:
    file = b"\xef\xbb\xbf" + table(
        ("a", '"王\n伟"', "East"), ("b", '"Li ""Na"""', "东/上海"), ("c", "C", "东")
    ).replace(b"\n", b"\r\n")

    whole = await corp.import_file(file)
    cut = await other_corp.import_file(*(file[at : at + 1] for at in range(len(file))))

    assert (cut.summary, cut.errors) == (whole.summary, whole.errors)
    assert whole.summary == (2, 0, 1, 2)
    assert facts(await other_corp.list_members()) == facts(await corp.list_members())


async def test_errors_end_at_their_limit_and_the_count_goes_on(corp: Corp) -> None:
    rows = [(f"u{number}", "", "") for number in range(BATCH_RECORDS + MAX_ERRORS)]

    outcome = await corp.import_file(table(*rows))

    assert len(outcome.errors) == MAX_ERRORS
    assert outcome.summary == (0, 0, len(rows), 0)


async def test_file_of_a_header_alone_changes_nothing(corp: Corp) -> None:
    outcome = await corp.import_file(b"user_id,name,department\r\n")

    assert [response.HasField("summary") for response in outcome.responses] == [True]
    assert outcome.summary == (0, 0, 0, 0)


async def test_progress_counts_what_is_committed(corp: Corp) -> None:
    outcome = await corp.import_file(table(*staff(2 * BATCH_RECORDS + 5)))

    rows = [response.committed_rows for response in outcome.responses]
    assert rows == [BATCH_RECORDS, 2 * BATCH_RECORDS, 2 * BATCH_RECORDS + 5, 2 * BATCH_RECORDS + 5]
    bytes_ = [response.committed_bytes for response in outcome.responses]
    assert bytes_ == sorted(bytes_)
    assert [response.HasField("summary") for response in outcome.responses] == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("tail", "line"),
    [
        pytest.param(b'\nx,"never closed,East', BATCH_RECORDS + 3, id="quote never closed"),
        pytest.param(b"\nx,\xff,East\n", BATCH_RECORDS + 3, id="no UTF-8"),
        pytest.param(b"\n" + b"x" * 70_000, BATCH_RECORDS + 3, id="long line"),
    ],
)
async def test_malformed_file_keeps_earlier_transactions_and_names_the_line(
    corp: Corp, tail: bytes, line: int
) -> None:
    file = table(*staff(BATCH_RECORDS), ("last", "L", "East")) + tail

    error = await refusal(corp.import_file(file))

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CSV_MALFORMED")
    assert error.metadata == {"line": str(line)}
    assert len(await corp.list_members()) == BATCH_RECORDS + 1


@pytest.mark.parametrize("file", [b"", b"name,department\n", b"\x00\x01\x02", b"<html>\n"])
async def test_file_without_a_right_header_is_malformed_in_line_1(corp: Corp, file: bytes) -> None:
    error = await refusal(corp.import_file(file))

    assert (error.reason, error.metadata) == ("CSV_MALFORMED", {"line": "1"})


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        pytest.param([], "config", id="no message"),
        pytest.param([chunk_message(b"user_id")], "config", id="chunk first"),
        pytest.param([config_message(), config_message()], "chunk", id="config twice"),
        pytest.param(
            [config_message(), chunk_message(b"x" * (MAX_CHUNK_BYTES + 1))],
            "chunk",
            id="over 1 MiB",
        ),
    ],
)
async def test_messages_out_of_form_are_refused(
    corp: Corp, messages: Sequence[directory_service_pb2.ImportMembersRequest], field: str
) -> None:
    error = await refusal(corp.send(*messages))

    assert (error.reason, list(error.violations)) == ("INVALID_FIELD", [field])


async def test_chunk_of_1_mib_is_taken(corp: Corp) -> None:
    file = table(("a", "A", "")).ljust(MAX_CHUNK_BYTES, b"\n")

    assert (await corp.import_file(file)).summary == (1, 0, 0, 0)


async def test_corp_that_did_not_arrive_yet_is_worth_a_retry(corp: Corp) -> None:
    unknown = Corp(new_corp_id(), corp.stub, corp.tokens)

    error = await refusal(unknown.import_file(table(("a", "A", ""))))

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "CORP_NOT_READY")
    assert error.retry_after_s is not None


async def test_import_into_another_corp_is_not_found(corp: Corp, other_corp: Corp) -> None:
    error = await refusal(
        corp.send(config_message(other_corp.corp_id), chunk_message(table(("a", "A", ""))))
    )

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CORP_NOT_FOUND")
    assert set(await other_corp.list_members()) == {OWNER}


async def test_refused_import_tells_why_to_a_caller_who_still_writes(
    corp: Corp, other_corp: Corp
) -> None:
    rest = [chunk_message(b"x" * MAX_CHUNK_BYTES)] * 8

    errors = [
        await refusal(corp.send(config_message(other_corp.corp_id), *rest)) for _ in range(10)
    ]

    assert {error.reason for error in errors} == {"CORP_NOT_FOUND"}


async def test_member_who_is_no_administrator_may_not_import(corp: Corp) -> None:
    # Nothing is sent: a write that meets the refusal would hide it (`imports.upload`).
    call = corp.stub.ImportMembers(metadata=corp.member_metadata)

    error = await refusal(first_response(call))

    assert error.reason == "CALLER_NOT_ALLOWED"


async def test_imports_at_the_same_time_share_their_departments(corp: Corp) -> None:
    rows = staff(3 * BATCH_RECORDS, departments=40)

    outcomes = await asyncio.gather(
        corp.import_file(table(*rows)),
        corp.import_file(table(*reversed(rows))),
        corp.import_file(table(*rows[BATCH_RECORDS:], *rows[:BATCH_RECORDS])),
    )

    added, updated, refused, departments = (
        sum(column) for column in zip(*(outcome.summary for outcome in outcomes), strict=True)
    )
    assert (added, updated, refused) == (len(rows), 2 * len(rows), 0)
    assert departments == 2 * 40
    listed = await corp.list_departments()
    assert len({department.path for department in listed}) == len(listed) == 81
    assert [department.department_id for department in listed] == list(range(1, 82))


async def test_import_that_was_broken_off_and_run_again_ends_as_one_that_was_not(
    corp: Corp, other_corp: Corp
) -> None:
    rows = [*staff(3 * BATCH_RECORDS), ("u00001", "Twice", ""), ("bad", "", "")]
    file = table(*rows)
    call = corp.begin_import()
    await call.write(config_message())
    await call.write(chunk_message(file[: len(file) // 2]))
    await call.read()

    call.cancel()
    again = await corp.import_file(file)
    await other_corp.import_file(file)

    assert again.summary[0] + again.summary[1] == 3 * BATCH_RECORDS
    assert again.summary[1] >= BATCH_RECORDS
    assert facts(await corp.list_members()) == facts(await other_corp.list_members())
    assert places(await corp.list_departments()) == places(await other_corp.list_departments())


async def test_import_whose_database_connection_broke_is_unavailable_and_may_be_run_again(
    corp: Corp, database: Database
) -> None:
    file = table(*staff(BATCH_RECORDS + 1))
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT 1 FROM directory.corps WHERE corp_id = $1 FOR UPDATE", corp.corp_id
            )
            importing = asyncio.create_task(refusal(corp.import_file(file)))
            await eventually(lambda: terminate_waiting(database))
    finally:
        await connection.close()

    error = await importing

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
    assert error.retry_after_s is not None
    await eventually(lambda: is_readable(corp))
    assert set(await corp.list_members()) == {OWNER}
    assert (await corp.import_file(file)).summary == (BATCH_RECORDS + 1, 0, 0, 7 * 2)


async def is_readable(corp: Corp) -> bool:
    try:
        await corp.list_departments()
    except grpc.aio.AioRpcError as error:
        return error.code() is not grpc.StatusCode.UNAVAILABLE
    return True


async def terminate_waiting(database: Database) -> bool:
    """Break the directory's connections that wait for a row; tell whether there was one."""
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        rows = await connection.fetch(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'tieline-directory'
               AND wait_event_type = 'Lock'
            """
        )
    finally:
        await connection.close()
    return bool(rows)


async def test_stalled_upload_tells_what_it_committed_and_holds_no_transaction(
    corp: Corp, database: Database
) -> None:
    call = corp.begin_import()
    await call.write(config_message())
    await call.write(chunk_message(table(*staff(BATCH_RECORDS + 1)) + b"\nhalf"))

    progress = await first_response(call)

    assert progress.committed_rows == BATCH_RECORDS
    await eventually(lambda: has_no_open_transaction(database))
    assert (await corp.import_file(table(("other", "O", "Branch 0")))).summary == (1, 0, 0, 0)
    call.cancel()


async def has_no_open_transaction(database: Database) -> bool:
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        count: int = await connection.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'tieline-directory'
               AND state <> 'idle'
            """
        )
    finally:
        await connection.close()
    return count == 0
