"""The retailer's staff as a CSV file: 1 headquarters, 12 branches and up to 800 stores.

Persons are combined from pools of names, jobs and cities by a generator with a fixed seed. Asking
Faker for each of 36,000 people would take ten times as long.
"""

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

FULL_STAFF = 36_000
FULL_STORES = 800

BRANCHES = (
    "华北", "华东", "华南", "华中", "西南", "西北", "东北", "京津", "苏皖", "浙闽", "粤桂", "云贵",
)  # fmt: skip

STORE_POSITIONS = (
    "店长",
    "副店长",
    "珠宝顾问",
    "珠宝顾问",
    "珠宝顾问",
    "鉴定师",
    "收银员",
    "库管员",
)
BRANCH_POSITIONS = ("分公司经理", "区域督导", "培训讲师", "财务专员", "人事专员", "物流专员")

# Shares of the staff: 800 people at headquarters and 1,200 in branches of 36,000.
HEADQUARTERS_RATIO = 1 / 45
BRANCHES_RATIO = 1 / 30

# The last 8 of a mobile number's 11 digits.
_MOBILE_SUFFIXES = 10**8


@dataclass(frozen=True, slots=True)
class StaffRow:
    """One line of the file; the fields are its columns."""

    user_id: str
    name: str
    department: str
    position: str
    mobile: str
    email: str


@dataclass(frozen=True, slots=True)
class Pools:
    """What persons and stores are combined from; what is there twice is twice as common."""

    last_names: Sequence[str]
    first_names: Sequence[str]
    jobs: Sequence[str]
    cities: Sequence[str]
    mobile_prefixes: Sequence[str]
    """The first 3 of a mobile number's 11 digits."""


def make_staff(seed: int, count: int, pools: Pools) -> Iterator[StaffRow]:
    """Yield the staff, always the same for a seed, a count and pools."""
    chance = random.Random(seed)
    suffixes = chance.sample(range(_MOBILE_SUFFIXES), count)
    departments = _departments(pools, chance, count)
    for number in range(count):
        department, positions = departments[number]
        user_id = f"jy{number + 1:06}"
        yield StaffRow(
            user_id=user_id,
            name=chance.choice(pools.last_names) + chance.choice(pools.first_names),
            department=department,
            position=chance.choice(positions),
            mobile=f"{chance.choice(pools.mobile_prefixes)}{suffixes[number]:08}",
            email=f"{user_id}@jinyu.example",
        )


def store_count(staff_count: int) -> int:
    """Return how many stores so many staff run: 800 for 36,000, fewer for fewer, at least one."""
    return max(1, min(FULL_STORES, staff_count * FULL_STORES // FULL_STAFF))


def write_staff_file(path: Path, staff: Iterable[StaffRow]) -> None:
    """Write the file whole or not at all."""
    staging = path.with_suffix(".new")
    with staging.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(StaffRow))
        writer.writerows(astuple(row) for row in staff)
    # A file that was half written must not be found by the next run.
    staging.replace(path)


def _departments(
    pools: Pools, chance: random.Random, count: int
) -> list[tuple[str, Sequence[str]]]:
    """Return each person's department and the positions that it has."""
    headquarters = [("总部", pools.jobs)] * round(count * HEADQUARTERS_RATIO)
    branch_staff = round(count * BRANCHES_RATIO)
    branches = [
        (f"{BRANCHES[number % len(BRANCHES)]}分公司", BRANCH_POSITIONS)
        for number in range(branch_staff)
    ]
    stores = _store_paths(pools, chance, store_count(count))
    in_stores = count - len(headquarters) - len(branches)
    return [
        *headquarters,
        *branches,
        *((stores[number % len(stores)], STORE_POSITIONS) for number in range(in_stores)),
    ]


def _store_paths(pools: Pools, chance: random.Random, count: int) -> list[str]:
    cities = [chance.choice(pools.cities) for _ in range(count)]
    return [
        f"{BRANCHES[number % len(BRANCHES)]}分公司/{city}{number + 1:03}店"
        for number, city in enumerate(cities)
    ]
