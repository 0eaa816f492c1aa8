"""Offline push by two replicas that post to a real HTTP server."""

import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from engines import Database, build_settings, connected
from fakes.eventually import eventually
from fakes.tokens import TestTokens
from fakes.webhook_inbox import SECRET, WebhookInbox
from integration.messaging.chat import TIMEOUT_S, Corp, Person, new_id, publish, text
from tieline.api.common.v1 import principal_pb2
from tieline.api.identity.v1 import identity_pb2
from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
    push_service_pb2_grpc,
    reading_service_pb2_grpc,
)
from tieline.api.messaging.v1 import push_service_pb2 as push
from tieline.api.messaging.v1 import reading_service_pb2 as reading
from tieline.chassis.postgres import Pool, transaction
from tieline.embedded.nats import EmbeddedNats
from tieline.messaging.app import role
from tieline.messaging.conversations.rules import member
from tieline.messaging.push import rules as push_rules
from tieline.messaging.push.rules import Claim, PushKey
from tieline.messaging.push.targets import MAX_TARGETS, NewTarget
from tieline.messaging.repositories.push_targets import PushTargetRepository
from tieline.messaging.repositories.pushes import PushRepository, Settlement
from tieline.messaging.settings import MessagingSettings

# Longer than any test takes: each says when its pushes are due.
COLLAPSE_S = 60.0


@pytest.fixture(scope="module")
async def inbox() -> AsyncIterator[WebhookInbox]:
    inbox = WebhookInbox("token")
    async with inbox.serving():
        yield inbox


@pytest.fixture(scope="module")
async def channels(
    messaging_database: Database,
    messaging_nats: EmbeddedNats,
    replica_channels: list[grpc.aio.Channel],
    inbox: WebhookInbox,
) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Two replicas that push, beside those that do not."""
    async with AsyncExitStack() as stack:
        channels = []
        for _ in range(2):
            settings = build_settings("messaging", messaging_database, messaging_nats)
            assert isinstance(settings, MessagingSettings)
            settings = settings.model_copy(
                update={
                    "push_webhook_url": f"http://127.0.0.1:{inbox.port}/pushes",
                    "push_webhook_secret": SecretStr(SECRET),
                    "push_collapse_s": COLLAPSE_S,
                }
            )
            await stack.enter_async_context(role(settings))
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}")
            channels.append(await stack.enter_async_context(channel))
        yield channels


class Device:
    """A signed-in device: calls as its person, under a session of its own."""

    def __init__(self, channel: grpc.aio.Channel, tokens: TestTokens, corp: Corp, claims: Any):
        self.session_id = new_id()
        self.token = f"token-{new_id()}"
        token = tokens.sign({"sid": self.session_id, **claims})
        self.metadata = (("authorization", f"Bearer {token}"),)
        self.stub = push_service_pb2_grpc.PushServiceStub(channel)
        self.reading = reading_service_pb2_grpc.ReadingServiceStub(channel)
        self.person = Person(
            messaging_service_pb2_grpc.MessagingServiceStub(channel),
            corp.corp_id,
            principal_pb2.PRINCIPAL_KIND_MEMBER,
            claims["sub"],
            self.metadata,
        )
        self.corp_id = corp.corp_id

    async def register(self, *, token: str = "", locale: str = "en") -> push.PushTarget:
        request = push.RegisterPushTargetRequest(
            corp_id=self.corp_id,
            platform=push.PUSH_PLATFORM_OTHER,
            token=token or self.token,
            locale=locale,
        )
        response = await self.stub.RegisterPushTarget(request, **self._options)
        return response.target

    async def list(self) -> list[str]:
        response = await self.stub.ListPushTargets(
            push.ListPushTargetsRequest(corp_id=self.corp_id), **self._options
        )
        return [each.session_id for each in response.targets]

    async def unregister(self, session_id: str = "") -> None:
        await self.stub.UnregisterPushTarget(
            push.UnregisterPushTargetRequest(corp_id=self.corp_id, session_id=session_id),
            **self._options,
        )

    async def set_quiet_hours(self, hours: push.QuietHours | None) -> None:
        await self.stub.SetQuietHours(
            push.SetQuietHoursRequest(corp_id=self.corp_id, quiet_hours=hours), **self._options
        )

    async def mute(self, conversation_id: str, until: Timestamp | None = None) -> None:
        await self.reading.MuteConversation(
            reading.MuteConversationRequest(
                corp_id=self.corp_id,
                conversation_id=conversation_id,
                muted=True,
                mute_until_time=until,
            ),
            **self._options,
        )

    async def read(self, conversation_id: str, sequence: int) -> None:
        await self.reading.MarkRead(
            reading.MarkReadRequest(
                corp_id=self.corp_id, conversation_id=conversation_id, read_sequence=sequence
            ),
            **self._options,
        )

    @property
    def _options(self) -> dict[str, Any]:
        return {"metadata": self.metadata, "timeout": TIMEOUT_S}


NewDevice = Callable[..., Device]


@pytest.fixture
def device(channels: list[grpc.aio.Channel], tokens: TestTokens, corp: Corp) -> NewDevice:
    """Make a device of the test's corp, at one of the replicas that push."""

    def make(user_id: str, *, replica: int = 0, is_customer: bool = False, **claims: Any) -> Device:
        of = {"kind": "member", "corp": corp.corp_id}
        if is_customer:
            of = {"kind": "customer"}
        return Device(channels[replica], tokens, corp, {**of, "sub": user_id, **claims})

    return make


