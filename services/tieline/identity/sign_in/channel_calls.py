"""Makes trusted channels, changes their keys, disables and deletes them."""

import datetime as dt

from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.chassis.idempotency import answered_once
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import Event
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.identity.acts import record_act
from tieline.identity.corps.corp_calls import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from tieline.identity.corps.messages import optional_timestamp
from tieline.identity.repositories import SCHEMA, channels, revocations
from tieline.identity.sessions.revocations import revoke_customers_tokens
from tieline.identity.sign_in.channels import (
    DEFAULT_OVERLAP,
    MAX_OVERLAP,
    Channel,
    ChannelChange,
    channel_not_found_error,
    check_channel,
    check_new_channel,
    describe_change,
    is_overlap,
)

_FIELDS = ("display_name", "public_key", "disabled")

# A tenth of what every replica remembers. The access tokens of more customers than this end by
# themselves, minutes later: none of them is refreshed.
_MAX_NAMED_CUSTOMERS = 10_000


class ChannelCalls:
    """The calls about trusted channels."""

    def __init__(self, pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._page_tokens = page_tokens

    async def create(
        self, request: identity_service_pb2.CreateChannelRequest
    ) -> identity_service_pb2.CreateChannelResponse:
        """Make a channel, at most once per request id."""
        check_new_channel(request.display_name, request.public_key)

        async def act(connection: Connection) -> identity_service_pb2.CreateChannelResponse:
            channel = await channels.insert_channel(
                connection, new_uuid7(), request.display_name, request.public_key
            )
            await _record(connection, channel, "create")
            return identity_service_pb2.CreateChannelResponse(channel=_to_proto(channel))

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.CreateChannelResponse,
            act,
            corp_id=PLATFORM_LOG,
        )

    async def list_channels(
        self, request: identity_service_pb2.ListChannelsRequest
    ) -> identity_service_pb2.ListChannelsResponse:
        """Return a page of channels."""
        size = page_size(request.page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        after = "" if position is None else str(position[0])
        async with self._pool.acquire() as connection:
            found = await channels.list_channels(connection, after, size + 1)
        page, next_page_token = self._page_tokens.cut(
            found, size, request, lambda channel: [channel.channel_id]
        )
        return identity_service_pb2.ListChannelsResponse(
            channels=map(_to_proto, page), next_page_token=next_page_token
        )

    async def update(
        self, request: identity_service_pb2.UpdateChannelRequest
    ) -> identity_service_pb2.UpdateChannelResponse:
        """Change a channel, at most once per request id."""
        change = _read_change(request)

        async def act(connection: Connection) -> identity_service_pb2.UpdateChannelResponse:
            channel = await _lock(connection, request.channel.channel_id, request.channel.etag)
            now = await revocations.read_time(connection)
            changed = change.apply(channel, now)
            if changed is channel:
                return identity_service_pb2.UpdateChannelResponse(channel=_to_proto(channel))
            events: list[Event] = []
            if changed.session_floor_time != channel.session_floor_time:
                events = await _end_sessions(connection, channel)
            changed = await channels.update_channel(connection, changed)
            fields = ",".join(describe_change(channel, changed))
            await _record(connection, changed, "update", {"fields": fields}, events)
            return identity_service_pb2.UpdateChannelResponse(channel=_to_proto(changed))

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.UpdateChannelResponse,
            act,
            corp_id=PLATFORM_LOG,
        )

    async def delete(
        self, request: identity_service_pb2.DeleteChannelRequest
    ) -> identity_service_pb2.DeleteChannelResponse:
        """Delete a channel, at most once per request id."""

        async def act(connection: Connection) -> identity_service_pb2.DeleteChannelResponse:
            channel = await _lock(connection, request.channel_id, request.etag)
            events = await _end_sessions(connection, channel)
            await channels.delete_channel(connection, channel.channel_id)
            await _record(connection, channel, "delete", events=events)
            return identity_service_pb2.DeleteChannelResponse()

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.DeleteChannelResponse,
            act,
            corp_id=PLATFORM_LOG,
        )


async def _lock(connection: Connection, channel_id: str, etag: str) -> Channel:
    # A text with NUL, which the database does not take, is no channel's id either.
    channel = None
    if channel_id.isprintable():
        channel = await channels.lock_channel(connection, channel_id)
    if channel is None:
        raise channel_not_found_error(channel_id)
    check_etag(etag, channel.change_number)
    return channel


async def _end_sessions(connection: Connection, channel: Channel) -> list[Event]:
    """Void the access tokens of the channel's customers, whose sessions the floor ends."""
    found = await channels.list_signed_in(connection, channel.channel_id, _MAX_NAMED_CUSTOMERS)
    return await revoke_customers_tokens(connection, found)


async def _record(
    connection: Connection,
    channel: Channel,
    verb: str,
    details: dict[str, str] | None = None,
    events: list[Event] | None = None,
) -> None:
    await record_act(
        connection,
        corp_id=PLATFORM_LOG,
        action=f"channel.{verb}",
        resource=f"channels/{channel.channel_id}",
        details=details,
        events=events or (),
    )


def _read_change(request: identity_service_pb2.UpdateChannelRequest) -> ChannelChange:
    paths = set(request.update_mask.paths)
    channel = request.channel
    display_name = channel.display_name if "display_name" in paths else None
    public_key = channel.public_key if "public_key" in paths else None
    violations = check_channel(display_name, public_key, "channel.")
    if not paths or paths - set(_FIELDS):
        violations["update_mask"] = f"must name some of {', '.join(_FIELDS)}"
    overlap = DEFAULT_OVERLAP
    if request.HasField("overlap"):
        seconds = request.overlap.seconds + request.overlap.nanos / 1e9
        if is_overlap(seconds):
            overlap = dt.timedelta(seconds=seconds)
        else:
            violations["overlap"] = f"must be 0 to {MAX_OVERLAP.days} days"
    raise_violations(violations)
    return ChannelChange(
        display_name=display_name,
        public_key=public_key,
        overlap=overlap,
        is_disabled=channel.disabled if "disabled" in paths else None,
    )


def _to_proto(channel: Channel) -> identity_pb2.Channel:
    return identity_pb2.Channel(
        channel_id=channel.channel_id,
        display_name=channel.display_name,
        public_key=channel.public_key,
        create_time=to_timestamp(channel.create_time),
        disabled=channel.is_disabled,
        previous_key_expire_time=optional_timestamp(channel.previous_key_expire_time),
        etag=str(channel.change_number),
    )
