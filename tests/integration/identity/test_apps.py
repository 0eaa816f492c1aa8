"""Apps: administered by who may, their secrets shown once, their tokens ended when they should."""

import asyncio
import time
import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from engines import connected
from fakes.eventually import eventually
from integration.identity.world import (
    TIMEOUT_S,
    Identity,
    Metadata,
    NewCorp,
    bearer,
    describe,
    refusal,
)
from published_events import published_events
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import app_pb2, app_service_pb2, identity_requests_pb2
from tieline.chassis.errors import NotFoundError
from tieline.chassis.requests import ask

READ = access_pb2.RIGHT_READ_DIRECTORY
MANAGE = access_pb2.RIGHT_MANAGE_DIRECTORY


def app_request(**fields: Any) -> app_service_pb2.CreateAppRequest:
    app = app_pb2.App(**{"name": "Attendance", "rights": [READ], **fields})
    return app_service_pb2.CreateAppRequest(request_id=str(uuid.uuid4()), app=app)


async def create(
    identity: Identity, caller: Metadata, request: app_service_pb2.CreateAppRequest | None = None
) -> app_service_pb2.CreateAppResponse:
    return await identity.apps.CreateApp(
        request or app_request(), metadata=caller, timeout=TIMEOUT_S
    )


async def update(
    identity: Identity, caller: Metadata, app: app_pb2.App, *paths: str
) -> app_pb2.App:
    request = app_service_pb2.UpdateAppRequest(
        request_id=str(uuid.uuid4()), app=app, update_mask=FieldMask(paths=paths)
    )
    response = await identity.apps.UpdateApp(request, metadata=caller, timeout=TIMEOUT_S)
    return response.app


async def rotate(
    identity: Identity, caller: Metadata, agent_id: int, overlap: Duration | None = None
) -> app_service_pb2.RotateAppSecretResponse:
    request = app_service_pb2.RotateAppSecretRequest(
        request_id=str(uuid.uuid4()), agent_id=agent_id, overlap=overlap
    )
    return await identity.apps.RotateAppSecret(request, metadata=caller, timeout=TIMEOUT_S)


async def revoke_secret(
    identity: Identity, caller: Metadata, agent_id: int, secret_id: str
) -> app_pb2.App:
    response = await identity.apps.RevokeAppSecret(
        app_service_pb2.RevokeAppSecretRequest(agent_id=agent_id, secret_id=secret_id),
        metadata=caller,
        timeout=TIMEOUT_S,
    )
    return response.app


async def delete(identity: Identity, caller: Metadata, agent_id: int) -> None:
    request = app_service_pb2.DeleteAppRequest(request_id=str(uuid.uuid4()), agent_id=agent_id)
    await identity.apps.DeleteApp(request, metadata=caller, timeout=TIMEOUT_S)


async def get(identity: Identity, caller: Metadata, agent_id: int = 0) -> app_pb2.App:
    response = await identity.apps.GetApp(
        app_service_pb2.GetAppRequest(agent_id=agent_id), metadata=caller, timeout=TIMEOUT_S
    )
    return response.app


async def token(
    identity: Identity, corp_id: str, secret: str, agent_id: int = 0
) -> app_service_pb2.CreateAppTokenResponse:
    return await identity.apps.CreateAppToken(
        app_service_pb2.CreateAppTokenRequest(corp_id=corp_id, secret=secret, agent_id=agent_id),
        timeout=TIMEOUT_S,
    )


async def sign_in_app(identity: Identity, corp: NewCorp, secret: str) -> Metadata:
    given = await token(identity, corp.corp_id, secret)
    return (("authorization", f"Bearer {given.access_token}"),)


async def is_over(identity: Identity, app: Metadata) -> bool:
    try:
        await get(identity, app)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False


