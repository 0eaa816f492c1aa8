"""AppService: translates between the wire and what is done to apps."""

import datetime as dt
import uuid

from tieline.api.identity.v1 import (
    app_pb2,
    app_service_pb2,
    app_service_pb2_grpc,
    corp_link_pb2,
)
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_principal
from tieline.chassis.fields import is_uuid, raise_violations, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.identity.apps.changes import add_secret, change_app, create_app, delete_app, end_secret
from tieline.identity.apps.messages import read_fields, to_proto
from tieline.identity.apps.rules import (
    App,
    app_not_found_error,
    check_app,
    check_may_grant,
    check_overlap,
)
from tieline.identity.apps.secrets import AppSecrets, hash_secret
from tieline.identity.apps.tokens import AppTokens
from tieline.identity.links.messages import LINK_KINDS
from tieline.identity.reading import require_reading
from tieline.identity.repositories import SCHEMA, apps

_DEFAULT_PAGE_SIZE = 100
_MAX_PAGE_SIZE = 300


class AppServicer(app_service_pb2_grpc.AppServiceServicer):
    """The calls of AppService."""

    def __init__(
        self, pool: Pool, page_tokens: PageTokens, secrets: AppSecrets, tokens: AppTokens
    ) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._secrets = secrets
        self._tokens = tokens

    async def CreateApp(
        self, request: app_service_pb2.CreateAppRequest, context: Context
    ) -> app_service_pb2.CreateAppResponse:
        """Create an app with its first secret, at most once per request id."""
        principal, corp_id = _administer(request.corp_id)
        fields = check_app(read_fields(request.app))
        check_may_grant(principal, corp_id, [right for right in fields.rights if right])

        async def act(connection: Connection) -> app_service_pb2.CreateAppResponse:
            app = await create_app(connection, corp_id, fields)
            secret = self._derive(request.request_id, principal, app.agent_id)
            await _add_secret(connection, principal, app, secret, dt.timedelta())
            return app_service_pb2.CreateAppResponse(app=await _describe(connection, app))

        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            app_service_pb2.CreateAppResponse,
            act,
            corp_id=corp_id,
        )
        # Not in the stored answer: the database never sees it.
        response.secret = self._derive(request.request_id, principal, response.app.agent_id)
        return response

    async def GetApp(
        self, request: app_service_pb2.GetAppRequest, context: Context
    ) -> app_service_pb2.GetAppResponse:
        """Return an app."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        agent_id = request.agent_id
        if principal.kind is PrincipalKind.APP:
            agent_id = agent_id or int(principal.id)
        if principal.kind is not PrincipalKind.APP or str(agent_id) != principal.id:
            require_reading(principal, Right.MANAGE_APPS, corp_id)
        async with self._pool.acquire() as connection:
            app = await apps.find_app(connection, corp_id, agent_id)
            if app is None:
                raise app_not_found_error(agent_id)
            return app_service_pb2.GetAppResponse(app=await _describe(connection, app))

    async def ListApps(
        self, request: app_service_pb2.ListAppsRequest, context: Context
    ) -> app_service_pb2.ListAppsResponse:
        """List the corp's apps."""
        corp_id = require_reading(current_principal(), Right.MANAGE_APPS, request.corp_id)
        size = page_size(request.page_size, default=_DEFAULT_PAGE_SIZE, maximum=_MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            rows = await apps.list_apps(
                connection,
                corp_id,
                after=0 if position is None else int(position[0]),
                maximum_rows=size + 1,
            )
            page, next_page_token = self._page_tokens.cut(
                rows, size, request, lambda app: [app.agent_id]
            )
            secrets = await apps.list_secrets(connection, corp_id, [app.agent_id for app in page])
        return app_service_pb2.ListAppsResponse(
            apps=[to_proto(app, secrets[app.agent_id]) for app in page],
            next_page_token=next_page_token,
        )

    async def UpdateApp(
        self, request: app_service_pb2.UpdateAppRequest, context: Context
    ) -> app_service_pb2.UpdateAppResponse:
        """Change fields of an app, at most once per request id."""
        principal, corp_id = _administer(request.corp_id)
        given = request.app

        async def act(connection: Connection) -> app_service_pb2.UpdateAppResponse:
            app = await change_app(
                connection,
                principal,
                (corp_id, given.agent_id),
                read_fields(given),
                frozenset(request.update_mask.paths),
                given.etag,
            )
            return app_service_pb2.UpdateAppResponse(app=await _describe(connection, app))

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            app_service_pb2.UpdateAppResponse,
            act,
            corp_id=corp_id,
        )

    async def DeleteApp(
        self, request: app_service_pb2.DeleteAppRequest, context: Context
    ) -> app_service_pb2.DeleteAppResponse:
        """Delete an app, at most once per request id."""
        _, corp_id = _administer(request.corp_id)

        async def act(connection: Connection) -> app_service_pb2.DeleteAppResponse:
            await delete_app(connection, corp_id, request.agent_id)
            return app_service_pb2.DeleteAppResponse()

        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            app_service_pb2.DeleteAppResponse,
            act,
            corp_id=corp_id,
        )

    async def RotateAppSecret(
        self, request: app_service_pb2.RotateAppSecretRequest, context: Context
    ) -> app_service_pb2.RotateAppSecretResponse:
        """Make a new secret, at most once per request id."""
        principal, corp_id = _administer(request.corp_id)
        given = request.overlap
        overlap = check_overlap(
            given.seconds + given.nanos / 1e9 if request.HasField("overlap") else None
        )

        async def act(connection: Connection) -> app_service_pb2.RotateAppSecretResponse:
            app = await apps.find_app(connection, corp_id, request.agent_id)
            if app is None:
                raise app_not_found_error(request.agent_id)
            secret = self._derive(request.request_id, principal, app.agent_id)
            await _add_secret(connection, principal, app, secret, overlap)
            return app_service_pb2.RotateAppSecretResponse(app=await _describe(connection, app))

        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            app_service_pb2.RotateAppSecretResponse,
            act,
            corp_id=corp_id,
        )
        response.secret = self._derive(request.request_id, principal, request.agent_id)
        return response

    async def RevokeAppSecret(
        self, request: app_service_pb2.RevokeAppSecretRequest, context: Context
    ) -> app_service_pb2.RevokeAppSecretResponse:
        """End a secret now."""
        _, corp_id = _administer(request.corp_id)
        if not is_uuid(request.secret_id):
            raise_violations({"secret_id": "must be the id of a secret"})
        async with transaction(self._pool) as connection:
            app = await end_secret(
                connection, corp_id, request.agent_id, uuid.UUID(request.secret_id)
            )
            return app_service_pb2.RevokeAppSecretResponse(app=await _describe(connection, app))

    async def CreateAppToken(
        self, request: app_service_pb2.CreateAppTokenRequest, context: Context
    ) -> app_service_pb2.CreateAppTokenResponse:
        """Give a token for a secret."""
        app, token = await self._tokens.create(
            request.corp_id, request.secret, request.agent_id or None
        )
        return app_service_pb2.CreateAppTokenResponse(
            access_token=token.text,
            expire_time=to_timestamp(token.expire_time),
            agent_id=app.agent_id,
        )

    async def CreateLinkedCorpToken(
        self, request: app_service_pb2.CreateLinkedCorpTokenRequest, context: Context
    ) -> app_service_pb2.CreateLinkedCorpTokenResponse:
        """Give the calling app a token for a linked corp."""
        principal = current_principal()
        principal.require_corp(request.corp_id)
        violations: dict[str, str] = {}
        if not request.linked_corp_id:
            violations["linked_corp_id"] = "must name the corp to read in"
        if request.kind not in corp_link_pb2.CorpLinkKind.values():
            violations["kind"] = "must be one of the kinds of links, or unspecified"
        raise_violations(violations)
        link, token = await self._tokens.create_linked(
            principal, request.linked_corp_id, LINK_KINDS.get(request.kind)
        )
        return app_service_pb2.CreateLinkedCorpTokenResponse(
            access_token=token.text,
            expire_time=to_timestamp(token.expire_time),
            link_id=link.link_id,
        )

    def _derive(self, request_id: str, principal: Principal, agent_id: int) -> str:
        return self._secrets.derive(request_id, principal.id, principal.corp_id, agent_id)


def _administer(corp_id: str) -> tuple[Principal, str]:
    """Return the caller and the corp whose apps the caller may administer."""
    principal = current_principal()
    corp_id = principal.require_corp(corp_id)
    require(principal, Right.MANAGE_APPS, Resource(corp_id))
    return principal, corp_id


async def _add_secret(
    connection: Connection, principal: Principal, app: App, secret: str, overlap: dt.timedelta
) -> None:
    secret_hash = hash_secret(secret)
    assert secret_hash is not None, "a derived secret has the form of one"
    await add_secret(connection, principal, (app.corp_id, app.agent_id), secret_hash, overlap)


async def _describe(connection: Connection, app: App) -> app_pb2.App:
    secrets = await apps.list_secrets(connection, app.corp_id, [app.agent_id])
    return to_proto(app, secrets[app.agent_id])