async def posted(inbox: WebhookInbox, device: Device, count: int = 1) -> Mapping[str, Any]:
    """Return the device's latest post once there are ``count``, and no more than that."""
    await eventually(lambda: len(inbox.posts_for(device.token)) >= count)
    posts = inbox.posts_for(device.token)
    assert len(posts) == count
    return posts[-1]


async def release(pool: Pool, conversation_id: str, *devices: Device) -> None:
    """Let what the devices are to be told of a conversation be due, once there is something."""
    for device in devices:

        async def is_released(device: Device = device) -> bool:
            async with pool.acquire() as connection:
                tag = await connection.execute(
                    """
                    UPDATE messaging.pushes SET due_time = now()
                     WHERE corp_id = $1 AND session_id = $2 AND conversation_id = $3
                       AND due_time IS NOT NULL
                    """,
                    device.corp_id,
                    device.session_id,
                    conversation_id,
                )
            return tag != "UPDATE 0"

        await eventually(is_released)


async def told(pool: Pool, device: Device, conversation_id: str) -> int:
    """Return up to where nothing is left to tell the device."""
    async with pool.acquire() as connection:
        number: int | None = await connection.fetchval(
            """
            SELECT pushed_sequence FROM messaging.pushes
             WHERE corp_id = $1 AND session_id = $2 AND conversation_id = $3
            """,
            device.corp_id,
            device.session_id,
            conversation_id,
        )
        return number or 0


async def settled(pool: Pool, device: Device, conversation_id: str, sequence: int) -> None:
    """Return once it is decided what the device is told of a message."""

    async def is_settled() -> bool:
        return await told(pool, device, conversation_id) >= sequence

    await eventually(is_settled)


def mentioning(person: Device) -> messaging_pb2.MessageContent:
    content = text("look here")
    content.mentions.participants.add(kind=principal_pb2.PRINCIPAL_KIND_MEMBER, id=person.person.id)
    return content


async def send(
    sender: Person, conversation_id: str, content: messaging_pb2.MessageContent
) -> messaging_pb2.Message:
    response = await sender.stub.SendMessage(
        messaging_service_pb2.SendMessageRequest(
            corp_id=sender.corp_id,
            conversation_id=conversation_id,
            client_message_id=new_id(),
            content=content,
        ),
        metadata=sender.metadata,
        timeout=TIMEOUT_S,
    )
    return response.message


