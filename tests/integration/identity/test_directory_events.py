"""Members who left or are disabled: neither in nor back in, however often they are told of."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from google.protobuf.message import Message
from nats.aio.client import Client

from engines import connected
from fakes.eventually import eventually
from integration.identity.code_inbox import CodeInbox
from integration.identity.test_one_time_codes import (
    member_with_mobile,
    request_code,
    sign_in_by_code,
)
from integration.identity.test_refresh_locks import waits
from integration.identity.world import (
    PASSWORD,
    TIMEOUT_S,
    Identity,
    NewCorp,
    bearer,
    refusal,
)
from tieline.api.common.v1 import access_pb2
from tieline.api.directory.v1 import directory_pb2
from tieline.api.identity.v1 import member_sign_in_service_pb2, second_factor_service_pb2
from tieline.chassis.message_headers import CORP_ID_HEADER, KEY_HEADER, MESSAGE_ID_HEADER
from tieline.identity.repositories import accounts


@pytest.fixture(scope="module")
async def directory_broker(identity: Identity) -> AsyncIterator[Client]:
    async with connected(identity.nats, "directory") as broker:
        yield broker


async def publish(broker: Client, kind: str, event: Message, corp_id: str) -> str:
    """Publish an event in the directory's place; return its id."""
    event_id = str(uuid.uuid4())
    event.event_id = event_id  # type: ignore[attr-defined]
    await broker.publish(
        f"tieline.directory.v1.{kind}",
        event.SerializeToString(),
        headers={MESSAGE_ID_HEADER: event_id, CORP_ID_HEADER: corp_id, KEY_HEADER: corp_id},
    )
    return event_id


async def handled(identity: Identity, event_id: str) -> None:
    async def it_is_there() -> bool:
        rows = await identity.execute(
            "SELECT 1 FROM identity.handled_events WHERE event_id = $1", event_id
        )
        return bool(rows)

    await eventually(it_is_there)


async def tell(
    identity: Identity, broker: Client, corp: NewCorp, kind: str, *user_ids: str
) -> None:
    message_type = {
        "member_left": directory_pb2.MemberLeft,
        "member_disabled": directory_pb2.MemberDisabled,
        "member_enabled": directory_pb2.MemberEnabled,
    }[kind]
    event = message_type(corp_id=corp.corp_id, user_ids=user_ids)
    await handled(identity, await publish(broker, kind, event, corp.corp_id))


async def test_a_disabled_member_is_out_until_enabled(
    identity: Identity, directory_broker: Client
) -> None:
    corp = await identity.new_corp()
    session = await identity.new_member(corp)

    await tell(identity, directory_broker, corp, "member_disabled", "li.wei", "Never.Invited")
    await tell(identity, directory_broker, corp, "member_disabled", "li.wei")

    assert (await refusal(identity.refresh(session.refresh_token))).reason == "SESSION_ENDED"
    error = await refusal(identity.sign_in(corp.corp_id, "li.wei"))
    assert error.reason == "CREDENTIALS_REJECTED"
    await tell(identity, directory_broker, corp, "member_enabled", "li.wei")
    await identity.sign_in(corp.corp_id, "li.wei")


async def test_a_member_disabled_before_the_first_sign_in_can_not_accept_an_invitation(
    identity: Identity, directory_broker: Client
) -> None:
    corp = await identity.new_corp()
    identity.directory.members.add((corp.corp_id, "li.wei"))
    [invitation] = await identity.invite(corp, "li.wei")

    await tell(identity, directory_broker, corp, "member_disabled", "li.wei")
    error = await refusal(identity.accept(corp.corp_id, "li.wei", invitation.code))

    assert error.reason == "CREDENTIALS_REJECTED"
    # It was not used up by that.
    await tell(identity, directory_broker, corp, "member_enabled", "li.wei")
    await identity.accept(corp.corp_id, "li.wei", invitation.code)