async def test_an_app_gets_a_token_of_two_hours_and_sees_itself(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner)

    given = await token(identity, corp.corp_id, created.secret, created.app.agent_id)

    assert created.app.agent_id == given.agent_id == 1_000_002
    assert given.expire_time.seconds == pytest.approx(time.time() + 7200, abs=60)
    assert len(created.secret) == 43
    app = await get(identity, (("authorization", f"Bearer {given.access_token}"),))
    assert app == created.app
    assert (app.corp_id, app.name, list(app.rights)) == (corp.corp_id, "Attendance", [READ])


async def test_a_repeat_creates_one_app_and_shows_the_same_secret(identity: Identity) -> None:
    corp = await identity.new_corp()
    request = app_request()

    first, *others = await asyncio.gather(
        *(create(identity, corp.owner, request) for _ in range(4))
    )

    assert all(other == first for other in others)
    assert len((await list_apps(identity, corp.owner)).apps) == 1


async def list_apps(
    identity: Identity, caller: Metadata, **fields: Any
) -> app_service_pb2.ListAppsResponse:
    return await identity.apps.ListApps(
        app_service_pb2.ListAppsRequest(**fields), metadata=caller, timeout=TIMEOUT_S
    )


async def test_no_table_and_no_event_holds_a_secret(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner)
    rotated = await rotate(identity, corp.owner, created.app.agent_id)

    rows = await identity.execute(
        "SELECT s::text AS text FROM identity.app_secrets s WHERE corp_id = $1"
        " UNION ALL SELECT encode(response, 'escape') FROM identity.first_answers"
        " WHERE corp_id = $1",
        corp.corp_id,
    )

    assert len(rows) == 4
    for secret in (created.secret, rotated.secret):
        assert not [row for row in rows if secret in row["text"]]


async def test_ids_of_deleted_apps_are_not_used_again(identity: Identity) -> None:
    corp = await identity.new_corp()
    first = (await create(identity, corp.owner)).app.agent_id
    await delete(identity, corp.owner, first)

    second = (await create(identity, corp.owner)).app.agent_id

    assert second == first + 1
    error = await refusal(get(identity, corp.owner, first))
    assert (error.reason, error.metadata) == ("APP_NOT_FOUND", {"agentId": str(first)})


async def test_a_corp_with_three_hundred_apps_gets_no_other(identity: Identity) -> None:
    corp = await identity.new_corp()
    await create(identity, corp.owner)
    await identity.execute(
        """
        INSERT INTO identity.apps (corp_id, agent_id, name, description, rights, user_ids,
                                   department_ids, tag_ids, is_disabled)
        SELECT $1, 2000000 + i, 'App', '', '{}', '{}', '{}', '{}', false
          FROM generate_series(1, 299) AS i
        """,
        corp.corp_id,
    )

    assert (await refusal(create(identity, corp.owner))).reason == "APPS_EXHAUSTED"
    pages = [await list_apps(identity, corp.owner, page_size=200)]
    pages.append(
        await list_apps(identity, corp.owner, page_size=200, page_token=pages[0].next_page_token)
    )
    assert len({app.agent_id for page in pages for app in page.apps}) == 300
    assert pages[1].next_page_token == ""


async def test_what_a_mask_names_is_changed_and_told(identity: Identity) -> None:
    corp = await identity.new_corp()
    app = (await create(identity, corp.owner)).app
    visible = app_pb2.AppRange(user_ids=["Li.Wei"], department_ids=[7, 2], tag_ids=[1])

    changed = await update(
        identity,
        corp.owner,
        app_pb2.App(agent_id=app.agent_id, etag=app.etag, name="no", visible_range=visible),
        "visible_range",
    )

    assert changed.name == "Attendance"
    assert list(changed.visible_range.user_ids) == ["li.wei"]
    assert list(changed.visible_range.department_ids) == [2, 7]
    error = await refusal(
        update(identity, corp.owner, app_pb2.App(agent_id=app.agent_id, etag=app.etag), "disabled")
    )
    assert (error.reason, error.metadata) == ("ETAG_MISMATCH", {"etag": changed.etag})
    key = f"apps/{corp.corp_id}/{app.agent_id}"
    events = await published_events(identity.nats, "IDENTITY", key, 2)
    assert [subject.rpartition(".")[2] for subject, _ in events] == ["app_changed"] * 2
    told = app_pb2.AppChanged.FromString(events[-1][1]).app
    assert told.visible_range == changed.visible_range
    assert not told.secrets


