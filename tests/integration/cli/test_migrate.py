"""`tieline migrate` as an operator runs it."""

from e2e.platform_process import run_tieline
from tieline.chassis.streams import SERVICES


async def test_empty_database_is_migrated_once(administration: dict[str, str]) -> None:
    first_status, first = await run_tieline("migrate", **administration)
    second_status, second = await run_tieline("migrate", **administration)

    assert (first_status, second_status) == (0, 0), first + second
    for service in SERVICES:
        assert f"applied {service}/chassis/0001" in first
    assert second == "0 migrations applied; streams are declared\n"


async def test_check_lists_what_is_pending_and_changes_nothing(
    administration: dict[str, str],
) -> None:
    for _ in range(2):
        status, output = await run_tieline("migrate", "--check", "identity", **administration)

        assert status == 1
        assert "pending identity/chassis/0001" in output
        assert "directory" not in output
        assert output.splitlines()[-1].endswith("are pending; run `tieline migrate`")


async def test_check_of_a_migrated_database_succeeds(administration: dict[str, str]) -> None:
    await run_tieline("migrate", "identity", **administration)

    status, output = await run_tieline("migrate", "--check", "identity", **administration)

    assert (status, output) == (0, "nothing is pending\n")


async def test_missing_settings_are_named() -> None:
    status, output = await run_tieline("migrate")

    assert status == 1
    assert "TIELINE_DATABASE_ADMIN_DSN" in output
    assert "TIELINE_NATS_ADMIN_URL" in output


async def test_database_that_is_away_is_one_line_without_the_password() -> None:
    settings = {
        "TIELINE_DATABASE_ADMIN_DSN": "postgresql://admin:hunter2@127.0.0.1:1/tieline",
        "TIELINE_NATS_ADMIN_URL": "nats://admin:hunter3@127.0.0.1:1",
    }
    for arguments in (["migrate"], ["migrate", "--check"], ["dead-letters", "list", "messaging"]):
        status, output = await run_tieline(*arguments, **settings)

        assert status == 1
        assert "127.0.0.1:1" in output
        assert "hunter" not in output
        assert len(output.splitlines()) == 1


async def test_broker_that_is_away_is_one_line_without_the_password(
    administration: dict[str, str],
) -> None:
    administration["TIELINE_NATS_ADMIN_URL"] = "nats://admin:hunter3@127.0.0.1:1"

    status, output = await run_tieline("migrate", "identity", **administration)

    assert status == 1
    (line,) = (line for line in output.splitlines() if line.startswith("tieline: "))
    assert "NATS at 127.0.0.1:1" in line
    assert "hunter" not in output