async def test_a_member_who_left_loses_everything_and_may_join_again(
    identity: Identity, directory_broker: Client
) -> None:
    corp = await identity.new_corp()
    session = await identity.new_member(corp)
    await identity.second_factors.BeginTotpEnrolment(
        second_factor_service_pb2.BeginTotpEnrolmentRequest(), metadata=bearer(session)
    )
    [invitation] = await identity.invite(corp, "li.wei")
    await identity.grant(corp, "li.wei", rights=[access_pb2.RIGHT_MANAGE_APPS])

    await tell(identity, directory_broker, corp, "member_left", "li.wei")

    assert (await refusal(identity.refresh(session.refresh_token))).reason == "SESSION_ENDED"
    errors = [
        await refusal(identity.sign_in(corp.corp_id, "li.wei")),
        await refusal(identity.accept(corp.corp_id, "li.wei", invitation.code)),
    ]
    assert [error.reason for error in errors] == ["CREDENTIALS_REJECTED"] * 2
    assert not await identity.execute(
        "SELECT 1 FROM identity.second_factors WHERE corp_id = $1", corp.corp_id
    )
    assert not await identity.execute(
        "SELECT 1 FROM identity.role_grants WHERE corp_id = $1", corp.corp_id
    )
    [again] = await identity.invite(corp, "li.wei")
    await identity.accept(corp.corp_id, "li.wei", again.code, PASSWORD)


async def test_a_code_sent_before_its_member_left_is_nobodys_when_the_user_id_is_given_again(
    identity: Identity, directory_broker: Client, code_inbox: CodeInbox
) -> None:
    corp = await identity.new_corp()
    await identity.new_member(corp)
    mobile = await member_with_mobile(identity, corp)
    code_id = await request_code(identity, corp.corp_id, mobile)
    code = await code_inbox.code_for(mobile)

    await tell(identity, directory_broker, corp, "member_left", "Li.Wei")
    await identity.new_member(corp)
    error = await refusal(sign_in_by_code(identity, corp.corp_id, code_id, code))

    assert error.reason == "CREDENTIALS_REJECTED"


async def test_a_member_who_leaves_while_the_new_password_is_hashed_does_not_get_it(
    identity: Identity,
) -> None:
    corp = await identity.new_corp()
    session = await identity.new_member(corp)
    await identity.set_account_state(corp.corp_id, "li.wei", "left")

    error = await refusal(
        identity.sign_ins.ChangePassword(
            member_sign_in_service_pb2.ChangePasswordRequest(new_password="another password"),
            metadata=bearer(session),
            timeout=TIMEOUT_S,
        )
    )

    assert error.reason == "CREDENTIALS_REJECTED"
    await refusal(identity.sign_in(corp.corp_id, "li.wei", "another password"))


@pytest.mark.parametrize("has_account", [True, False])
async def test_an_invitation_and_a_leave_at_once_wait_for_each_other_and_the_leave_stands(
    identity: Identity, *, has_account: bool
) -> None:
    """Both lock the account and then the invitation; in two orders they would end in a deadlock."""
    corp = await identity.new_corp()
    if has_account:
        await identity.new_member(corp)
    identity.directory.members.add((corp.corp_id, "li.wei"))
    [invitation] = await identity.invite(corp, "li.wei")
    member = (corp.corp_id, ["li.wei"])
    connection = await asyncpg.connect(identity.database.admin_dsn)
    try:
        async with connection.transaction():
            await accounts.set_states(connection, *member, "left")
            accepting = asyncio.create_task(
                identity.accept(corp.corp_id, "li.wei", invitation.code)
            )
            await eventually(lambda: waits(identity))
            await accounts.delete_credentials(connection, *member)
    finally:
        await connection.close()

    assert (await refusal(accepting)).reason == "CREDENTIALS_REJECTED"
    [row] = await identity.execute(
        "SELECT state, password_hash FROM identity.accounts"
        " WHERE corp_id = $1 AND user_id = 'li.wei'",
        corp.corp_id,
    )
    assert (row["state"], row["password_hash"]) == ("left", None)


async def test_an_event_of_a_corp_that_is_not_here_changes_nothing(
    identity: Identity, directory_broker: Client
) -> None:
    event = directory_pb2.MemberDisabled(corp_id="ww" + "0" * 24, user_ids=["li.wei"])

    await handled(
        identity, await publish(directory_broker, "member_disabled", event, event.corp_id)
    )

    assert not await identity.execute(
        "SELECT 1 FROM identity.dead_letters WHERE corp_id = $1", event.corp_id
    )