async def test_other_services_ask_for_an_apps_range(identity: Identity) -> None:
    corp = await identity.new_corp()
    request = app_request(visible_range=app_pb2.AppRange(department_ids=[1]))
    app = (await create(identity, corp.owner, request)).app

    async with connected(identity.nats, "directory") as broker:

        async def ask_range(agent_id: int) -> app_pb2.AppRange:
            response = await ask(
                broker,
                "identity",
                "get_app_range",
                identity_requests_pb2.GetAppRangeRequest(corp_id=corp.corp_id, agent_id=agent_id),
                identity_requests_pb2.GetAppRangeResponse,
            )
            return response.visible_range

        assert await ask_range(app.agent_id) == app.visible_range
        with pytest.raises(NotFoundError, match="no such app"):
            await ask_range(app.agent_id + 1)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param({"rights": [READ, MANAGE]}, "rights", id="other rights"),
        pytest.param({"disabled": True}, "disabled", id="disabled"),
        pytest.param({}, "visible_range", id="a range without its only department"),
    ],
)
async def test_a_token_ends_with_what_it_says(
    identity: Identity, change: dict[str, Any], path: str
) -> None:
    corp = await identity.new_corp()
    request = app_request(visible_range=app_pb2.AppRange(department_ids=[1]))
    created = await create(identity, corp.owner, request)
    app = await sign_in_app(identity, corp, created.secret)
    await get(identity, app)

    await update(identity, corp.owner, app_pb2.App(agent_id=created.app.agent_id, **change), path)

    await eventually(lambda: is_over(identity, app), timeout_s=2)


async def test_a_deleted_apps_tokens_and_secrets_are_over(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner)
    app = await sign_in_app(identity, corp, created.secret)

    await delete(identity, corp.owner, created.app.agent_id)

    await eventually(lambda: is_over(identity, app), timeout_s=2)
    error = await refusal(token(identity, corp.corp_id, created.secret))
    assert error.reason == "CREDENTIALS_REJECTED"


async def test_two_secrets_are_good_while_servers_change_over(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner)
    agent_id = created.app.agent_id
    oldest = await sign_in_app(identity, corp, created.secret)

    second = await rotate(identity, corp.owner, agent_id)
    await token(identity, corp.corp_id, created.secret)
    await token(identity, corp.corp_id, second.secret)
    assert [secret.HasField("expire_time") for secret in second.app.secrets] == [True, False]
    third = await rotate(identity, corp.owner, agent_id)

    assert (await refusal(token(identity, corp.corp_id, created.secret))).reason == (
        "CREDENTIALS_REJECTED"
    )
    await eventually(lambda: is_over(identity, oldest), timeout_s=2)
    newest = await sign_in_app(identity, corp, third.secret)
    assert len((await get(identity, newest)).secrets) == 2
    await rotate(identity, corp.owner, agent_id, Duration())
    await eventually(lambda: is_over(identity, newest), timeout_s=2)


async def test_rotations_at_once_leave_two_secrets(identity: Identity) -> None:
    corp = await identity.new_corp()
    agent_id = (await create(identity, corp.owner)).app.agent_id

    rotated = await asyncio.gather(*(rotate(identity, corp.owner, agent_id) for _ in range(4)))

    good = 0
    for each in rotated:
        try:
            await token(identity, corp.corp_id, each.secret)
        except grpc.aio.AioRpcError:
            continue
        good += 1
    assert good == 2
    secrets = (await get(identity, corp.owner, agent_id)).secrets
    assert [secret.HasField("expire_time") for secret in secrets] == [True, False]


