"""The split of red packets: exact, within bounds, reproducible, and alike for every position."""

import hashlib
import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.payments.split import (
    MAX_SHARE_MINOR,
    MIN_SHARE_MINOR,
    build_commitment,
    split_amount,
)

COUNTING_SEED = bytes(range(32))

# The chi-square statistic of a fair split exceeds mean + 4 standard deviations once in some 10,000
# series; the seeds are fixed, so these tests give the same answer each time.
FOUR_SIGMA = 4.0

seeds = st.binary(min_size=32, max_size=32)


@st.composite
def possible_packets(draw: st.DrawFn) -> tuple[int, int]:
    share_count = draw(st.integers(1, 100))
    amount_minor = draw(st.integers(share_count * MIN_SHARE_MINOR, share_count * MAX_SHARE_MINOR))
    return amount_minor, share_count


def seeds_of_series(count: int) -> Iterator[bytes]:
    return (hashlib.sha256(b"series %d" % number).digest() for number in range(count))


@given(seeds, possible_packets())
def test_shares_sum_to_the_amount_and_each_is_within_its_bounds(
    seed: bytes, packet: tuple[int, int]
) -> None:
    amount_minor, share_count = packet

    shares = split_amount(seed, amount_minor, share_count)

    assert len(shares) == share_count
    assert sum(shares) == amount_minor
    assert min(shares) >= MIN_SHARE_MINOR
    assert max(shares) <= MAX_SHARE_MINOR


@given(seeds, st.integers(1, 100), st.integers(0, 3))
def test_shares_stay_within_bounds_next_to_the_smallest_and_the_largest_amount(
    seed: bytes, share_count: int, distance: int
) -> None:
    smallest = min(share_count + distance, share_count * MAX_SHARE_MINOR)
    largest = max(share_count * MAX_SHARE_MINOR - distance, share_count)

    for amount_minor in (smallest, largest):
        shares = split_amount(seed, amount_minor, share_count)

        assert sum(shares) == amount_minor
        assert all(MIN_SHARE_MINOR <= share <= MAX_SHARE_MINOR for share in shares)


@given(seeds, st.integers(1, 100))
def test_one_fen_a_share_gives_everybody_one_fen(seed: bytes, share_count: int) -> None:
    assert split_amount(seed, share_count, share_count) == [1] * share_count


@given(seeds, st.integers(1, 100))
def test_the_largest_amount_gives_everybody_the_largest_share(
    seed: bytes, share_count: int
) -> None:
    shares = split_amount(seed, share_count * MAX_SHARE_MINOR, share_count)

    assert shares == [MAX_SHARE_MINOR] * share_count


@given(seeds, st.integers(MIN_SHARE_MINOR, MAX_SHARE_MINOR))
def test_a_single_share_is_the_whole_amount(seed: bytes, amount_minor: int) -> None:
    assert split_amount(seed, amount_minor, 1) == [amount_minor]


@pytest.mark.parametrize(
    ("seed", "amount_minor", "shares"),
    [
        pytest.param(
            *(COUNTING_SEED, 1000, [7, 95, 134, 189, 128, 70, 49, 169, 41, 118]),
            id="double mean",
        ),
        pytest.param(
            b"\xff" * 32,
            190_000,
            [18748, 18245, 19610, 18904, 19269, 19187, 18614, 18898, 19123, 19402],
            id="mean close to the largest share",
        ),
    ],
)
def test_published_seed_gives_the_split_that_it_always_gave(
    seed: bytes, amount_minor: int, shares: list[int]
) -> None:
    # Computed by a program of its own, written from the recipe in the module's docstring.
    assert split_amount(seed, amount_minor, len(shares)) == shares


def test_commitment_is_the_sha256_of_the_seed() -> None:
    assert build_commitment(COUNTING_SEED).hex() == (
        "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
    )


def test_other_seed_gives_another_split() -> None:
    splits = {tuple(split_amount(seed, 20_000, 50)) for seed in seeds_of_series(100)}

    assert len(splits) == 100


@pytest.mark.parametrize(
    ("amount_minor", "share_count"),
    [
        pytest.param(10_000, 10, id="double mean"),
        pytest.param(150_000, 10, id="cut by the largest share"),
        pytest.param(17, 10, id="a few fen"),
    ],
)
def test_every_position_has_the_same_mean(amount_minor: int, share_count: int) -> None:
    packets = [split_amount(seed, amount_minor, share_count) for seed in seeds_of_series(4000)]

    mean = amount_minor / share_count
    for position in range(share_count):
        shares = [packet[position] for packet in packets]
        spread = math.sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))
        error = spread / math.sqrt(len(shares))
        assert abs(sum(shares) / len(shares) - mean) < FOUR_SIGMA * error


@pytest.mark.parametrize(
    ("amount_minor", "share_count", "packet_count"),
    [
        pytest.param(10_000, 10, 4000, id="100 yuan for 10"),
        pytest.param(10_000, 100, 2000, id="100 yuan for 100"),
        pytest.param(1_900_000, 100, 2000, id="close to the largest amount"),
    ],
)
def test_every_position_is_as_likely_to_be_the_luckiest(
    amount_minor: int, share_count: int, packet_count: int
) -> None:
    wins = [0] * share_count
    drawn = 0
    for seed in seeds_of_series(packet_count):
        shares = split_amount(seed, amount_minor, share_count)
        # A tie is decided by who comes first, which is no property of the split.
        if shares.count(max(shares)) == 1:
            wins[shares.index(max(shares))] += 1
            drawn += 1

    expected = drawn / share_count
    chi_square = sum((won - expected) ** 2 / expected for won in wins)
    degrees = share_count - 1
    assert chi_square < degrees + FOUR_SIGMA * math.sqrt(2 * degrees)
