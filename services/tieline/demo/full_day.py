"""The full day: up to 36,000 staff with Faker's names, who say what the corpus has.

Needs what the extra `embedded` installs, which the image has not.
"""

from collections.abc import Iterator
from pathlib import Path

from faker import Faker

from tieline.demo.corpus import load_dialogues
from tieline.demo.staff_file import Pools, StaffRow, make_staff, write_staff_file
from tieline.demo.stage import Material, Scale

_LAST_NAME_DRAWS = 2_000
_FIRST_NAME_DRAWS = 5_000
_JOB_DRAWS = 300
_CITY_DRAWS = 2_000
_PREFIX_DRAWS = 200


def make_material(scale: Scale, staff_file: Path) -> Material:
    """Return what the full day is made of, with the staff in the file."""
    fake = Faker("zh_CN")
    fake.seed_instance(scale.seed)
    return Material(
        corp_name="金玉珠宝",
        staff_file=staff_file,
        customer_names=[fake.name() for _ in range(scale.customers)],
        dialogues=load_dialogues(),
    )


def make_full_staff(seed: int, count: int) -> Iterator[StaffRow]:
    """Yield the staff, always the same for a seed and a count."""
    return make_staff(seed, count, _draw_pools(seed))


def ensure_staff_file(directory: Path, seed: int, count: int) -> Path:
    """Return the file of this seed and size, which is made when it is first asked for."""
    path = directory / f"staff-{seed}-{count}.csv"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        write_staff_file(path, make_full_staff(seed, count))
    return path


def _draw_pools(seed: int) -> Pools:
    """Draw names with Faker's own repeats, which make common surnames common, as they are."""
    fake = Faker("zh_CN")
    fake.seed_instance(seed)
    return Pools(
        last_names=[fake.last_name() for _ in range(_LAST_NAME_DRAWS)],
        first_names=[fake.first_name() for _ in range(_FIRST_NAME_DRAWS)],
        jobs=[fake.job()[:64] for _ in range(_JOB_DRAWS)],
        cities=sorted({fake.city_name() for _ in range(_CITY_DRAWS)}),
        mobile_prefixes=[fake.phone_number()[:3] for _ in range(_PREFIX_DRAWS)],
    )