async def test_messages_of_a_moment_are_one_push_with_count_and_badge(
    corp: Corp, device: NewDevice, inbox: WebhookInbox, pool: Pool
) -> None:
    li_wei, phone, sender_phone = corp.member("li.wei"), device("zhang.san"), device("li.wei")
    await phone.register(locale="zh-CN")
    await sender_phone.register()
    group = await li_wei.create_group("zhang.san", name="Sales")
    sent = [await li_wei.send(group, f"number {number}") for number in range(3)]

    await release(pool, group, phone)
    first = await posted(inbox, phone)
    await settled(pool, phone, group, sent[-1].sequence)
    other = await li_wei.create_direct("zhang.san")
    await li_wei.send(other, "elsewhere")
    await release(pool, other, phone)
    second = await posted(inbox, phone, 2)

    assert first["text"] == "number 2"
    assert first["conversation_name"] == "Sales"
    assert first["unread_count"] == first["badge"] == 3
    assert first["user_id"] == "zhang.san"
    assert first["locale"] == "zh-CN"
    assert second["collapse_key"] == other
    assert (second["unread_count"], second["badge"]) == (1, 4)
    # Nobody is told of their own.
    assert inbox.posts_for(sender_phone.token) == []


async def test_muted_conversation_is_silent_but_for_mentions_and_counts_in_no_badge(
    corp: Corp, device: NewDevice, inbox: WebhookInbox, pool: Pool
) -> None:
    li_wei, phone = corp.member("li.wei"), device("zhang.san")
    await phone.register()
    group = await li_wei.create_group("zhang.san")
    await phone.mute(group)
    await li_wei.send(group, "silent")
    mention = await send(li_wei, group, mentioning(phone))
    await li_wei.send(group, "behind the mention")

    await release(pool, group, phone)
    shown = await posted(inbox, phone)

    assert (shown["text"], shown["is_mention"]) == ("look here", True)
    assert shown["sequence"] == mention.sequence
    assert shown["badge"] == 0


async def test_what_was_read_on_another_device_is_not_pushed(
    corp: Corp, device: NewDevice, inbox: WebhookInbox, pool: Pool
) -> None:
    li_wei = corp.member("li.wei")
    phone, desktop = device("zhang.san"), device("zhang.san", replica=1)
    await phone.register()
    group = await li_wei.create_group("zhang.san")
    message = await li_wei.send(group)
    await desktop.read(group, message.sequence)
    # The event may be handled before or behind the reading.
    unread = await li_wei.create_group("zhang.san")
    await li_wei.send(unread, "not read")
    await release(pool, unread, phone)
    await posted(inbox, phone)
    assert inbox.posts_for(phone.token)[0]["conversation_id"] == unread
    await li_wei.send(group, "read by nobody")
    await release(pool, group, phone)
    assert (await posted(inbox, phone, 2))["unread_count"] == 1


