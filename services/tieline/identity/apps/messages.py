"""Apps between the wire and the rules. Pure."""

from collections.abc import Sequence

from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import app_pb2
from tieline.chassis.authorization import Right
from tieline.chassis.fields import to_timestamp
from tieline.identity.apps.rules import App, AppFields, AppRange
from tieline.identity.apps.secrets import AppSecret

_RIGHTS = {access_pb2.Right.Value(f"RIGHT_{right.name}"): right for right in Right}
_PROTO_RIGHTS = {right: number for number, right in _RIGHTS.items()}


def read_fields(message: app_pb2.App) -> AppFields:
    """Return what an administrator wants of an app; nothing is checked yet."""
    visible = message.visible_range
    return AppFields(
        name=message.name,
        description=message.description,
        rights=frozenset(_RIGHTS.get(right) for right in message.rights),
        visible_range=AppRange(visible.user_ids, visible.department_ids, visible.tag_ids),
        disabled=message.disabled,
    )


def to_proto(app: App, secrets: Sequence[AppSecret] = ()) -> app_pb2.App:
    """Return the app as callers see it."""
    return app_pb2.App(
        corp_id=app.corp_id,
        agent_id=app.agent_id,
        name=app.fields.name,
        description=app.fields.description,
        rights=sorted(_PROTO_RIGHTS[right] for right in app.rights),
        visible_range=range_to_proto(app.fields.visible_range),
        disabled=app.fields.disabled,
        create_time=to_timestamp(app.create_time),
        update_time=to_timestamp(app.update_time),
        etag=str(app.change_number),
        secrets=[_secret_to_proto(secret) for secret in secrets],
    )


def range_to_proto(visible: AppRange) -> app_pb2.AppRange:
    """Return the range as callers see it."""
    return app_pb2.AppRange(
        user_ids=visible.user_ids,
        department_ids=visible.department_ids,
        tag_ids=visible.tag_ids,
    )


def _secret_to_proto(secret: AppSecret) -> app_pb2.AppSecret:
    expire_time = secret.expire_time
    return app_pb2.AppSecret(
        secret_id=str(secret.secret_id),
        create_time=to_timestamp(secret.create_time),
        expire_time=None if expire_time is None else to_timestamp(expire_time),
    )
