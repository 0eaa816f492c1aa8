"""Finding and listing members and departments, over a real channel on a real database."""

from typing import Any

import grpc
import pytest

from fakes.directory_corps import CALL_TIMEOUT_S, Corp, raising_tieline_errors, table
from tieline.api.directory.v1 import directory_service_pb2 as service_pb2
from tieline.chassis.ids import new_customer_id
from tieline.client.errors import TielineError


async def call(corp: Corp, method: str, request: Any) -> Any:
    """Call as a member of the corp who is no administrator."""
    with raising_tieline_errors():
        return await getattr(corp.stub, method)(
            request, metadata=corp.member_metadata, timeout=CALL_TIMEOUT_S
        )


async def refusal(corp: Corp, method: str, request: Any) -> TielineError:
    with pytest.raises(TielineError) as raised:
        await call(corp, method, request)
    return raised.value


async def search(corp: Corp, query: str) -> list[str]:
    response = await call(corp, "SearchMembers", service_pb2.SearchMembersRequest(query=query))
    return [member.user_id for member in response.members]


async def pages(corp: Corp, method: str, request: Any) -> list[list[Any]]:
    """Return the rows of each page."""
    found = []
    while True:
        response = await call(corp, method, request)
        [(_, rows), *_] = response.ListFields() or [(None, [])]
        found.append(list(rows))
        request.page_token = response.next_page_token
        if not response.next_page_token:
            return found


async def test_member_is_found_whatever_the_case_of_the_user_id(corp: Corp) -> None:
    await corp.import_file(table(("Wang.Wei", "王伟", "East")))

    response = await call(corp, "GetMember", service_pb2.GetMemberRequest(user_id="wANG.wEI"))

    member = response.member
    assert (member.user_id, member.name, member.department_id) == ("wang.wei", "王伟", 2)
    assert member.create_time == member.update_time
    assert member.create_time.seconds > 0


async def test_members_are_returned_in_the_order_asked_for(corp: Corp) -> None:
    await corp.import_file(table(("a", "A", ""), ("b", "B", ""), ("c", "C", "")))

    response = await call(
        corp, "BatchGetMembers", service_pb2.BatchGetMembersRequest(user_ids=["c", "A", "b", "c"])
    )

    assert [member.user_id for member in response.members] == ["c", "a", "b", "c"]


async def test_missing_member_of_a_batch_is_named(corp: Corp) -> None:
    request = service_pb2.BatchGetMembersRequest(user_ids=["boss", "Nobody"])

    error = await refusal(corp, "BatchGetMembers", request)

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")
    assert error.metadata == {"userId": "Nobody"}


async def test_member_of_another_corp_is_not_found(corp: Corp, other_corp: Corp) -> None:
    await other_corp.import_file(table(("li", "Li Na", "East")))

    one = await refusal(corp, "GetMember", service_pb2.GetMemberRequest(user_id="li"))
    many = await refusal(
        corp, "BatchGetMembers", service_pb2.BatchGetMembersRequest(user_ids=["li"])
    )

    assert (one.code, one.reason, one.metadata) == (
        grpc.StatusCode.NOT_FOUND,
        "USER_NOT_FOUND",
        {"userId": "li"},
    )
    assert (many.code, many.reason) == (one.code, one.reason)
    assert await search(corp, "li") == []


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetMember", service_pb2.GetMemberRequest(user_id="boss")),
        ("BatchGetMembers", service_pb2.BatchGetMembersRequest(user_ids=["boss"])),
        ("SearchMembers", service_pb2.SearchMembersRequest(query="zhao")),
        ("ListMembers", service_pb2.ListMembersRequest()),
        ("ListDepartments", service_pb2.ListDepartmentsRequest()),
    ],
)
async def test_another_corp_is_not_found(
    corp: Corp, other_corp: Corp, method: str, request_: Any
) -> None:
    request_.corp_id = other_corp.corp_id

    error = await refusal(corp, method, request_)
    request_.corp_id = corp.corp_id

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CORP_NOT_FOUND")
    assert (await call(corp, method, request_)).ListFields()


