"""What identity asks before it sends a one-time code: whose number or address is this?"""

import asyncpg
import pytest
from nats.aio.client import Client

from engines import Database
from fakes.directory_corps import Corp, table
from tieline.api.directory.v1 import directory_requests_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.requests import ask

MOBILE, EMAIL = "+8613800000001", "Li.Wei@example.org"


async def find(broker: Client, corp_id: str, *, mobile: str = "", email: str = "") -> list[str]:
    response = await ask(
        broker,
        "directory",
        "find_members_by_contact",
        directory_requests_pb2.FindMembersByContactRequest(
            corp_id=corp_id, mobile=mobile, email=email
        ),
        directory_requests_pb2.FindMembersByContactResponse,
    )
    return list(response.user_ids)


@pytest.fixture
async def corp_with_li(corp: Corp) -> Corp:
    header = "user_id,name,department,mobile,email"
    await corp.import_file(table(("li", "L", "", MOBILE, EMAIL), header=header))
    return corp


async def test_a_member_is_found_by_number_and_by_address_whatever_its_case(
    corp_with_li: Corp, other_corp: Corp, identity_broker: Client
) -> None:
    corp_id = corp_with_li.corp_id

    assert await find(identity_broker, corp_id, mobile=MOBILE) == ["li"]
    assert await find(identity_broker, corp_id, email=EMAIL.upper()) == ["li"]
    assert await find(identity_broker, corp_id, mobile="+8613800000002") == []
    assert await find(identity_broker, corp_id, mobile="\x00") == []
    assert await find(identity_broker, other_corp.corp_id, mobile=MOBILE) == []


@pytest.mark.parametrize(
    ("state", "is_found"),
    [("invited", True), ("active", True), ("disabled", False), ("left", False)],
)
async def test_members_who_may_not_sign_in_are_not_found(
    corp_with_li: Corp, identity_broker: Client, database: Database, state: str, is_found: bool
) -> None:
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        await connection.execute(
            "UPDATE directory.members SET state = $2,"
            " leave_time = CASE WHEN $2 = 'left' THEN now() END"
            " WHERE corp_id = $1 AND user_id = 'li'",
            corp_with_li.corp_id,
            state,
        )
    finally:
        await connection.close()

    found = await find(identity_broker, corp_with_li.corp_id, mobile=MOBILE)

    assert found == (["li"] if is_found else [])


@pytest.mark.parametrize(("mobile", "email"), [("", ""), (MOBILE, EMAIL)])
async def test_one_of_the_two_is_asked_about(
    corp: Corp, identity_broker: Client, mobile: str, email: str
) -> None:
    with pytest.raises(InvalidArgumentError, match="mobile"):
        await find(identity_broker, corp.corp_id, mobile=mobile, email=email)
