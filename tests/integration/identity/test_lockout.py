"""Guessers are held back, owners are not, and neither learns anything by it."""

import asyncio
import uuid
from collections.abc import Awaitable

import asyncpg
import grpc

from fakes.eventually import eventually
from integration.identity.test_refresh_locks import waits
from integration.identity.world import (
    PASSWORD,
    TIMEOUT_S,
    Identity,
    bearer,
    describe,
    from_address,
    refusal,
)
from published_events import published_events
from tieline.api.common.v1 import audit_pb2
from tieline.api.identity.v1 import (
    identity_pb2,
    identity_service_pb2,
    member_sign_in_service_pb2,
)
from tieline.chassis.streams import TOKENS_REVOKED
from tieline.identity.keyring import build_keyring
from tieline.identity.passwords.hashing import PasswordHasher

FREE = 5


def new_address() -> str:
    return f"198.51.{uuid.uuid4().int % 256}.{uuid.uuid4().int % 256}"


def sign_in(
    identity: Identity, corp_id: str, address: str, password: str, user_id: str = "boss"
) -> Awaitable[identity_service_pb2.SignInMemberResponse]:
    return identity.stub.SignInMember(
        identity_service_pb2.SignInMemberRequest(
            corp_id=corp_id, user_id=user_id, password=password
        ),
        metadata=from_address(address),
        timeout=TIMEOUT_S,
    )


