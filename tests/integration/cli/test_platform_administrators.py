"""`tieline platform-administrators` beside a running identity."""

import asyncio
import os
import subprocess
import sys

import grpc

from engines import Database
from fakes.eventually import eventually
from integration.identity.authenticators import complete, enrol, next_code_of
from integration.identity.world import (
    PLATFORM_PASSWORD,
    TIMEOUT_S,
    FakeDirectory,
    Identity,
    bearer,
    fast_settings,
    make_database,
    refusal,
    running_identity,
)
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.embedded.nats import EmbeddedNats
from tieline.identity.settings import IdentitySettings

NEW_PASSWORD = "a new platform password"


async def run(
    settings: IdentitySettings, *arguments: str, password: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command with identity's settings in its environment."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIELINE_")},
        "TIELINE_DATABASE_DSN": settings.database_dsn.get_secret_value(),
        "TIELINE_NATS_URL": settings.nats_url.get_secret_value(),
        "TIELINE_SECRET_KEY": settings.secret_key.get_secret_value(),
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tieline.cli.main", "platform-administrators", *arguments],
        env=environment,
        input=f"{password}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def list_corps(identity: Identity, session: identity_pb2.Session) -> None:
    await identity.stub.ListCorps(
        identity_service_pb2.ListCorpsRequest(), metadata=bearer(session), timeout=TIMEOUT_S
    )


async def test_administrators_are_added_given_passwords_and_removed(
    postgres_admin_dsn: str, database: Database, nats: EmbeddedNats, worker_id: str
) -> None:
    own = await make_database(postgres_admin_dsn, f"tieline_administrators_{worker_id}")
    settings = fast_settings(own, nats)
    async with running_identity(settings, own, nats, FakeDirectory()) as identity:
        first = await identity.sign_in_platform("platform", PLATFORM_PASSWORD)

        last = await run(settings, "remove", "platform")
        weak = await run(settings, "add", "wang.fang", password="short")
        added = await run(settings, "add", "wang.fang", password=NEW_PASSWORD)
        again = await run(settings, "add", "wang.fang", password=NEW_PASSWORD)
        changed = await run(settings, "set-password", "platform", password=NEW_PASSWORD)
        unknown = await run(settings, "set-password", "nobody", password=NEW_PASSWORD)

        assert (last.returncode, weak.returncode) == (1, 1)
        assert "add another one first" in last.stderr
        assert "must have 10 to 128 characters" in weak.stderr
        assert (added.returncode, changed.returncode) == (0, 0), added.stderr + changed.stderr
        assert (again.returncode, unknown.returncode) == (1, 1)
        await identity.sign_in_platform("wang.fang", NEW_PASSWORD)
        second = await identity.sign_in_platform("platform", NEW_PASSWORD)
        old = await refusal(identity.sign_in_platform("platform", PLATFORM_PASSWORD))
        assert old.reason == "CREDENTIALS_REJECTED"
        assert (await refusal(identity.refresh(first.refresh_token))).reason == "SESSION_ENDED"
        await eventually(lambda: _is_refused(identity, first), timeout_s=2)
        await list_corps(identity, second)

        removed = await run(settings, "remove", "platform")
        listed = await run(settings, "list")

        assert removed.returncode == 0, removed.stderr
        assert "wang.fang" in listed.stdout
        assert "platform" not in listed.stdout
        assert (await refusal(identity.refresh(second.refresh_token))).reason == "SESSION_ENDED"
        await eventually(lambda: _is_refused(identity, second), timeout_s=2)

        async def acts_are_told() -> bool:
            rows = await identity.execute(
                "SELECT action, resource FROM identity.audit_entries WHERE corp_id = ''"
                " AND action LIKE 'identity.platform_administrator.%'"
                " AND action NOT LIKE '%sign_in%' ORDER BY act_time"
            )
            return [tuple(row) for row in rows] == [
                ("identity.platform_administrator.add", "platformAdministrators/wang.fang"),
                ("identity.platform_administrator.set_password", "platformAdministrators/platform"),
                ("identity.platform_administrator.remove", "platformAdministrators/platform"),
            ]

        await eventually(acts_are_told)

    # The setting brings nobody back who was removed.
    async with running_identity(
        settings, own, nats, FakeDirectory(), name="wang.fang", password=NEW_PASSWORD
    ) as identity:
        gone = await refusal(identity.sign_in_platform("platform", PLATFORM_PASSWORD))
    assert gone.reason == "CREDENTIALS_REJECTED"


async def test_a_lost_second_factor_is_listed_and_reset(
    postgres_admin_dsn: str, database: Database, nats: EmbeddedNats, worker_id: str
) -> None:
    """A reset ends the factor, challenges and sessions; a removal leaves no secret behind."""
    own = await make_database(postgres_admin_dsn, f"tieline_second_factors_{worker_id}")
    settings = fast_settings(own, nats)
    async with running_identity(settings, own, nats, FakeDirectory()) as identity:
        session = await identity.sign_in_platform()
        added = await run(settings, "add", "wang.fang", password=NEW_PASSWORD)
        secret, _ = await enrol(identity, bearer(session))
        asked = await identity.stub.SignInPlatformAdministrator(
            identity_service_pb2.SignInPlatformAdministratorRequest(
                name="platform", password=PLATFORM_PASSWORD
            )
        )

        listed = await run(settings, "list")
        reset = await run(settings, "reset-second-factor", "platform")
        again = await run(settings, "reset-second-factor", "platform")
        nobody = await run(settings, "reset-second-factor", "nobody")

        assert added.returncode == 0, added.stderr
        assert [line.count("none") for line in listed.stdout.splitlines()[3:5]] == [0, 1]
        assert reset.returncode == 0, reset.stderr
        assert (again.returncode, nobody.returncode) == (1, 1)
        assert "has no second factor" in again.stderr
        challenge = asked.second_factor_challenge.challenge
        spent = await refusal(complete(identity, challenge, next_code_of(secret)))
        assert spent.reason == "CHALLENGE_ENDED"
        assert (await refusal(identity.refresh(session.refresh_token))).reason == "SESSION_ENDED"
        await enrol(identity, bearer(await identity.sign_in_platform()))

        removed = await run(settings, "remove", "platform")

        assert removed.returncode == 0, removed.stderr
        assert await identity.execute("SELECT FROM identity.second_factors") == []
        await eventually(lambda: _is_told(identity, "reset_second_factor"))


async def _is_told(identity: Identity, verb: str) -> bool:
    rows = await identity.execute(
        "SELECT FROM identity.audit_entries WHERE corp_id = '' AND action = $1",
        f"identity.platform_administrator.{verb}",
    )
    return len(rows) == 1


async def _is_refused(identity: Identity, session: identity_pb2.Session) -> bool:
    try:
        await list_corps(identity, session)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False
