"""`tieline up` from outside: real engines, real services, real signals."""

import os
import signal
import stat
from contextlib import ExitStack
from pathlib import Path

from e2e.platform_process import (
    POSTGRES_DEFAULT_PORT,
    PlatformProcess,
    platform_process,
    run_tieline,
    survivors,
    take_port,
)
from fakes.eventually import eventually
from tieline.chassis.streams import SERVICES
from tieline.cli.grpc_health import is_serving
from tieline.embedded.ports import find_free_port

NOBODY = 65534


async def test_every_service_is_healthy_where_the_endpoints_say(platform: PlatformProcess) -> None:
    endpoints = platform.data.read_endpoints()

    assert list(endpoints["services"]) == list(SERVICES)
    for address in endpoints["services"].values():
        assert await is_serving(int(address.rpartition(":")[2]))


async def test_taken_default_port_is_replaced_and_said_so(platform: PlatformProcess) -> None:
    address = platform.data.read_endpoints()["postgres"]

    port = address.rpartition(":")[2]
    assert f"port {POSTGRES_DEFAULT_PORT} is in use: PostgreSQL is on {port} instead" in (
        platform.output
    )


async def test_second_up_on_the_same_data_says_who_holds_it(platform: PlatformProcess) -> None:
    status, output = await run_tieline("up", "--data", str(platform.data.path))

    assert status == 1
    assert len(output.splitlines()) == 1
    assert f"tieline: {platform.data.path} is held by pid {platform.process.pid} since" in output


async def test_no_secret_is_printed_where_the_output_is_no_terminal(
    platform: PlatformProcess,
) -> None:
    secrets = platform.data.read_secrets()
    values = [
        secrets.postgres_password,
        secrets.nats_password,
        secrets.platform_administrator_password,
    ]
    for service in secrets.services.values():
        values += [service.database_password, service.nats_password, service.secret_key]

    assert [value for value in values if value in platform.output] == []
    assert f"password is in {platform.data.secrets_file}" in platform.output


async def test_no_secret_is_in_a_command_line_that_everybody_can_read(
    platform: PlatformProcess,
) -> None:
    secrets = platform.data.secrets_file.read_text()
    words = {word for process in platform.all_processes() for word in process.cmdline()}

    assert [word for word in words if len(word) > 20 and word in secrets] == []


async def test_data_are_their_owners_only(platform: PlatformProcess) -> None:
    path = platform.data.path

    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "nats" / "nats.conf").stat().st_mode) == 0o600


async def test_crashed_service_comes_back_on_its_port(platform: PlatformProcess) -> None:
    address = platform.data.read_endpoints()["services"]["payments"]
    victim = platform.process_of("serve", "payments")
    before = len(platform.output)

    victim.kill()
    await eventually(lambda: "payments is healthy again" in platform.output[before:])

    assert "payments ended with SIGKILL; starting again in" in platform.output[before:]
    assert await is_serving(int(address.rpartition(":")[2]))


async def test_crashed_database_comes_back_and_the_services_with_it(
    platform: PlatformProcess,
) -> None:
    address = platform.data.read_endpoints()["services"]["identity"]
    service = platform.process_of("serve", "identity")
    # The server itself, not one of its sessions: their titles have no options.
    (postmaster,) = (p for p in platform.all_processes() if "-D" in p.cmdline())
    before = len(platform.output)

    postmaster.kill()
    await eventually(lambda: "postgres is healthy again" in platform.output[before:])

    await eventually(lambda: is_serving(int(address.rpartition(":")[2])))
    assert service.is_running(), "the service was to wait for its database"


async def test_asked_for_port_that_is_taken_is_one_line_and_status_1(tmp_path: Path) -> None:
    with ExitStack() as stack:
        base_port = find_free_port() - 432
        take_port(stack, base_port + 432)

        status, output = await run_tieline(
            "up", "--data", str(tmp_path / "data"), "--base-port", str(base_port)
        )

    assert status == 1
    assert f"tieline: in use: port {base_port + 432} (PostgreSQL)" in output
    assert "--base-port" in output


async def test_ordinary_user_can_run_it(tmp_path: Path) -> None:
    prefix: list[str] = []
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
        # The test's Python may be in a folder that only root can pass.
        prefix = [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
            "--securebits=+no_setuid_fixup",
        ]
    async with platform_process(tmp_path / "data", prefix=prefix) as platform:
        await platform.is_up()
        processes = platform.all_processes()

        assert {process.uids().effective for process in processes} == {os.geteuid() or NOBODY}

        # Its end by SIGKILL is in test_restore.py.
        assert await platform.stop(signal.SIGTERM) == 0, platform.output
        assert survivors(processes) == []


async def test_folder_that_cannot_be_written_is_one_line_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    status, output = await run_tieline("up", "--data", str(tmp_path / "file" / "data"))

    assert status == 1
    assert output.startswith(f"tieline: {tmp_path}/file")
    assert len(output.splitlines()) == 1