async def test_customer_may_not_read_the_directory(corp: Corp) -> None:
    with pytest.raises(TielineError) as raised, raising_tieline_errors():
        await corp.stub.ListMembers(
            service_pb2.ListMembersRequest(corp_id=corp.corp_id),
            metadata=corp.signed(corp.tokens.customer(new_customer_id())),
        )

    assert raised.value.reason == "CALLER_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        pytest.param("GetMember", service_pb2.GetMemberRequest(), ["user_id"], id="no user id"),
        pytest.param(
            "GetMember", service_pb2.GetMemberRequest(user_id="a\x00b"), ["user_id"], id="NUL"
        ),
        pytest.param(
            "BatchGetMembers",
            service_pb2.BatchGetMembersRequest(user_ids=["", "boss", "王"]),
            ["user_ids[0]", "user_ids[2]"],
            id="two wrong user ids",
        ),
        pytest.param(
            "BatchGetMembers", service_pb2.BatchGetMembersRequest(), ["user_ids"], id="no user ids"
        ),
        pytest.param(
            "BatchGetMembers",
            service_pb2.BatchGetMembersRequest(user_ids=["boss"] * 1001),
            ["user_ids"],
            id="1,001 user ids",
        ),
        pytest.param("SearchMembers", service_pb2.SearchMembersRequest(), ["query"], id="no query"),
        pytest.param(
            "SearchMembers", service_pb2.SearchMembersRequest(query=" "), ["query"], id="blank"
        ),
        pytest.param(
            "SearchMembers", service_pb2.SearchMembersRequest(query="x" * 65), ["query"], id="long"
        ),
        pytest.param(
            "SearchMembers",
            service_pb2.SearchMembersRequest(query="a\x00"),
            ["query"],
            id="NUL in it",
        ),
        pytest.param(
            "ListMembers",
            service_pb2.ListMembersRequest(page_size=-1),
            ["page_size"],
            id="page size",
        ),
    ],
)
async def test_wrong_fields_are_named(
    corp: Corp, method: str, request_: Any, fields: list[str]
) -> None:
    error = await refusal(corp, method, request_)

    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert list(error.violations) == fields


async def test_exact_matches_come_first_then_beginnings_then_later_parts_then_the_rest(
    corp: Corp,
) -> None:
    await corp.import_file(
        table(
            ("u1", "xMin", ""),
            ("u2", "MINA", ""),
            ("u3", "min", ""),
            ("min", "Zoe", ""),
            ("min2", "Abe", ""),
            ("a-min", "Bea", ""),
            ("u4", "Mia", ""),
        )
    )

    found = await search(corp, "mIN")

    # The corp's owner is called Zhao Min.
    assert found == ["min", "u3", "min2", "u2", "a-min", "boss", "u1"]


async def test_chinese_names_are_found_from_one_character_on(corp: Corp) -> None:
    await corp.import_file(
        table(("u1", "王伟", ""), ("u2", "李王", ""), ("u3", "王", ""), ("u4", "李伟", ""))
    )

    assert await search(corp, "王") == ["u3", "u1", "u2"]
    assert await search(corp, "王伟") == ["u1"]
    assert await search(corp, " 伟 ") == ["u1", "u4"]


async def test_readings_are_found_with_blanks_and_by_each_way_to_type_a_vowel(corp: Corp) -> None:
    await corp.import_file(
        table(("u1", "王芳", ""), ("u2", "吕布", ""), ("u3", "Wang Fangyi", ""), ("u4", "卢", ""))
    )

    assert await search(corp, "wang fang") == ["u1", "u3"]
    assert await search(corp, "lv") == await search(corp, "lü") == ["u2"]
    assert await search(corp, "lu") == ["u4", "u2"]


