"""Tokens of apps for linked corps: given by a link that shares something, over with it."""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from joserfc import jws

from fakes.eventually import eventually
from integration.identity.test_apps import (
    MANAGE,
    READ,
    app_request,
    create,
    delete,
    revoke_secret,
    rotate,
    sign_in_app,
    update,
)
from integration.identity.test_corp_links import (
    EVERYBODY,
    GROUP,
    NOBODY,
    SALES,
    UPSTREAM,
    accept,
    invite,
    leave,
    share,
)
from integration.identity.world import TIMEOUT_S, Identity, Metadata, NewCorp, refusal
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import app_pb2, app_service_pb2, identity_service_pb2


@dataclass
class Linked:
    """An app's corp, linked with one that shares with it."""

    identity: Identity
    home: NewCorp
    partner: NewCorp
    link_id: str
    app: app_service_pb2.CreateAppResponse
    caller: Metadata

    async def token(
        self, linked_corp_id: str = "", **fields: Any
    ) -> app_service_pb2.CreateLinkedCorpTokenResponse:
        request = app_service_pb2.CreateLinkedCorpTokenRequest(
            linked_corp_id=linked_corp_id or self.partner.corp_id, **fields
        )
        return await self.identity.apps.CreateLinkedCorpToken(
            request, metadata=self.caller, timeout=TIMEOUT_S
        )

    async def is_over(self, token: str) -> bool:
        """Tell whether the token is void: a good one is told that it may not do that."""
        metadata = (("authorization", f"Bearer {token}"),)
        code = (await refusal(self.identity.get_corp(metadata))).code
        assert code in ("UNAUTHENTICATED", "PERMISSION_DENIED")
        return code == "UNAUTHENTICATED"


@pytest.fixture
async def linked(identity: Identity) -> Linked:
    home, partner = await identity.new_corp(), await identity.new_corp()
    link = await invite(identity, home.owner, partner.corp_id)
    await accept(identity, partner.owner, link.link_id, EVERYBODY)
    app = await create(identity, home.owner)
    caller = await sign_in_app(identity, home, app.secret)
    return Linked(identity, home, partner, link.link_id, app, caller)


def read_claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(jws.extract_compact(token.encode()).payload)
    return claims


async def test_a_token_of_two_hours_names_both_corps_the_link_and_nothing_but_reading(
    linked: Linked,
) -> None:
    given = await linked.token()

    claims = read_claims(given.access_token)
    assert given.link_id == linked.link_id
    assert given.expire_time.seconds == pytest.approx(time.time() + 7200, abs=60)
    assert (claims["kind"], claims["sub"]) == ("linked_app", str(linked.app.app.agent_id))
    assert (claims["corp"], claims["home"]) == (linked.partner.corp_id, linked.home.corp_id)
    assert (claims["link"], claims["rights"]) == (linked.link_id, ["read_directory"])


async def test_an_app_with_more_rights_gets_no_more_there(linked: Linked) -> None:
    app = await create(linked.identity, linked.home.owner, app_request(rights=[READ, MANAGE]))
    linked.caller = await sign_in_app(linked.identity, linked.home, app.secret)

    claims = read_claims((await linked.token()).access_token)

    assert claims["rights"] == ["read_directory"]


async def test_the_right_to_contact_details_goes_over_the_link(linked: Linked) -> None:
    """The directory asks for it beside what the link shares."""
    rights = [READ, access_pb2.RIGHT_READ_CONTACT_DETAILS]
    app = await create(linked.identity, linked.home.owner, app_request(rights=rights))
    linked.caller = await sign_in_app(linked.identity, linked.home, app.secret)

    claims = read_claims((await linked.token()).access_token)

    assert sorted(claims["rights"]) == ["read_contact_details", "read_directory"]


async def test_either_side_lets_the_other_ones_apps_in_by_what_it_shares_itself(
    linked: Linked,
) -> None:
    app = await create(linked.identity, linked.partner.owner)
    linked.caller = await sign_in_app(linked.identity, linked.partner, app.secret)

    error = await refusal(linked.token(linked.home.corp_id))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "NOTHING_SHARED")
    await share(linked.identity, linked.home.owner, linked.link_id, SALES)

    assert (await linked.token(linked.home.corp_id)).link_id == linked.link_id


