"""A device is let in by a member who scans its code."""

import asyncio
import uuid
from collections.abc import AsyncIterable, Awaitable, Callable

import pytest

from integration.identity.world import (
    PASSWORD,
    TIMEOUT_S,
    FakeDirectory,
    Identity,
    Metadata,
    NewCorp,
    bearer,
    describe,
    fast_settings,
    from_address,
    refusal,
    running_identity,
)
from tieline.api.identity.v1 import member_sign_in_service_pb2 as pb
from tieline.api.identity.v1 import session_service_pb2, sign_in_pb2

WAITING = sign_in_pb2.QR_SIGN_IN_STATE_WAITING
SCANNED = sign_in_pb2.QR_SIGN_IN_STATE_SCANNED
APPROVED = sign_in_pb2.QR_SIGN_IN_STATE_APPROVED
REJECTED = sign_in_pb2.QR_SIGN_IN_STATE_REJECTED
EXPIRED = sign_in_pb2.QR_SIGN_IN_STATE_EXPIRED


async def begin(identity: Identity) -> pb.BeginQrSignInResponse:
    return await identity.sign_ins.BeginQrSignIn(
        pb.BeginQrSignInRequest(device_name="Chrome on Windows"),
        metadata=from_address("198.51.100.7"),
        timeout=TIMEOUT_S,
    )


async def watch(
    identity: Identity, begun: pb.BeginQrSignInResponse, secret: str | None = None
) -> list[pb.WatchQrSignInResponse]:
    """Return everything that a watcher is told until the stream ends."""
    request = pb.WatchQrSignInRequest(
        qr_id=begun.qr_id, poll_secret=begun.poll_secret if secret is None else secret
    )
    stream = identity.sign_ins.WatchQrSignIn(request, timeout=TIMEOUT_S)
    return [response async for response in stream]


async def scan(identity: Identity, metadata: Metadata, qr_id: str) -> pb.ScanQrSignInResponse:
    return await identity.sign_ins.ScanQrSignIn(
        pb.ScanQrSignInRequest(qr_id=qr_id), metadata=metadata, timeout=TIMEOUT_S
    )


async def decide(identity: Identity, metadata: Metadata, qr_id: str, *, approved: bool) -> None:
    await identity.sign_ins.DecideQrSignIn(
        pb.DecideQrSignInRequest(qr_id=qr_id, approved=approved),
        metadata=metadata,
        timeout=TIMEOUT_S,
    )


async def test_a_scanned_and_approved_device_gets_a_session_of_the_member(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    begun = await begin(identity)
    watching = asyncio.ensure_future(watch(identity, begun))

    seen = await scan(identity, corp.owner, begun.qr_text.removeprefix("tieline:qr:"))
    await decide(identity, corp.owner, begun.qr_id, approved=True)
    told = await watching

    assert (seen.device_name, seen.address) == ("Chrome on Windows", "198.51.100.7")
    assert told[0].state == WAITING
    assert (told[-1].state, told[-1].corp_id, told[-1].user_id) == (APPROVED, corp.corp_id, "boss")
    assert (await identity.get_corp(bearer(told[-1].session))).corp.corp_id == corp.corp_id
    # Given once; a repeat of the decision changes nothing.
    assert (await refusal(watch(identity, begun))).reason == "CREDENTIALS_REJECTED"
    await decide(identity, corp.owner, begun.qr_id, approved=True)


async def test_of_two_watchers_one_gets_the_session(identity: Identity) -> None:
    corp = await identity.new_corp()
    begun = await begin(identity)
    request = pb.WatchQrSignInRequest(qr_id=begun.qr_id, poll_secret=begun.poll_secret)
    streams = [identity.sign_ins.WatchQrSignIn(request, timeout=TIMEOUT_S) for _ in range(2)]
    for stream in streams:
        async for response in stream:
            assert response.state == WAITING
            break
    await scan(identity, corp.owner, begun.qr_id)
    await decide(identity, corp.owner, begun.qr_id, approved=True)

    async def read_on(stream: AsyncIterable[pb.WatchQrSignInResponse]) -> bool:
        return any([response.HasField("session") async for response in stream])

    outcomes = await asyncio.gather(
        *(read_on(stream) for stream in streams), return_exceptions=True
    )

    assert outcomes.count(True) == 1
    assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == 1


async def test_a_refused_device_gets_no_session(identity: Identity) -> None:
    corp = await identity.new_corp()
    begun = await begin(identity)
    await scan(identity, corp.owner, begun.qr_id)
    await decide(identity, corp.owner, begun.qr_id, approved=False)

    told = await watch(identity, begun)
    otherwise = await refusal(decide(identity, corp.owner, begun.qr_id, approved=True))

    assert told[-1].state == REJECTED
    assert not told[-1].HasField("session")
    assert otherwise.reason == "QR_NOT_FOUND"


async def sign_out(identity: Identity, corp: NewCorp) -> None:
    await identity.sessions.SignOut(
        session_service_pb2.SignOutRequest(refresh_token=corp.owner_session.refresh_token)
    )


async def sign_out_everywhere(identity: Identity, corp: NewCorp) -> None:
    await identity.sessions.RevokeAllSessions(
        session_service_pb2.RevokeAllSessionsRequest(), metadata=corp.owner
    )


async def reset_by_invitation(identity: Identity, corp: NewCorp) -> None:
    """Set another password, which ends the sessions."""
    [invitation] = await identity.invite(corp, "boss")
    await identity.accept(corp.corp_id, "boss", invitation.code, "another password")


async def change_password_elsewhere(identity: Identity, corp: NewCorp) -> None:
    other = await identity.sign_in(corp.corp_id)
    await identity.sign_ins.ChangePassword(
        pb.ChangePasswordRequest(old_password=PASSWORD, new_password="another password"),
        metadata=bearer(other),
    )


@pytest.mark.parametrize(
    "end", [sign_out, sign_out_everywhere, reset_by_invitation, change_password_elsewhere]
)
async def test_an_approval_ends_with_the_session_that_gave_it(
    identity: Identity, end: Callable[[Identity, NewCorp], Awaitable[None]]
) -> None:
    """Otherwise whoever is signed out everywhere could come back by a code approved before."""
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "boss"))
    begun = await begin(identity)
    await scan(identity, corp.owner, begun.qr_id)
    await decide(identity, corp.owner, begun.qr_id, approved=True)

    await end(identity, corp)
    error = await refusal(watch(identity, begun))

    assert error.reason == "CREDENTIALS_REJECTED"