async def test_member_is_found_by_either_address_and_once_by_both(corp: Corp) -> None:
    file = table(
        ("u1", "Li", "", "li.na@home.example", "Desk.7@work.example"),
        ("u2", "Bo", "", "desk@home.example", "desk@work.example"),
        header="user_id,name,department,email,biz_email",
    )
    await corp.import_file(file)

    assert await search(corp, "desk.7@work") == ["u1"]
    assert await search(corp, "esk.7") == ["u1"]
    assert await search(corp, "desk") == ["u1", "u2"]


@pytest.mark.parametrize("query", ["%", "_", "\\", "'"])
async def test_signs_of_patterns_stand_for_themselves(corp: Corp, query: str) -> None:
    await corp.import_file(table(("u1", f"a{query}b", ""), ("u2", "axb", "")))

    assert await search(corp, query) == ["u1"]


async def test_case_makes_no_difference_beyond_ascii(corp: Corp) -> None:
    await corp.import_file(table(("u1", "ÉMILE Straße", "")))

    assert await search(corp, "émile strasse") == ["u1"]


async def test_pages_of_a_search_together_are_the_whole_in_order(corp: Corp) -> None:
    names = ["abc", "x abc", "xabc", "x"]
    rows = [(f"u{number:03d}", names[number % 4], "ABC") for number in range(48)]
    await corp.import_file(table(*rows))

    found = await pages(
        corp, "SearchMembers", service_pb2.SearchMembersRequest(query="abc", page_size=10)
    )

    ids = [member.user_id for page in found for member in page]
    name_of = {row[0]: row[1] for row in rows}
    closeness = [names.index(name_of[user_id]) for user_id in ids]
    assert [len(page) for page in found] == [10, 10, 10, 10, 8]
    assert closeness == [0] * 12 + [1] * 12 + [2] * 12 + [3] * 12
    assert len(set(ids)) == len(rows)


async def test_page_token_of_another_query_is_refused(corp: Corp) -> None:
    await corp.import_file(table(("a1", "A", ""), ("a2", "A", "")))
    first = await call(
        corp, "SearchMembers", service_pb2.SearchMembersRequest(query="a", page_size=1)
    )

    error = await refusal(
        corp,
        "SearchMembers",
        service_pb2.SearchMembersRequest(query="b", page_token=first.next_page_token),
    )

    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_members_are_listed_by_user_id_page_by_page(corp: Corp) -> None:
    await corp.import_file(table(*((f"{letter}1", "X", "") for letter in "eadcf")))

    found = await pages(corp, "ListMembers", service_pb2.ListMembersRequest(page_size=3))

    assert [[member.user_id for member in page] for page in found] == [
        ["a1", "boss", "c1"],
        ["d1", "e1", "f1"],
    ]


async def test_members_of_one_department_are_those_whose_main_one_it_is(corp: Corp) -> None:
    await corp.import_file(table(("a", "A", "East"), ("b", "B", "East/Sub"), ("c", "C", "East")))

    found = await pages(
        corp, "ListMembers", service_pb2.ListMembersRequest(department_id=2, page_size=1)
    )

    assert [[member.user_id for member in page] for page in found] == [["a"], ["c"]]


async def test_department_of_another_corp_is_not_found(corp: Corp, other_corp: Corp) -> None:
    await other_corp.import_file(table(("a", "A", "East")))

    error = await refusal(corp, "ListMembers", service_pb2.ListMembersRequest(department_id=2))

    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "DEPARTMENT_NOT_FOUND")
    assert error.metadata == {"departmentId": "2"}


async def test_departments_are_listed_by_id_with_their_own_members_counted(corp: Corp) -> None:
    await corp.import_file(
        table(("a", "A", "East"), ("b", "B", "East/Sub"), ("c", "C", "East"), ("d", "D", "West"))
    )

    found = await pages(corp, "ListDepartments", service_pb2.ListDepartmentsRequest(page_size=3))

    assert [[(d.department_id, d.path, d.member_count) for d in page] for page in found] == [
        [(1, "", 1), (2, "East", 2), (3, "East/Sub", 1)],
        [(4, "West", 1)],
    ]
