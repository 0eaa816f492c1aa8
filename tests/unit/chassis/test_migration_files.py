"""Which migrations without a transaction run again by themselves after they stopped halfway."""

import pytest

from tieline.chassis.migration_files import (
    Applied,
    Migration,
    MigrationError,
    check_history,
    load_migrations,
)
from tieline.chassis.streams import SERVICES

DROP = "DROP INDEX CONCURRENTLY IF EXISTS ledger.by_corp;\n"
BUILD = "CREATE UNIQUE INDEX CONCURRENTLY by_corp\n    ON ledger.accounts (corp_id);\n"


def migration(sql: str) -> Migration:
    return Migration("ledger", "ledger", 1, "0001_index.sql", sql)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        pytest.param(DROP + "-- why; so\n" + BUILD, True, id="dropped-and-built"),
        pytest.param(
            DROP + BUILD + "COMMENT ON TABLE ledger.accounts IS 'a';\n", True, id="comment"
        ),
        pytest.param(BUILD, False, id="built-alone"),
        pytest.param(BUILD + DROP, False, id="dropped-afterwards"),
        pytest.param(DROP + BUILD.replace("by_corp", "by_name"), False, id="another-dropped"),
        pytest.param(
            DROP + BUILD.replace("by_corp", "IF NOT EXISTS by_corp"),
            False,
            id="keeps-an-invalid-one",
        ),
        pytest.param(DROP + BUILD + "ALTER TABLE ledger.accounts ADD n int;\n", False, id="alters"),
    ],
)
def test_migration_that_builds_what_it_drops_first_runs_again(
    statements: str, *, expected: bool
) -> None:
    """Whether a history that has it unfinished is refused follows from its statements."""
    one = migration("-- no-transaction\n" + statements)
    history = [Applied("ledger", 1, one.file_name, one.checksum, is_finished=False)]

    assert one.is_repeatable is expected
    if expected:
        assert check_history([one], history) == set()
    else:
        with pytest.raises(MigrationError, match=r"stopped halfway; run `tieline migrate --rerun"):
            check_history([one], history)


def test_migration_with_a_transaction_is_applied_whole_or_not_at_all() -> None:
    """What is in a transaction waits for locks with a bound, whatever its statements are."""
    assert not migration(DROP + BUILD).is_repeatable


def test_no_migration_without_a_transaction_waits_for_somebody_to_say_rerun() -> None:
    """The chart's job has nobody who could."""
    without = [
        each for name in SERVICES for each in load_migrations(name) if not each.is_transactional
    ]

    assert len(without) > 10
    assert [each.file_name for each in without if not each.is_repeatable] == []
