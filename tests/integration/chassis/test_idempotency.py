"""First answers against PostgreSQL."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from tieline.chassis.errors import FailedPreconditionError, InvalidArgumentError
from tieline.chassis.idempotency import answer_once
from tieline.chassis.postgres import Pool, transaction


class Acts:
    """Counts how often the work was done; each time has another answer."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> StringValue:
        self.count += 1
        await asyncio.sleep(0)
        return StringValue(value=f"answer {self.count}")


async def answer(
    pool: Pool,
    act: Callable[[], Awaitable[StringValue]],
    request_id: str,
    *,
    request: StringValue | Int64Value | None = None,
    principal_id: str = "zhang",
    corp_id: str = "corp",
) -> str:
    async with transaction(pool) as connection:
        response = await answer_once(
            connection,
            "identity",
            corp_id=corp_id,
            principal_id=principal_id,
            request_id=request_id,
            request=StringValue(value="request") if request is None else request,
            response_type=StringValue,
            act=act,
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

    async def fail() -> StringValue:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await answer(pool, fail, request_id)

    assert await answer(pool, act, request_id) == "answer 1"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(StringValue(value="other"), id="other contents"),
        pytest.param(Int64Value(value=1), id="other method"),
    ],
)
async def test_other_request_under_the_same_id_is_refused(
    pool: Pool, other: StringValue | Int64Value
) -> None:
    act, request_id = Acts(), str(uuid.uuid4())
    await answer(pool, act, request_id)

    with pytest.raises(FailedPreconditionError) as raised:
        await answer(pool, act, request_id, request=other)

    assert raised.value.reason == "REQUEST_ID_REUSED"
    assert raised.value.metadata == {"requestId": request_id}


@pytest.mark.parametrize("other", [{"principal_id": "li"}, {"corp_id": "other"}])
async def test_request_ids_of_other_senders_are_other_requests(
    pool: Pool, other: dict[str, str]
) -> None:
    act, request_id = Acts(), str(uuid.uuid4())
    await answer(pool, act, request_id)

    assert await answer(pool, act, request_id, **other) == "answer 2"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "request_id", ["", "1", "{018f3d2e-7c1a-7b6e-9f00-3a5b8c2d1e4f}", "z" * 36]
)
async def test_request_id_that_is_no_uuid_is_refused(pool: Pool, request_id: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        await answer(pool, Acts(), request_id)

    assert "request_id" in raised.value.violations