async def test_a_revoked_secret_takes_its_tokens_along_and_no_others(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner)
    agent_id = created.app.agent_id
    second = await rotate(identity, corp.owner, agent_id)
    old = await sign_in_app(identity, corp, created.secret)
    new = await sign_in_app(identity, corp, second.secret)
    leaked = second.app.secrets[0].secret_id

    left = await revoke_secret(identity, corp.owner, agent_id, leaked)
    repeated = await revoke_secret(identity, corp.owner, agent_id, leaked)

    assert left == repeated
    assert [secret.secret_id for secret in left.secrets] == [second.app.secrets[1].secret_id]
    await eventually(lambda: is_over(identity, old), timeout_s=2)
    await get(identity, new)


async def test_an_overlap_that_is_over_ends_the_secret(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner)
    await rotate(identity, corp.owner, created.app.agent_id)
    await identity.execute(
        "UPDATE identity.app_secrets SET expire_time = now()"
        " WHERE corp_id = $1 AND expire_time IS NOT NULL",
        corp.corp_id,
    )

    error = await refusal(token(identity, corp.corp_id, created.secret))

    assert error.reason == "CREDENTIALS_REJECTED"
    assert len((await get(identity, corp.owner, created.app.agent_id)).secrets) == 1


async def test_whatever_is_wrong_gets_the_same_answer(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    created = await create(identity, corp.owner)
    disabled = await create(identity, corp.owner, app_request(disabled=True))

    answers = [
        describe(await refusal(token(identity, *wrong)))
        for wrong in [
            (corp.corp_id, "x" * 43, 0),
            (corp.corp_id, "", 0),
            (other.corp_id, created.secret, 0),
            ("ww" + "0" * 24, created.secret, 0),
            ("\x00", "\x00", 0),
            (corp.corp_id, created.secret, created.app.agent_id + 1),
            (corp.corp_id, disabled.secret, 0),
        ]
    ]

    assert {answer[1] for answer in answers} == {"CREDENTIALS_REJECTED"}
    assert all(answer == answers[0] for answer in answers)


async def test_an_address_with_too_many_wrong_secrets_waits(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner)
    await refusal(token(identity, corp.corp_id, "x" * 43))
    await identity.execute("UPDATE identity.app_token_failures SET failures = 2000")

    error = await refusal(token(identity, corp.corp_id, created.secret))
    await identity.execute(
        "UPDATE identity.app_token_failures SET begin_time = now() - interval '1 hour'"
    )
    await token(identity, corp.corp_id, created.secret)
    await refusal(token(identity, corp.corp_id, "x" * 43))
    [row] = await identity.execute("SELECT failures FROM identity.app_token_failures")

    assert error.reason == "TOO_MANY_FAILURES"
    assert error.retry_after_s == pytest.approx(3600, abs=60)
    assert row["failures"] == 1


async def test_plain_members_and_apps_administer_no_apps(identity: Identity) -> None:
    corp = await identity.new_corp()
    created = await create(identity, corp.owner)
    app = await sign_in_app(identity, corp, created.secret)
    member = bearer(await identity.new_member(corp))
    agent_id = created.app.agent_id

    for caller in (member, app):
        for call in (
            create(identity, caller),
            list_apps(identity, caller),
            update(identity, caller, app_pb2.App(agent_id=agent_id, disabled=True), "disabled"),
            rotate(identity, caller, agent_id),
            delete(identity, caller, agent_id),
        ):
            assert (await refusal(call)).code == "PERMISSION_DENIED"
    assert (await refusal(get(identity, member, agent_id))).code == "PERMISSION_DENIED"
    assert (await refusal(get(identity, app, agent_id + 1))).code == "PERMISSION_DENIED"