async def test_the_sixth_attempt_must_wait_whether_it_is_right_or_the_account_exists(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    address = new_address()
    for user_id in ("boss", "nobody"):
        for _ in range(FREE):
            error = await refusal(sign_in(identity, corp.corp_id, address, "wrong pass", user_id))
            assert error.reason == "CREDENTIALS_REJECTED"

    errors = [
        await refusal(sign_in(identity, corp.corp_id, address, PASSWORD)),
        await refusal(sign_in(identity, corp.corp_id, address, "wrong pass")),
        await refusal(sign_in(identity, corp.corp_id, address, PASSWORD, "nobody")),
    ]

    assert {(error.code, error.reason) for error in errors} == {
        ("RESOURCE_EXHAUSTED", "SIGN_IN_LOCKED")
    }
    assert len({str(describe(error)) for error in errors}) == 1
    assert all(0 < (error.retry_after_s or 0) <= 1 for error in errors)


async def test_the_wait_ends_and_a_right_password_clears_the_count(identity: Identity) -> None:
    corp = await identity.new_corp()
    address = new_address()
    for _ in range(FREE):
        await refusal(sign_in(identity, corp.corp_id, address, "wrong pass"))

    async def it_may_go_on() -> bool:
        try:
            await sign_in(identity, corp.corp_id, address, PASSWORD)
        except Exception:
            return False
        return True

    await eventually(it_may_go_on)

    error = await refusal(sign_in(identity, corp.corp_id, address, "wrong pass"))
    assert error.reason == "CREDENTIALS_REJECTED"
    await sign_in(identity, corp.corp_id, address, PASSWORD)


async def test_strangers_do_not_lock_the_owner_out_at_a_known_address(identity: Identity) -> None:
    corp = await identity.new_corp()
    home, elsewhere = new_address(), new_address()
    await sign_in(identity, corp.corp_id, home, PASSWORD)
    # As many strangers as the account bears from unknown addresses.
    for _ in range(50):
        await refusal(sign_in(identity, corp.corp_id, new_address(), "wrong pass"))

    error = await refusal(sign_in(identity, corp.corp_id, elsewhere, PASSWORD))

    assert error.reason == "SIGN_IN_LOCKED"
    await sign_in(identity, corp.corp_id, home, PASSWORD)


async def test_of_guesses_at_the_same_time_those_that_are_held_back_are_told_nothing(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    address = new_address()

    errors = await asyncio.gather(
        *(refusal(sign_in(identity, corp.corp_id, address, "wrong pass")) for _ in range(20))
    )

    reasons = [error.reason for error in errors]
    assert reasons.count("CREDENTIALS_REJECTED") == FREE
    assert reasons.count("SIGN_IN_LOCKED") == 20 - FREE


async def test_an_address_is_taken_from_a_trusted_proxy_only_at_its_end(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    address = new_address()
    for _ in range(FREE):
        await refusal(sign_in(identity, corp.corp_id, f"{new_address()}, {address}", "wrong pass"))

    error = await refusal(sign_in(identity, corp.corp_id, address, PASSWORD))

    assert error.reason == "SIGN_IN_LOCKED"


async def test_a_platform_administrators_guesser_is_held_back(identity: Identity) -> None:
    address = new_address()

    errors = [
        await refusal(
            identity.stub.SignInPlatformAdministrator(
                identity_service_pb2.SignInPlatformAdministratorRequest(
                    name="platform", password="wrong pass"
                ),
                metadata=from_address(address),
            )
        )
        for _ in range(FREE + 1)
    ]

    assert errors[-1].reason == "SIGN_IN_LOCKED"
    await identity.sign_in_platform()


async def test_sign_ins_and_refusals_stand_in_the_audit_log(identity: Identity) -> None:
    corp = await identity.new_corp()
    guesser, owner = new_address(), new_address()
    await refusal(sign_in(identity, corp.corp_id, guesser, "wrong pass"))
    await refusal(sign_in(identity, corp.corp_id, guesser, "wrong pass", "nobody"))
    await sign_in(identity, corp.corp_id, owner, PASSWORD)

    events = await published_events(identity.nats, "IDENTITY", f"audit/{corp.corp_id}", 4)
    found = [audit_pb2.AuditEntry.FromString(payload) for _, payload in events]
    refused = [entry for entry in found if entry.action == "identity.member.sign_in_refused"]
    assert [(entry.resource, entry.details["method"]) for entry in refused] == [
        ("members/boss", "password")
    ]
    assert refused[0].address == guesser
    signed_in = [entry for entry in found if entry.action == "identity.member.sign_in"]
    assert [entry.details["method"] for entry in signed_in] == [
        "invitation",
        "password",
    ]
    # The proxy's word counts here as it does for the limits.
    assert [entry.address for entry in signed_in] == ["127.0.0.1", owner]


async def change_password(
    identity: Identity, metadata: tuple[tuple[str, str], ...], old: str, new: str
) -> None:
    await identity.sign_ins.ChangePassword(
        member_sign_in_service_pb2.ChangePasswordRequest(old_password=old, new_password=new),
        metadata=metadata,
        timeout=TIMEOUT_S,
    )


async def test_a_changed_password_ends_the_other_sessions_and_keeps_this_one(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    other = await identity.sign_in(corp.corp_id)

    await change_password(identity, corp.owner, PASSWORD, "another password")

    assert (await refusal(identity.refresh(other.refresh_token))).reason == "SESSION_ENDED"
    await identity.refresh(corp.owner_session.refresh_token)
    assert (await refusal(identity.sign_in(corp.corp_id))).reason == "CREDENTIALS_REJECTED"
    await identity.sign_in(corp.corp_id, "boss", "another password")


async def test_a_changed_password_voids_the_access_tokens_of_before(identity: Identity) -> None:
    corp = await identity.new_corp()
    other = await identity.sign_in(corp.corp_id)

    await change_password(identity, corp.owner, PASSWORD, "another password")

    async def is_refused() -> bool:
        try:
            await identity.get_corp(bearer(other))
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    await eventually(is_refused, timeout_s=2)
    kept = await identity.refresh(corp.owner_session.refresh_token)
    assert (await identity.get_corp(bearer(kept))).corp.corp_id == corp.corp_id
    key = f"tokens/{corp.corp_id}/member/boss"
    published = await published_events(identity.nats, "IDENTITY", key, 2)
    events = [
        identity_pb2.TokensRevoked.FromString(payload)
        for subject, payload in published
        if subject == TOKENS_REVOKED
    ]
    # The first one is the accepted invitation's.
    assert [(event.ends_sessions, event.kept_session_id) for event in events] == [
        (True, ""),
        (True, corp.owner_session.session_id),
    ]


async def test_a_password_is_changed_without_the_old_one_only_in_a_fresh_session(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    await change_password(identity, corp.owner, "", "second password")
    kept = bearer(await identity.refresh(corp.owner_session.refresh_token))
    await identity.execute(
        "UPDATE identity.sessions SET create_time = now() - interval '11 minutes'"
        " WHERE corp_id = $1",
        corp.corp_id,
    )

    stale = await refusal(change_password(identity, kept, "", "third password"))
    wrong = await refusal(change_password(identity, kept, PASSWORD, "third password"))
    weak = await refusal(change_password(identity, kept, "second password", "short"))

    assert (stale.code, stale.reason) == ("UNAUTHENTICATED", "SESSION_NOT_FRESH")
    assert wrong.reason == "CREDENTIALS_REJECTED"
    assert list(weak.violations) == ["new_password"]
    await identity.sign_in(corp.corp_id, "boss", "second password")


async def test_a_password_is_not_changed_any_more_once_the_session_has_ended(
    identity: Identity,
) -> None:
    """Also where it ends after the old password was found right: a reset is not overwritten."""
    corp = await identity.new_corp()
    connection = await asyncpg.connect(identity.database.admin_dsn)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT FROM identity.accounts WHERE corp_id = $1 FOR NO KEY UPDATE",
                corp.corp_id,
            )
            changing = asyncio.create_task(
                change_password(identity, corp.owner, PASSWORD, "another password")
            )
            await eventually(lambda: waits(identity))
            await connection.execute(
                "UPDATE identity.sessions SET end_time = now() WHERE corp_id = $1", corp.corp_id
            )
    finally:
        await connection.close()

    assert (await refusal(changing)).reason == "CREDENTIALS_REJECTED"
    await identity.sign_in(corp.corp_id)


async def test_a_hash_with_other_parameters_is_replaced_at_sign_in(identity: Identity) -> None:
    corp = await identity.new_corp()
    query = "SELECT password_hash FROM identity.accounts WHERE corp_id = $1"
    keyring = build_keyring(identity.settings.secret_key.get_secret_value())
    older = PasswordHasher(keyring.password_pepper, time_cost=2, memory_kib=64, parallelism=1)
    await identity.execute(
        "UPDATE identity.accounts SET password_hash = $2 WHERE corp_id = $1",
        corp.corp_id,
        older.hash(PASSWORD),
    )

    sessions = await asyncio.gather(*(identity.sign_in(corp.corp_id) for _ in range(8)))

    assert len({session.session_id for session in sessions}) == 8
    [row] = await identity.execute(query, corp.corp_id)
    assert row["password_hash"].startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert bearer(await identity.sign_in(corp.corp_id))