async def test_corps_that_are_not_linked_are_not_found_whether_they_are_there_or_not(
    linked: Linked,
) -> None:
    stranger, invited = await linked.identity.new_corp(), await linked.identity.new_corp()
    await invite(linked.identity, linked.home.owner, invited.corp_id)

    for corp_id in (
        stranger.corp_id,
        invited.corp_id,
        linked.home.corp_id,
        "ww" + "0" * 24,
        "\x00",
        "x" * 10_000,
    ):
        error = await refusal(linked.token(corp_id))
        assert (error.code, error.reason) == ("NOT_FOUND", "CORP_LINK_NOT_FOUND"), corp_id


async def test_of_several_links_the_request_says_which(linked: Linked) -> None:
    upstream = await invite(linked.identity, linked.home.owner, linked.partner.corp_id, UPSTREAM)
    await accept(linked.identity, linked.partner.owner, upstream.link_id, SALES)

    error = await refusal(linked.token())

    assert (error.reason, list(error.violations)) == ("INVALID_FIELD", ["kind"])
    assert (await linked.token(kind=UPSTREAM)).link_id == upstream.link_id
    assert (await linked.token(kind=GROUP)).link_id == linked.link_id


async def test_a_request_without_a_corp_or_of_no_kind_is_refused(linked: Linked) -> None:
    request = app_service_pb2.CreateLinkedCorpTokenRequest(kind=99)  # type: ignore[arg-type]

    error = await refusal(
        linked.identity.apps.CreateLinkedCorpToken(
            request, metadata=linked.caller, timeout=TIMEOUT_S
        )
    )

    assert (error.reason, set(error.violations)) == ("INVALID_FIELD", {"linked_corp_id", "kind"})


async def test_naming_another_corp_as_the_apps_own_finds_nothing(linked: Linked) -> None:
    error = await refusal(linked.token(corp_id=linked.partner.corp_id))

    assert (error.code, error.reason) == ("NOT_FOUND", "CORP_NOT_FOUND")


async def test_members_apps_without_the_right_and_linked_apps_get_none(linked: Linked) -> None:
    given = await linked.token()
    plain = await create(linked.identity, linked.home.owner, app_request(rights=[]))

    for caller in (
        linked.home.owner,
        await sign_in_app(linked.identity, linked.home, plain.secret),
        (("authorization", f"Bearer {given.access_token}"),),
    ):
        linked.caller = caller
        assert (await refusal(linked.token())).code == "PERMISSION_DENIED"


async def test_a_suspended_partner_lets_nobody_in(linked: Linked) -> None:
    await suspend(linked.identity, linked.partner.corp_id)

    error = await refusal(linked.token())

    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "LINKED_CORP_NOT_ACTIVE")
    assert error.metadata == {"corpId": linked.partner.corp_id}


async def suspend(identity: Identity, corp_id: str) -> None:
    await identity.stub.SuspendCorp(
        identity_service_pb2.SuspendCorpRequest(
            request_id=str(uuid.uuid4()), corp_id=corp_id, reason="fraud"
        ),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )


async def delete_corp(identity: Identity, corp_id: str) -> None:
    await identity.stub.DeleteCorp(
        identity_service_pb2.DeleteCorpRequest(request_id=str(uuid.uuid4()), corp_id=corp_id),
        metadata=identity.platform,
        timeout=TIMEOUT_S,
    )


async def rotate_twice(linked: Linked) -> None:
    for _ in range(2):
        await rotate(linked.identity, linked.home.owner, linked.app.app.agent_id, Duration())


async def disable(linked: Linked) -> None:
    app = app_pb2.App(agent_id=linked.app.app.agent_id, disabled=True)
    await update(linked.identity, linked.home.owner, app, "disabled")


