"""Trusted channels: listed, given other keys, disabled and deleted."""

import asyncio
import uuid
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from joserfc.jwk import OKPKey

from fakes.eventually import eventually
from integration.identity.world import (
    TIMEOUT_S,
    Channel,
    Identity,
    Metadata,
    bearer,
    refusal,
)
from published_events import published_events
from tieline.api.identity.v1 import identity_pb2, session_service_pb2
from tieline.api.identity.v1 import identity_service_pb2 as pb


async def update(
    identity: Identity,
    channel_id: str,
    *paths: str,
    overlap_s: int | None = None,
    request_id: str = "",
    metadata: Metadata | None = None,
    **fields: Any,
) -> identity_pb2.Channel:
    request = pb.UpdateChannelRequest(
        request_id=request_id or str(uuid.uuid4()),
        channel=identity_pb2.Channel(channel_id=channel_id, **fields),
        update_mask=FieldMask(paths=paths),
    )
    if overlap_s is not None:
        request.overlap.CopyFrom(Duration(seconds=overlap_s))
    response = await identity.stub.UpdateChannel(
        request, metadata=metadata or identity.platform, timeout=TIMEOUT_S
    )
    return response.channel


async def delete(
    identity: Identity,
    channel_id: str,
    etag: str = "",
    request_id: str = "",
    metadata: Metadata | None = None,
) -> None:
    await identity.stub.DeleteChannel(
        pb.DeleteChannelRequest(
            request_id=request_id or str(uuid.uuid4()), channel_id=channel_id, etag=etag
        ),
        metadata=metadata or identity.platform,
        timeout=TIMEOUT_S,
    )


async def list_channels(identity: Identity) -> dict[str, identity_pb2.Channel]:
    found: dict[str, identity_pb2.Channel] = {}
    token = ""
    while True:
        response = await identity.stub.ListChannels(
            pb.ListChannelsRequest(page_size=2, page_token=token), metadata=identity.platform
        )
        found |= {channel.channel_id: channel for channel in response.channels}
        token = response.next_page_token
        if not token:
            return found


async def is_refused(identity: Identity, session: identity_pb2.Session) -> bool:
    try:
        await identity.sessions.ListSessions(
            session_service_pb2.ListSessionsRequest(), metadata=bearer(session)
        )
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False


def rekeyed(channel: Channel) -> Channel:
    return Channel(channel.channel_id, OKPKey.generate_key("Ed25519"))


def public(channel: Channel) -> bytes:
    return channel.key.public_key.public_bytes_raw()


async def test_both_keys_are_good_while_they_change_and_then_the_new_one_alone(
    identity: Identity,
) -> None:
    old = await identity.new_channel()
    new = rekeyed(old)

    changed = await update(identity, old.channel_id, "public_key", public_key=public(new))
    await identity.sign_in_customer(old.assertion())
    await identity.sign_in_customer(new.assertion())
    await identity.execute(
        "UPDATE identity.channels SET previous_key_expire_time = now() WHERE channel_id = $1",
        old.channel_id,
    )
    over = await refusal(identity.sign_in_customer(old.assertion()))
    newest = rekeyed(old)
    await update(identity, old.channel_id, "public_key", public_key=public(newest), overlap_s=0)
    replaced = await refusal(identity.sign_in_customer(new.assertion()))

    assert changed.public_key == public(new)
    left_s = changed.previous_key_expire_time.seconds - changed.create_time.seconds
    assert 86_000 < left_s < 87_000
    assert over.reason == replaced.reason == "CREDENTIALS_REJECTED"
    await identity.sign_in_customer(newest.assertion())


