"""PostgreSQL takes packed arrays apart to what was packed."""

from collections.abc import Sequence

import pytest

from tieline.chassis.packed_arrays import pack_numbers, pack_texts, unpack_numbers, unpack_texts
from tieline.chassis.postgres import Pool


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([], id="none"),
        pytest.param(["li.wei"], id="one"),
        pytest.param(["NULL", "{a,b}", 'a"b\\', " ", "a\nb", "李伟", "NULL"], id="signs"),
    ],
)
async def test_texts_come_out_as_they_went_in(pool: Pool, texts: Sequence[str]) -> None:
    async with pool.acquire() as connection:
        unpacked = await connection.fetchval(f"SELECT {unpack_texts(1)}", pack_texts(texts))

    assert unpacked == texts


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([], id="none"),
        pytest.param([7], id="one"),
        pytest.param([0, -1, 2**63 - 1, -(2**63)], id="bounds"),
    ],
)
async def test_numbers_come_out_as_they_went_in(pool: Pool, numbers: Sequence[int]) -> None:
    async with pool.acquire() as connection:
        unpacked = await connection.fetchval(f"SELECT {unpack_numbers(1)}", pack_numbers(numbers))

    assert unpacked == numbers
