"""What other services ask: which of these are not members."""

import pytest
from nats.aio.client import Client

from fakes.directory_corps import Corp, table
from tieline.api.directory.v1 import directory_requests_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.requests import ask


async def find_missing(broker: Client, corp_id: str, *user_ids: str) -> list[str]:
    response = await ask(
        broker,
        "directory",
        "find_missing_members",
        directory_requests_pb2.FindMissingMembersRequest(corp_id=corp_id, user_ids=user_ids),
        directory_requests_pb2.FindMissingMembersResponse,
    )
    return list(response.missing_user_ids)


async def test_missing_user_ids_come_back_as_asked_and_in_order(
    corp: Corp, messaging_broker: Client
) -> None:
    await corp.import_file(table(("Wang", "W", ""), ("li", "L", "")))

    missing = await find_missing(
        messaging_broker, corp.corp_id, "Zoe", "WANG", "", "li", "Adam", "a\x00b", "\u212aa", "Zoe"
    )

    assert missing == ["Zoe", "", "Adam", "a\x00b", "\u212aa", "Zoe"]


async def test_members_of_another_corp_are_missing(
    corp: Corp, other_corp: Corp, messaging_broker: Client
) -> None:
    await other_corp.import_file(table(("li", "L", "")))

    assert await find_missing(messaging_broker, corp.corp_id, "li", "boss") == ["li"]


async def test_two_thousand_are_answered_and_one_more_is_refused(
    corp: Corp, messaging_broker: Client
) -> None:
    user_ids = [f"u{number}" for number in range(2001)]

    assert await find_missing(messaging_broker, corp.corp_id, *user_ids[:2000]) == user_ids[:2000]
    with pytest.raises(InvalidArgumentError, match="user_ids"):
        await find_missing(messaging_broker, corp.corp_id, *user_ids)