async def test_a_disabled_channel_ends_its_sessions_and_those_of_no_other(
    identity: Identity,
) -> None:
    channel, other = await identity.new_channel(), await identity.new_channel()
    signed_in = await identity.sign_in_customer(channel.assertion())
    elsewhere = await identity.sign_in_customer(other.assertion())

    off = await update(identity, channel.channel_id, "disabled", disabled=True)

    assert off.disabled
    assert (await refusal(identity.sign_in_customer(channel.assertion()))).reason == (
        "CREDENTIALS_REJECTED"
    )
    ended = await refusal(identity.refresh(signed_in.session.refresh_token))
    assert ended.reason == "SESSION_ENDED"
    await eventually(lambda: is_refused(identity, signed_in.session), timeout_s=2)
    [event] = [
        identity_pb2.TokensRevoked.FromString(payload)
        for _, payload in await published_events(
            identity.nats, "IDENTITY", f"tokens//customer/{signed_in.customer_id}", 1
        )
    ]
    assert event.ends_sessions
    # Enabled, the channel lets people in again, and nobody back in by a session of before.
    await update(identity, channel.channel_id, "disabled", disabled=False)
    again = await identity.sign_in_customer(channel.assertion())
    assert again.customer_id == signed_in.customer_id
    await identity.refresh(again.session.refresh_token)
    ended = await refusal(identity.refresh(signed_in.session.refresh_token))
    assert ended.reason == "SESSION_ENDED"
    assert not await is_refused(identity, elsewhere.session)
    await identity.refresh(elsewhere.session.refresh_token)


async def test_a_deleted_channel_is_gone_with_its_sessions(identity: Identity) -> None:
    kept, channel = await identity.new_channel(), await identity.new_channel()
    signed_in = await identity.sign_in_customer(channel.assertion())
    request_id = str(uuid.uuid4())

    stale = await refusal(delete(identity, channel.channel_id, etag="99"))
    await asyncio.gather(
        *(delete(identity, channel.channel_id, request_id=request_id) for _ in range(2))
    )
    gone = [
        await refusal(delete(identity, channel.channel_id)),
        await refusal(update(identity, channel.channel_id, "disabled", disabled=False)),
        await refusal(update(identity, "\0", "disabled", disabled=True)),
    ]

    assert (stale.code, stale.reason) == ("ABORTED", "ETAG_MISMATCH")
    assert {error.reason for error in gone} == {"CHANNEL_NOT_FOUND"}
    listed = await list_channels(identity)
    assert kept.channel_id in listed
    assert channel.channel_id not in listed
    assert (await refusal(identity.sign_in_customer(channel.assertion()))).reason == (
        "CREDENTIALS_REJECTED"
    )
    ended = await refusal(identity.refresh(signed_in.session.refresh_token))
    assert ended.reason == "SESSION_ENDED"
    await eventually(lambda: is_refused(identity, signed_in.session), timeout_s=2)


async def test_a_channel_is_changed_once_as_it_was_read_and_the_log_says_so(
    identity: Identity,
) -> None:
    channel = await identity.new_channel()
    request_id = str(uuid.uuid4())

    first, repeat = await asyncio.gather(
        *(
            update(
                identity,
                channel.channel_id,
                "display_name",
                display_name="Shop",
                request_id=request_id,
            )
            for _ in range(2)
        )
    )
    stale = await refusal(
        update(identity, channel.channel_id, "display_name", display_name="Till", etag="1")
    )
    wrong = await refusal(
        update(
            identity,
            channel.channel_id,
            "display_name",
            "public_key",
            "create_time",
            public_key=b"short",
            overlap_s=31 * 86400,
        )
    )

    assert first == repeat == (await list_channels(identity))[channel.channel_id]
    assert first.display_name == "Shop"
    assert stale.reason == "ETAG_MISMATCH"
    assert set(wrong.violations) == {
        "channel.display_name",
        "channel.public_key",
        "update_mask",
        "overlap",
    }

    async def log_tells_it() -> bool:
        rows = await identity.execute(
            "SELECT action, details::text FROM identity.audit_entries"
            " WHERE corp_id = '' AND resource = $1 ORDER BY act_time",
            f"channels/{channel.channel_id}",
        )
        return [row["action"] for row in rows] == [
            "identity.channel.create",
            "identity.channel.update",
        ] and "display_name" in rows[1]["details"]

    await eventually(log_tells_it)


async def test_nobody_but_the_platform_sees_or_changes_channels(identity: Identity) -> None:
    channel = await identity.new_channel()
    corp = await identity.new_corp()

    errors = [
        await refusal(update(identity, channel.channel_id, metadata=corp.owner)),
        await refusal(delete(identity, channel.channel_id, metadata=corp.owner)),
        await refusal(identity.stub.ListChannels(pb.ListChannelsRequest(), metadata=corp.owner)),
    ]

    assert {error.reason for error in errors} == {"CALLER_NOT_ALLOWED"}