async def test_subscribed_device_has_it_live_and_its_persons_others_are_pushed_to(
    corp: Corp,
    device: NewDevice,
    inbox: WebhookInbox,
    pool: Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here it proves at once that its client was there: nobody waits 100 s for that."""
    monkeypatch.setattr(push_rules, "PROVEN_AFTER", dt.timedelta())
    li_wei = corp.member("li.wei")
    phone, desktop = device("zhang.san"), device("zhang.san", replica=1)
    await phone.register()
    await desktop.register()
    group = await li_wei.create_group("zhang.san")

    async with desktop.person.subscribed() as live:
        message = await li_wei.send(group)
        # It is noted at once when another window of the device subscribes.
        async with desktop.person.subscribed():
            sent = message.create_time.ToDatetime(dt.UTC)
            await eventually(lambda: _was_seen_since(pool, desktop, sent))
            await release(pool, group, phone, desktop)
            await posted(inbox, phone)
            await settled(pool, desktop, group, message.sequence)
        await eventually(lambda: live.sequences(group) == [message.sequence])
        assert inbox.posts_for(desktop.token) == []

    await eventually(lambda: _is_gone(pool, desktop))
    await li_wei.send(group, "to both")
    await release(pool, group, phone, desktop)
    await posted(inbox, desktop)
    await posted(inbox, phone, 2)


async def test_newer_message_is_not_put_off_with_the_older_one(
    corp: Corp, device: NewDevice, inbox: WebhookInbox, pool: Pool
) -> None:
    """The older one waits until it shows whether the client took it; then the device goes away."""
    li_wei, desktop = corp.member("li.wei"), device("zhang.san")
    await desktop.register()
    group = await li_wei.create_group("zhang.san")

    async def is_put_off(least_s: float) -> bool:
        async with pool.acquire() as connection:
            found: bool | None = await connection.fetchval(
                """
                SELECT due_time > now() + make_interval(secs => $2) AND claimed_until < now()
                  FROM messaging.pushes WHERE session_id = $1
                """,
                desktop.session_id,
                least_s,
            )
        return bool(found)

    async with desktop.person.subscribed():
        message = await li_wei.send(group)
        async with desktop.person.subscribed():
            sent = message.create_time.ToDatetime(dt.UTC)
            await eventually(lambda: _was_seen_since(pool, desktop, sent))
            await release(pool, group, desktop)
            await eventually(lambda: is_put_off(COLLAPSE_S + 5))
    await eventually(lambda: _is_gone(pool, desktop))

    await li_wei.send(group, "newer")

    async def is_due_sooner() -> bool:
        return not await is_put_off(COLLAPSE_S + 5)

    await eventually(is_due_sooner)
    await release(pool, group, desktop)
    assert (await posted(inbox, desktop))["text"] == "newer"


async def test_what_comes_while_an_older_one_is_put_off_is_due_soon(
    corp: Corp, device: NewDevice, pool: Pool
) -> None:
    """What is decided of a claim knows nothing of a message that is stored at that moment."""
    li_wei, phone = corp.member("li.wei"), device("zhang.san")
    await phone.register()
    group = await li_wei.create_group("zhang.san")
    older = await li_wei.send(group)
    await eventually(lambda: _has_push(pool, phone, older.sequence))
    far = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    async with pool.acquire() as connection:
        await connection.execute(
            "UPDATE messaging.pushes SET claim_number = 7, claimed_until = $2, due_time = $2"
            " WHERE session_id = $1",
            phone.session_id,
            far,
        )
    newer = await li_wei.send(group)
    await eventually(lambda: _has_push(pool, phone, newer.sequence))

    claim = Claim(
        PushKey(corp.corp_id, phone.session_id, group), 7, older.sequence, 0, dt.timedelta(0)
    )
    async with transaction(pool) as connection:
        repository = PushRepository(connection)
        await repository.settle([Settlement(claim, None, far, 0)], dt.timedelta(minutes=1))
        due = await connection.fetchval(
            "SELECT due_time FROM messaging.pushes WHERE session_id = $1", phone.session_id
        )

    assert due < far - dt.timedelta(minutes=30)


async def _has_push(pool: Pool, device: Device, sequence: int) -> bool:
    """Tell whether the device is to be told of that message."""
    async with pool.acquire() as connection:
        wanted: int | None = await connection.fetchval(
            "SELECT wanted_sequence FROM messaging.pushes WHERE session_id = $1", device.session_id
        )
    return wanted is not None and wanted >= sequence


async def _was_seen_since(pool: Pool, device: Device, time: dt.datetime) -> bool:
    """Tell whether a subscription of the device was noted as open behind that time."""
    async with pool.acquire() as connection:
        seen: dt.datetime | None = await connection.fetchval(
            "SELECT connected_time FROM messaging.push_targets WHERE session_id = $1",
            device.session_id,
        )
    return seen is not None and seen > time


async def _is_gone(pool: Pool, device: Device) -> bool:
    """Tell whether it was noted that no subscription of the device is open."""
    return not await _was_seen_since(pool, device, dt.datetime.min.replace(tzinfo=dt.UTC))


async def test_quiet_hours_end_with_one_push_of_what_is_unread(
    corp: Corp, device: NewDevice, inbox: WebhookInbox, pool: Pool
) -> None:
    li_wei, phone = corp.member("li.wei"), device("zhang.san")
    await phone.register()
    hours = push.QuietHours(begin="00:00", end="00:00", time_zone="Asia/Shanghai")
    await phone.set_quiet_hours(hours)
    await phone.set_quiet_hours(hours)
    response = await phone.stub.GetQuietHours(
        push.GetQuietHoursRequest(), metadata=phone.metadata, timeout=TIMEOUT_S
    )
    assert response.quiet_hours == hours
    group = await li_wei.create_group("zhang.san")
    await li_wei.send(group, "at night")
    await release(pool, group, phone)
    await eventually(lambda: _is_put_off(pool, phone, 0))
    await li_wei.send(group, "later at night")

    await phone.set_quiet_hours(None)
    await release(pool, group, phone)
    shown = await posted(inbox, phone)

    assert (shown["text"], shown["unread_count"]) == ("later at night", 2)


async def test_hidden_previews_tell_nothing_of_the_conversation(
    corp: Corp, device: NewDevice, inbox: WebhookInbox, pool: Pool
) -> None:
    li_wei, phone = corp.member("li.wei"), device("zhang.san")
    await phone.register()
    group = await li_wei.create_group("zhang.san", name="Secret project")
    officer = device("officer", roles=["owner"])
    for hidden in (True, True):
        await officer.stub.SetCorpPushPreviews(
            push.SetCorpPushPreviewsRequest(hidden=hidden),
            metadata=officer.metadata,
            timeout=TIMEOUT_S,
        )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await phone.stub.SetCorpPushPreviews(
            push.SetCorpPushPreviewsRequest(), metadata=phone.metadata, timeout=TIMEOUT_S
        )
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    previews = await phone.stub.GetPushPreviews(
        push.GetPushPreviewsRequest(), metadata=phone.metadata, timeout=TIMEOUT_S
    )
    assert (previews.hidden, previews.hidden_by_corp) == (False, True)
    await li_wei.send(group, "the salaries")
    await release(pool, group, phone)

    shown = await posted(inbox, phone)

    assert shown["text"] == "You have a new message"
    assert not any(each in str(shown) for each in ("salaries", "li.wei", "Secret"))


async def test_webhook_that_fails_gets_the_same_delivery_again_and_one_that_is_gone_no_more(
    corp: Corp,
    device: NewDevice,
    inbox: WebhookInbox,
    pool: Pool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="tieline")
    li_wei = corp.member("li.wei")
    busy, refusing, gone = device("zhang.san"), device("zhang.san"), device("zhang.san")
    for each in (busy, refusing, gone):
        await each.register()
    inbox.statuses = {busy.token: [500, 429], refusing.token: [400], gone.token: [410]}
    group = await li_wei.create_group("zhang.san")
    message = await li_wei.send(group, "said in confidence")

    await release(pool, group, busy, refusing, gone)
    for count in (1, 2):
        await posted(inbox, busy, count)
        await eventually(lambda count=count: _is_put_off(pool, busy, count))
        await release(pool, group, busy)
    await posted(inbox, busy, 3)
    await settled(pool, busy, group, message.sequence)
    await settled(pool, refusing, group, message.sequence)

    assert len({post["delivery_id"] for post in inbox.posts_for(busy.token)}) == 1
    assert len(inbox.posts_for(refusing.token)) == len(inbox.posts_for(gone.token)) == 1

    async def is_forgotten() -> bool:
        return set(await busy.list()) == {busy.session_id, refusing.session_id}

    await eventually(is_forgotten)
    for secret in (busy.token, gone.token, SECRET, "said in confidence"):
        assert secret not in caplog.text


async def test_signed_out_devices_are_forgotten(
    corp: Corp,
    device: NewDevice,
    messaging_nats: EmbeddedNats,
    pool: Pool,
) -> None:
    one, two, three = (device("zhang.san") for _ in range(3))
    guest = device(f"wm{new_id()[:8]}", is_customer=True)
    colleague = device("li.wei")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await guest.register()
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    async with pool.acquire() as connection:
        await connection.execute(
            """
            INSERT INTO messaging.participants
                   (corp_id, conversation_id, kind, id, joined_sequence)
            VALUES ($1, $2, 'customer', $3, 0)
            """,
            corp.corp_id,
            await corp.member("li.wei").create_group("zhang.san"),
            guest.person.id,
        )
    for each in (one, two, three, guest, colleague):
        await each.register()
    session = identity_pb2.TokensRevoked(
        corp_id=corp.corp_id, session_id=one.session_id, ends_sessions=True
    )
    zhang = principal_pb2.PrincipalRef(kind=principal_pb2.PRINCIPAL_KIND_MEMBER, id="zhang.san")
    role_changed = identity_pb2.TokensRevoked(corp_id=corp.corp_id, principal=zhang)
    others = identity_pb2.TokensRevoked(
        corp_id=corp.corp_id,
        principal=zhang,
        ends_sessions=True,
        kept_session_id=three.session_id,
    )
    of_guest = identity_pb2.TokensRevoked(session_id=guest.session_id, ends_sessions=True)
    async with connected(messaging_nats, "identity") as broker:
        for revoked, left in (
            (session, {two, three}),
            (role_changed, {two, three}),
            (others, {three}),
            (of_guest, {three}),
        ):
            await publish(broker, "tieline.identity.v1.tokens_revoked", revoked)
            expected = {each.session_id for each in left}

            async def is_left(expected: set[str] = expected) -> bool:
                return set(await three.list()) == expected

            await eventually(is_left)

    async def is_guest_gone() -> bool:
        return await guest.list() == []

    await eventually(is_guest_gone)
    assert await colleague.list() == [colleague.session_id]


async def test_targets_are_one_a_device_their_persons_alone_and_bounded(
    corp: Corp, device: NewDevice, pool: Pool
) -> None:
    phone, again, colleague = device("zhang.san"), device("zhang.san"), device("li.wei")
    first = await phone.register()
    assert await phone.register() == push.PushTarget(
        **{**_fields(first), "register_time": (await _target(phone)).register_time}
    )
    # The device was signed in anew, and then handed on.
    await again.register(token=phone.token)
    assert await again.list() == [again.session_id]
    await colleague.unregister(again.session_id)
    assert await again.list() == [again.session_id]
    await colleague.register(token=phone.token)
    assert await again.list() == []
    await colleague.unregister()
    await colleague.unregister()
    assert await colleague.list() == []

    user = (corp.corp_id, member("zhang.san"))
    for number in range(MAX_TARGETS + 2):
        async with transaction(pool) as connection:
            await PushTargetRepository(connection).register(
                user, f"session-{number}", NewTarget("other", f"token-{number}", "")
            )
    sessions = await phone.list()
    assert len(sessions) == MAX_TARGETS
    assert f"session-{MAX_TARGETS + 1}" in sessions
    assert "session-0" not in sessions


def _fields(target: push.PushTarget) -> dict[str, Any]:
    return {field.name: value for field, value in target.ListFields()}


async def _target(device: Device) -> push.PushTarget:
    response = await device.stub.ListPushTargets(
        push.ListPushTargetsRequest(), metadata=device.metadata, timeout=TIMEOUT_S
    )
    return response.targets[0]


async def _is_put_off(pool: Pool, device: Device, failures: int) -> bool:
    async with pool.acquire() as connection:
        found: bool = await connection.fetchval(
            """
            SELECT EXISTS (SELECT FROM messaging.pushes
                            WHERE corp_id = $1 AND session_id = $2 AND settle_time IS NOT NULL
                              AND due_time > now() AND failures = $3)
            """,
            device.corp_id,
            device.session_id,
            failures,
        )
        return found
