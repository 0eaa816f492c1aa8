"""What is done to apps: each function runs in the caller's transaction and tells it by events."""

import datetime as dt
import uuid
from collections.abc import Collection, Mapping

from tieline.api.identity.v1 import app_pb2
from tieline.chassis.audit import build_audit_event
from tieline.chassis.etags import check_etag
from tieline.chassis.ids import new_uuid7
from tieline.chassis.outbox import Event, build_event, insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import Principal
from tieline.identity.apps.messages import to_proto
from tieline.identity.apps.rules import (
    App,
    AppFields,
    app_not_found_error,
    check_app,
    check_count,
    check_may_grant,
    update_fields,
    voids_tokens,
)
from tieline.identity.apps.secrets import plan_rotation
from tieline.identity.repositories import SCHEMA, apps
from tieline.identity.sessions.revocations import revoke_app_tokens, revoke_session_tokens

APP_CHANGED = "tieline.identity.v1.app_changed"
APP_DELETED = "tieline.identity.v1.app_deleted"


async def create_app(connection: Connection, corp_id: str, fields: AppFields) -> App:
    """Create an app, without a secret yet. The fields are checked."""
    agent_id = await apps.claim_agent_id(connection, corp_id)
    check_count(await apps.count_apps(connection, corp_id))
    app = await apps.insert_app(connection, corp_id, agent_id, fields)
    await insert_events(
        connection, SCHEMA, [_changed(app), await _audit(connection, app, "create")]
    )
    return app


async def change_app(
    connection: Connection,
    principal: Principal,
    found: tuple[str, int],
    given: AppFields,
    paths: Collection[str],
    etag: str,
) -> App:
    """Give the app those of the fields that the mask names."""
    app = await _lock(connection, *found)
    check_etag(etag, app.change_number)
    fields = check_app(update_fields(app.fields, given, paths))
    added = {right for right in fields.rights - app.rights if right is not None}
    check_may_grant(principal, app.corp_id, added)
    changed = await apps.update_app(connection, app, fields)
    events = [
        _changed(changed),
        await _audit(connection, app, "update", {"fields": ",".join(sorted(paths))}),
    ]
    if voids_tokens(app.fields, fields):
        events += await revoke_app_tokens(connection, app.corp_id, app.agent_id)
    await insert_events(connection, SCHEMA, events)
    return changed


async def delete_app(connection: Connection, corp_id: str, agent_id: int) -> None:
    """Delete the app, and void its tokens."""
    app = await _lock(connection, corp_id, agent_id)
    await apps.delete_app(connection, corp_id, agent_id)
    deleted = app_pb2.AppDeleted(corp_id=corp_id, agent_id=agent_id)
    events = [
        build_event(APP_DELETED, corp_id, _key(app), deleted),
        await _audit(connection, app, "delete"),
        *await revoke_app_tokens(connection, corp_id, agent_id),
    ]
    await insert_events(connection, SCHEMA, events)


async def add_secret(
    connection: Connection,
    principal: Principal,
    found: tuple[str, int],
    secret_hash: bytes,
    overlap: dt.timedelta,
) -> App:
    """Make this the app's current secret; the one before ends after the overlap."""
    corp_id, agent_id = found
    app = await _lock(connection, corp_id, agent_id)
    # Whoever knows a secret of the app is the app.
    check_may_grant(principal, corp_id, app.rights)
    secrets = (await apps.list_secrets(connection, corp_id, [agent_id]))[agent_id]
    changes = plan_rotation(secrets, overlap)
    events: list[Event] = []
    for secret in changes.ending:
        await apps.delete_secret(connection, corp_id, agent_id, secret.secret_id)
        events += await revoke_session_tokens(connection, corp_id, str(secret.secret_id))
    if changes.expiring is not None:
        await apps.expire_secret(connection, corp_id, changes.expiring.secret_id, overlap)
    secret_id = new_uuid7()
    await apps.insert_secret(connection, corp_id, agent_id, secret_id, secret_hash)
    events.append(await _audit(connection, app, "add_secret", {"secretId": secret_id}))
    await insert_events(connection, SCHEMA, events)
    return app


async def end_secret(
    connection: Connection, corp_id: str, agent_id: int, secret_id: uuid.UUID
) -> App:
    """End the secret, and void the tokens that it got; one that is not there changes nothing."""
    app = await _lock(connection, corp_id, agent_id)
    if await apps.delete_secret(connection, corp_id, agent_id, secret_id):
        events = await revoke_session_tokens(connection, corp_id, str(secret_id))
        details = {"secretId": str(secret_id)}
        events.append(await _audit(connection, app, "revoke_secret", details))
        await insert_events(connection, SCHEMA, events)
    return app


async def _lock(connection: Connection, corp_id: str, agent_id: int) -> App:
    app = await apps.lock_app(connection, corp_id, agent_id)
    if app is None:
        raise app_not_found_error(agent_id)
    return app


def _changed(app: App) -> Event:
    return build_event(APP_CHANGED, app.corp_id, _key(app), app_pb2.AppChanged(app=to_proto(app)))


def _key(app: App) -> str:
    return f"apps/{app.corp_id}/{app.agent_id}"


async def _audit(
    connection: Connection, app: App, verb: str, details: Mapping[str, str] | None = None
) -> Event:
    return await build_audit_event(
        connection,
        SCHEMA,
        corp_id=app.corp_id,
        action=f"identity.app.{verb}",
        resource=f"apps/{app.agent_id}",
        details=details,
    )