async def test_an_approval_outlives_the_members_other_sessions(identity: Identity) -> None:
    corp = await identity.new_corp()
    kept = bearer(await identity.sign_in(corp.corp_id))
    begun = await begin(identity)
    await scan(identity, kept, begun.qr_id)
    await decide(identity, kept, begun.qr_id, approved=True)

    await sign_out(identity, corp)

    assert (await watch(identity, begun))[-1].state == APPROVED


async def test_only_whoever_scanned_the_code_decides(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    begun = await begin(identity)
    unscanned = await refusal(decide(identity, corp.owner, begun.qr_id, approved=True))
    await scan(identity, corp.owner, begun.qr_id)
    await scan(identity, corp.owner, begun.qr_id)

    errors = [
        unscanned,
        await refusal(scan(identity, other.owner, begun.qr_id)),
        await refusal(decide(identity, other.owner, begun.qr_id, approved=True)),
        await refusal(scan(identity, corp.owner, str(uuid.uuid4()))),
        await refusal(scan(identity, corp.owner, "\x00")),
    ]

    assert {(error.code, error.reason) for error in errors} == {("NOT_FOUND", "QR_NOT_FOUND")}
    assert len({str(describe(error)) for error in errors}) == 1


async def test_the_picture_of_a_code_does_not_let_anybody_watch_it(identity: Identity) -> None:
    begun = await begin(identity)

    errors = [
        await refusal(watch(identity, begun, secret)) for secret in ("", "x", begun.qr_id)
    ] + [await refusal(watch(identity, pb.BeginQrSignInResponse(qr_id="\x00"), ""))]

    assert {error.reason for error in errors} == {"CREDENTIALS_REJECTED"}
    rows = await identity.execute("SELECT q::text AS text FROM identity.qr_sign_ins AS q")
    assert not [row for row in rows if begun.poll_secret in row["text"]]


async def test_a_code_that_is_over_can_neither_be_watched_nor_scanned(identity: Identity) -> None:
    corp = await identity.new_corp()
    begun = await begin(identity)
    request = pb.WatchQrSignInRequest(qr_id=begun.qr_id, poll_secret=begun.poll_secret)
    told = aiter(identity.sign_ins.WatchQrSignIn(request, timeout=TIMEOUT_S))
    assert (await anext(told)).state == WAITING
    await identity.execute(
        "UPDATE identity.qr_sign_ins SET expire_time = now() WHERE qr_id = $1",
        uuid.UUID(begun.qr_id),
    )

    states = [response.state async for response in told]

    assert states == [EXPIRED]
    assert (await refusal(scan(identity, corp.owner, begun.qr_id))).reason == "QR_NOT_FOUND"
    assert (await refusal(watch(identity, begun))).reason == "CREDENTIALS_REJECTED"


async def test_the_device_and_the_member_may_be_at_two_replicas(identity: Identity) -> None:
    corp = await identity.new_corp()
    settings = fast_settings(identity.database, identity.nats)
    async with running_identity(
        settings, identity.database, identity.nats, FakeDirectory()
    ) as other:
        begun = await begin(identity)
        watching = asyncio.ensure_future(watch(other, begun))

        await scan(identity, corp.owner, begun.qr_id)
        await decide(other, corp.owner, begun.qr_id, approved=True)

        assert (await watching)[-1].state == APPROVED


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
async def test_a_device_has_a_name_of_one_line(identity: Identity, name: str) -> None:
    error = await refusal(
        identity.sign_ins.BeginQrSignIn(
            pb.BeginQrSignInRequest(device_name=name), metadata=from_address("198.51.100.8")
        )
    )

    assert list(error.violations) == ["device_name"]
