"""Input that nobody should send: refused with a clear error, and nothing is changed by it."""

from typing import Any

import grpc
import pytest

from fakes.directory_corps import Corp, table
from fakes.directory_writers import Writer
from tieline.api.directory.v1 import (
    department_service_pb2,
    directory_pb2,
    directory_service_pb2,
    member_service_pb2,
)
from tieline.client.errors import TielineError

LONG = "x" * 10_000_000
SERVICE = "/tieline.api.directory.v1.MemberService/CreateMember"
HEADER = b"user_id,name,department\n"


async def everything(owner: Writer) -> tuple[list[bytes], list[bytes]]:
    members = await owner.send(directory_service_pb2.ListMembersRequest(page_size=1000))
    departments = await owner.send(directory_service_pb2.ListDepartmentsRequest(page_size=1000))
    return (
        [each.SerializeToString() for each in members.members],
        [each.SerializeToString() for each in departments.departments],
    )


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(
            member_service_pb2.CreateMemberRequest(
                member=directory_pb2.Member(user_id="a", name=LONG)
            ),
            id="member's name",
        ),
        pytest.param(
            department_service_pb2.CreateDepartmentRequest(
                department=directory_pb2.Department(name=LONG, parent_department_id=1)
            ),
            id="department's name",
        ),
        pytest.param(directory_service_pb2.SearchMembersRequest(query=LONG), id="query"),
        pytest.param(directory_service_pb2.GetMemberRequest(user_id=LONG), id="user id"),
    ],
)
async def test_text_of_10_mb_is_more_than_a_message_may_have(owner: Writer, request_: Any) -> None:
    before = await everything(owner)

    error = await owner.refused(request_)

    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await everything(owner) == before


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x1a\x08\x0a\x01a\x12\x03\xff\xfe\xfd", id="name that is no UTF-8"),
        pytest.param(b"\x1a\x08\x0a\x01a\x12\x03\xed\xa0\x80", id="half a character"),
        pytest.param(b"\x1a\x7f\x0a\x01a", id="cut off"),
        pytest.param(b"\xff" * 64, id="no message"),
    ],
)
async def test_bytes_that_are_no_message_are_refused(
    owner: Writer, channel: grpc.aio.Channel, raw: bytes
) -> None:
    before = await everything(owner)
    create: Any = channel.unary_unary(SERVICE)  # bytes as they are

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await create(raw, metadata=(("authorization", f"Bearer {owner.token}"),), timeout=20)

    error = TielineError.from_rpc_error(raised.value)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert await everything(owner) == before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param(HEADER + b'a,"A,\nb,B,\n', "line 2", id="quote that never closes"),
        pytest.param(HEADER + b"a,\xff\xfe,\n", "line 2", id="no UTF-8"),
        pytest.param(
            b"user_id,name,department" + b"".join(b",x%d" % n for n in range(1997)) + b"\n",
            "at most 64 columns",
            id="2,000 columns",
        ),
        pytest.param(HEADER + b"a," + b"x" * 10_000_000 + b",\n", "line 2", id="name of 10 MB"),
        pytest.param("\ufeffname\n".encode(), "lacks user_id", id="mark, and no user ids"),
    ],
)
async def test_file_that_can_not_be_read_says_where_and_changes_nothing(
    owner: Writer, corp: Corp, file: bytes, text: str
) -> None:
    before = await everything(owner)
    chunks = [file[start : start + 1_000_000] for start in range(0, len(file), 1_000_000)]

    with pytest.raises(TielineError) as raised:
        await corp.import_file(*chunks)

    error = raised.value
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CSV_MALFORMED")
    assert text in error.text
    assert await everything(owner) == before


async def test_file_with_a_byte_order_mark_is_read(corp: Corp) -> None:
    outcome = await corp.import_file(b"\xef\xbb\xbf" + table(("a", "A", "")))

    assert outcome.errors == []
    assert outcome.summary[0] == 1


async def test_user_ids_that_differ_in_case_are_one(owner: Writer, corp: Corp) -> None:
    outcome = await corp.import_file(table(("Li.Na", "First", ""), ("lI.nA", "Second", "")))
    error = await owner.refused(
        member_service_pb2.CreateMemberRequest(
            member=directory_pb2.Member(user_id="LI.NA", name="Third")
        )
    )

    assert [line for line, _, _ in outcome.errors] == [3]
    assert error.reason == "USER_EXISTS"
    assert (await owner.get_member("li.na")).name == "First"
