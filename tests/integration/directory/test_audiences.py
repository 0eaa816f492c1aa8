"""What messaging asks: whom an app reaches of an audience, and what of it nobody can reach."""

from typing import Any

import pytest
from nats.aio.client import Client

from fakes.app_ranges import FakeAppRanges
from fakes.directory_corps import Corp
from fakes.directory_writers import Writer
from tieline.api.directory.v1 import directory_requests_pb2
from tieline.api.identity.v1 import app_pb2
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.requests import ask

EAST, SOUTH, BELOW_EAST = 2, 3, 4
WHOLE, IN_EAST, TAGGED = "1000006", "1000002", "1000004"


def named(**fields: Any) -> directory_requests_pb2.Audience:
    return directory_requests_pb2.Audience(**fields)


class Asking:
    """Messaging's questions about one corp."""

    def __init__(self, broker: Client, corp_id: str) -> None:
        self._broker = broker
        self._corp_id = corp_id

    async def reach(
        self,
        agent_id: str,
        audience: directory_requests_pb2.Audience,
        *,
        after: str = "",
        limit: int = 1000,
    ) -> list[str]:
        response = await ask(
            self._broker,
            "directory",
            "list_audience",
            directory_requests_pb2.ListAudienceRequest(
                corp_id=self._corp_id,
                agent_id=agent_id,
                audience=audience,
                after_user_id=after,
                limit=limit,
            ),
            directory_requests_pb2.ListAudienceResponse,
        )
        return list(response.user_ids)

    async def check(
        self, agent_id: str, audience: directory_requests_pb2.Audience
    ) -> tuple[list[str], list[int], list[int]]:
        response = await ask(
            self._broker,
            "directory",
            "check_audience",
            directory_requests_pb2.CheckAudienceRequest(
                corp_id=self._corp_id, agent_id=agent_id, audience=audience
            ),
            directory_requests_pb2.CheckAudienceResponse,
        )
        return (
            list(response.invalid_user_ids),
            list(response.invalid_department_ids),
            list(response.invalid_tag_ids),
        )


@pytest.fixture
async def asking(
    owner: Writer, corp: Corp, app_ranges: FakeAppRanges, messaging_broker: Client
) -> Asking:
    """The boss; East with li, below it low; South with sun and tan; tag 7 on tan and Below."""
    for name, parent in (("East", 1), ("South", 1), ("Below", EAST)):
        await owner.create_department(name, parent)
    for user_id, department_id in (
        ("li", EAST),
        ("low", BELOW_EAST),
        ("sun", SOUTH),
        ("tan", SOUTH),
    ):
        await owner.create_member(user_id, department_id)
    await owner.create_tag("tagged", 7)
    await owner.add_to_tag(7, ["tan"], [BELOW_EAST])
    for agent_id, visible in (
        (WHOLE, app_pb2.AppRange(department_ids=[1])),
        (IN_EAST, app_pb2.AppRange(department_ids=[EAST])),
        (TAGGED, app_pb2.AppRange(tag_ids=[7])),
    ):
        app_ranges.ranges[corp.corp_id, int(agent_id)] = visible
    return Asking(messaging_broker, corp.corp_id)


@pytest.mark.parametrize(
    ("agent_id", "audience", "reached"),
    [
        (WHOLE, named(everybody=True), ["boss", "li", "low", "sun", "tan"]),
        (IN_EAST, named(everybody=True), ["li", "low"]),
        (TAGGED, named(everybody=True), ["low", "tan"]),
        (WHOLE, named(department_ids=[EAST]), ["li", "low"]),
        (
            WHOLE,
            named(department_ids=[EAST], user_ids=["SUN", "li", "a\x00"]),
            ["li", "low", "sun"],
        ),
        (WHOLE, named(tag_ids=[7]), ["low", "tan"]),
        (IN_EAST, named(tag_ids=[7], user_ids=["sun"]), ["low"]),
        (IN_EAST, named(department_ids=[1]), ["li", "low"]),
        (TAGGED, named(department_ids=[SOUTH]), ["tan"]),
        (WHOLE, named(), []),
    ],
)
async def test_an_app_reaches_those_of_an_audience_who_are_in_its_range(
    asking: Asking, agent_id: str, audience: directory_requests_pb2.Audience, reached: list[str]
) -> None:
    assert await asking.reach(agent_id, audience) == reached


async def test_pages_go_on_behind_the_last_and_leave_out_who_has_left(
    asking: Asking, owner: Writer
) -> None:
    everybody = named(everybody=True)
    await owner.delete_member("low")

    first = await asking.reach(WHOLE, everybody, limit=2)
    rest = await asking.reach(WHOLE, everybody, after=first[-1], limit=2)

    assert (first, rest) == (["boss", "li"], ["sun", "tan"])


async def test_what_an_app_can_not_reach_is_told_as_it_was_named(asking: Asking) -> None:
    audience = named(
        user_ids=["SUN", "nobody", "Li", "a\x00", "SUN"],
        department_ids=[EAST, SOUTH, 99, -1],
        tag_ids=[7, 8],
    )

    assert await asking.check(IN_EAST, audience) == (
        ["SUN", "nobody", "a\x00"],
        [SOUTH, 99, -1],
        [8],
    )
    assert await asking.check(WHOLE, audience) == (["nobody", "a\x00"], [99, -1], [8])


@pytest.mark.parametrize(
    ("field", "most", "value"),
    [("user_ids", 1000, "u"), ("department_ids", 100, 9), ("tag_ids", 100, 9)],
)
async def test_as_many_as_a_message_may_name_are_looked_up_and_one_more_is_refused(
    asking: Asking, field: str, most: int, value: Any
) -> None:
    assert await asking.reach(WHOLE, named(**{field: [value] * most})) == []
    with pytest.raises(InvalidArgumentError, match=field):
        await asking.reach(WHOLE, named(**{field: [value] * (most + 1)}))


async def test_another_corps_members_are_not_there(
    asking: Asking, other_corp: Corp, messaging_broker: Client
) -> None:
    elsewhere = Asking(messaging_broker, other_corp.corp_id)

    assert await elsewhere.reach(WHOLE, named(user_ids=["li"], department_ids=[EAST])) == []
    assert await elsewhere.check(WHOLE, named(user_ids=["li"], tag_ids=[7])) == (["li"], [], [7])