async def take_rights(linked: Linked) -> None:
    app = app_pb2.App(agent_id=linked.app.app.agent_id)
    await update(linked.identity, linked.home.owner, app, "rights")


ENDS: dict[str, Callable[[Linked], Awaitable[Any]]] = {
    "left by the app's corp": lambda o: leave(o.identity, o.home.owner, o.link_id),
    "left by the partner": lambda o: leave(o.identity, o.partner.owner, o.link_id),
    "shares nothing": lambda o: share(o.identity, o.partner.owner, o.link_id, NOBODY),
    "app deleted": lambda o: delete(o.identity, o.home.owner, o.app.app.agent_id),
    "app disabled": disable,
    "rights taken": take_rights,
    "secret replaced twice": rotate_twice,
    "secret revoked": lambda o: revoke_secret(
        o.identity, o.home.owner, o.app.app.agent_id, o.app.app.secrets[0].secret_id
    ),
    "app's corp suspended": lambda o: suspend(o.identity, o.home.corp_id),
    "partner suspended": lambda o: suspend(o.identity, o.partner.corp_id),
    "app's corp deleted": lambda o: delete_corp(o.identity, o.home.corp_id),
    "partner deleted": lambda o: delete_corp(o.identity, o.partner.corp_id),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_token_is_over_within_two_seconds_with_what_it_was_given_for(
    linked: Linked, end: str
) -> None:
    token = (await linked.token()).access_token
    assert not await linked.is_over(token)

    await ENDS[end](linked)

    await eventually(lambda: linked.is_over(token), timeout_s=2)
    with pytest.raises(grpc.aio.AioRpcError):
        await linked.token()


async def test_what_is_about_others_ends_no_token(linked: Linked) -> None:
    token = (await linked.token()).access_token
    identity, partner = linked.identity, linked.partner
    # The partner's app of the same agent id, another link of the app's corp, a smaller share.
    namesake = await create(identity, partner.owner)
    assert namesake.app.agent_id == linked.app.app.agent_id
    bystander = await identity.new_corp()
    other = await invite(identity, linked.home.owner, bystander.corp_id)
    await accept(identity, bystander.owner, other.link_id, EVERYBODY)
    witness = (await linked.token(bystander.corp_id)).access_token

    await share(identity, partner.owner, linked.link_id, SALES)
    await delete(identity, partner.owner, namesake.app.agent_id)
    await leave(identity, linked.home.owner, other.link_id)

    await eventually(lambda: linked.is_over(witness), timeout_s=2)
    assert not await linked.is_over(token)


async def test_a_link_that_is_left_while_tokens_are_asked_for_leaves_none_good(
    linked: Linked,
) -> None:
    tokens: list[str] = []

    async def ask() -> None:
        while True:
            tokens.append((await linked.token()).access_token)

    async def has_some() -> bool:
        return len(tokens) >= 20

    async def end() -> None:
        await eventually(has_some)
        await leave(linked.identity, linked.partner.owner, linked.link_id)

    ended, *refused = await asyncio.gather(
        end(), *(ask() for _ in range(4)), return_exceptions=True
    )

    assert ended is None
    for error in refused:
        assert isinstance(error, grpc.aio.AioRpcError)
        assert error.code() is grpc.StatusCode.NOT_FOUND

    async def are_over() -> bool:
        return all([await linked.is_over(token) for token in tokens])

    await eventually(are_over, timeout_s=5)


async def test_tokens_and_rotations_at_once_wait_for_each_other(linked: Linked) -> None:
    async def ask() -> None:
        for _ in range(10):
            await linked.token()

    async def turn() -> None:
        for _ in range(5):
            # Long overlaps: the first secret of a pair ends with the second rotation after it.
            await rotate(linked.identity, linked.home.owner, linked.app.app.agent_id)

    results = await asyncio.gather(ask(), turn(), ask(), return_exceptions=True)

    for result in results:
        # The secret ended meanwhile; nothing else may go wrong, a deadlock least of all.
        if isinstance(result, grpc.aio.AioRpcError):
            assert result.code() is grpc.StatusCode.UNAUTHENTICATED
        else:
            assert result is None
