"""What a rollback to the release before depends on: which migrations only expand."""

import re

import pytest

from tieline.chassis.migration_files import (
    CHASSIS,
    Applied,
    Migration,
    check_served,
    load_migrations,
)
from tieline.chassis.streams import SERVICES

EVERY = {
    each.component + each.name[-5:]: each for name in SERVICES for each in load_migrations(name)
}

# The newest migration of each component that this release brings. Its own migrations stand here, so
# that whoever adds one says what becomes of a rollback.
NEWEST = {
    CHASSIS: 1,
    "identity": 15,
    "directory": 21,
    "messaging": 32,
    "contacts": 3,
    "payments": 2,
}

# After these the release before is not gone back to; each waits for `tieline migrate --contract`.
CONTRACTING: set[str] = set()

# Takes away three checks that no code relies on: the code before it runs on the result.
CONTRACTS_WITHOUT_HARM = {"directory/0015"}


def halves(migration: Migration) -> set[str]:
    """Return which halves the comment at the head of the file names."""
    head: list[str] = []
    for line in migration.sql.splitlines():
        if not line.startswith("--"):
            break
        head.append(line.removeprefix("--"))
    # The first sentence that says it: what follows may speak of the other half.
    found = re.search(r"\b(Expand|Contract)(?:ing half|ing)?\b", " ".join(head))
    return {found.group(1)} if found else set()


def test_this_release_has_these_migrations() -> None:
    newest = {
        component: max(each.version for each in EVERY.values() if each.component == component)
        for component in NEWEST
    }

    assert newest == NEWEST


def test_only_the_listed_migrations_contract_and_all_others_can_be_rolled_back_over() -> None:
    assert {key for key, each in EVERY.items() if each.is_contracting} == CONTRACTING


@pytest.mark.parametrize("key", sorted(EVERY))
def test_head_of_a_migration_says_the_same_half_as_its_name(key: str) -> None:
    says_contract = EVERY[key].is_contracting or key in CONTRACTS_WITHOUT_HARM

    assert halves(EVERY[key]) == {"Contract" if says_contract else "Expand"}


@pytest.mark.parametrize("service", SERVICES)
def test_code_without_any_of_the_migrations_after_the_first_is_served_by_the_newest(
    service: str,
) -> None:
    newest = load_migrations(service)
    history = [
        Applied(each.component, each.version, each.file_name, each.checksum, is_finished=True)
        for each in newest
    ]

    for known in range(1, len(newest) + 1):
        check_served(newest[:known], history)
