"""First answers against PostgreSQL."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from tieline.api.contacts.v1.contacts_service_pb2 import (
    CreateContactWayRequest,
    CreateCustomerGroupRequest,
)
from tieline.chassis.calls import Call, entered
from tieline.chassis.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from tieline.chassis.idempotency import answered_once
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import Principal, PrincipalKind

# Of the fixture.
POOL_SIZE = 8


class Acts:
    """Counts how often the work was done; each time has another answer."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, _: Connection) -> StringValue:
        self.count += 1
        await asyncio.sleep(0)
        return StringValue(value=f"answer {self.count}")


def member(name: str) -> Principal:
    return Principal(PrincipalKind.MEMBER, name, "corp", "session")


async def answer(
    pool: Pool,
    act: Callable[[Connection], Awaitable[StringValue]],
    request_id: str,
    *,
    request: Message | None = None,
    principal: Principal | None = None,
    corp_id: str = "corp",
    prepare: Callable[[], Awaitable[None]] | None = None,
) -> str:
    request = CreateCustomerGroupRequest(name="group") if request is None else request
    request.request_id = request_id  # type: ignore[attr-defined]
    with entered(Call("/test", "request", principal=principal or member("zhang"))):
        response = await answered_once(
            pool, "identity", request, StringValue, act, corp_id=corp_id, prepare=prepare
        )
    return response.value


async def test_repeat_gets_the_first_answer_and_does_nothing(pool: Pool) -> None:
    act, request_id = Acts(), str(uuid.uuid4())

    answers = [await answer(pool, act, request_id) for _ in range(3)]

    assert answers == ["answer 1"] * 3
    assert act.count == 1


async def test_request_id_in_capitals_is_the_same_one(pool: Pool) -> None:
    act = Acts()
    request_id = str(uuid.uuid4())

    first = await answer(pool, act, request_id)

    assert await answer(pool, act, request_id.upper()) == first
    assert act.count == 1


async def test_repeats_at_the_same_time_do_the_work_once(pool: Pool) -> None:
    act, request_id = Acts(), str(uuid.uuid4())

    answers = await asyncio.gather(*(answer(pool, act, request_id) for _ in range(6)))

    assert answers == ["answer 1"] * 6
    assert act.count == 1


async def test_repeat_of_a_failed_request_does_the_work(pool: Pool) -> None:
    act, request_id = Acts(), str(uuid.uuid4())

    async def fail(_: Connection) -> StringValue:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await answer(pool, fail, request_id)

    assert await answer(pool, act, request_id) == "answer 1"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(CreateCustomerGroupRequest(name="other"), id="other contents"),
        pytest.param(CreateContactWayRequest(), id="other method"),
    ],
)
async def test_other_request_under_the_same_id_is_refused(pool: Pool, other: Message) -> None:
    act, request_id = Acts(), str(uuid.uuid4())
    await answer(pool, act, request_id)

    with pytest.raises(FailedPreconditionError) as raised:
        await answer(pool, act, request_id, request=other)

    assert raised.value.reason == "REQUEST_ID_REUSED"
    assert raised.value.metadata == {"requestId": request_id}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"principal": member("li")}, id="another member"),
        pytest.param(
            {"principal": Principal(PrincipalKind.PLATFORM_ADMINISTRATOR, "zhang", "", "session")},
            id="another kind of the same name",
        ),
        pytest.param({"corp_id": "other"}, id="another corp"),
    ],
)
async def test_request_ids_of_other_senders_are_other_requests(
    pool: Pool, other: dict[str, Any]
) -> None:
    act, request_id = Acts(), str(uuid.uuid4())
    await answer(pool, act, request_id)

    assert await answer(pool, act, request_id, **other) == "answer 2"


@pytest.mark.parametrize(
    "request_id", ["", "1", "{018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f}", "z" * 36]
)
async def test_request_id_that_is_no_uuid_is_refused(pool: Pool, request_id: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        await answer(pool, Acts(), request_id)

    assert "request_id" in raised.value.violations


class OtherService:
    """What a request is prepared with; it can be away."""

    def __init__(self) -> None:
        self.is_away = False
        self.questions = 0

    async def ask(self) -> None:
        self.questions += 1
        if self.is_away:
            raise UnavailableError("SERVICE_UNAVAILABLE", "directory does not answer")


async def test_repeat_asks_no_other_service_and_needs_none(pool: Pool) -> None:
    act, other, request_id = Acts(), OtherService(), str(uuid.uuid4())
    first = await answer(pool, act, request_id, prepare=other.ask)
    other.is_away = True

    assert await answer(pool, act, request_id, prepare=other.ask) == first
    assert (act.count, other.questions) == (1, 1)


async def test_what_speaks_against_a_request_is_raised_and_nothing_is_done(pool: Pool) -> None:
    act, other, request_id = Acts(), OtherService(), str(uuid.uuid4())
    other.is_away = True

    with pytest.raises(UnavailableError):
        await answer(pool, act, request_id, prepare=other.ask)

    assert act.count == 0
    other.is_away = False
    assert await answer(pool, act, request_id, prepare=other.ask) == "answer 1"


async def test_prepared_repeats_at_the_same_time_do_the_work_once(pool: Pool) -> None:
    act, request_id = Acts(), str(uuid.uuid4())
    everybody = asyncio.Barrier(3)

    async def prepare() -> None:
        # None of them has found a first answer.
        await everybody.wait()

    answers = await asyncio.gather(
        *(answer(pool, act, request_id, prepare=prepare) for _ in range(3))
    )

    assert answers == ["answer 1"] * 3
    assert act.count == 1


async def test_no_connection_waits_for_the_other_service(pool: Pool) -> None:
    taken = []

    async def take_every_connection() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(POOL_SIZE):
                taken.append(await stack.enter_async_context(pool.acquire()))

    await answer(pool, Acts(), str(uuid.uuid4()), prepare=take_every_connection)

    assert len(taken) == POOL_SIZE
