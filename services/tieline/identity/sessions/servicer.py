"""SessionService: where somebody is signed in, and the end of that."""

import uuid

from tieline.api.identity.v1 import session_pb2, session_service_pb2, session_service_pb2_grpc
from tieline.chassis.calls import current_principal
from tieline.chassis.errors import NotFoundError
from tieline.chassis.fields import is_uuid, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.outbox import insert_events
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import Principal
from tieline.identity.repositories import SCHEMA, sessions
from tieline.identity.repositories.sessions import SignedInSession
from tieline.identity.sessions.audit import build_session_audit
from tieline.identity.sessions.device_messages import to_device
from tieline.identity.sessions.issuer import SessionIssuer, end_session
from tieline.identity.sessions.owners import (
    SessionOwner,
    find_session_corp,
    find_session_owner,
    may_end_session,
)
from tieline.identity.sessions.revocations import end_sessions

_DEFAULT_PAGE_SIZE = 50
_MAX_PAGE_SIZE = 200


class SessionServicer(session_service_pb2_grpc.SessionServiceServicer):
    """The calls of SessionService."""

    def __init__(self, pool: Pool, page_tokens: PageTokens, issuer: SessionIssuer) -> None:
        self._pool = pool
        self._page_tokens = page_tokens
        self._issuer = issuer

    async def ListSessions(
        self, request: session_service_pb2.ListSessionsRequest, context: Context
    ) -> session_service_pb2.ListSessionsResponse:
        """List somebody's sessions, the latest first."""
        caller = current_principal()
        owner = find_session_owner(caller, request.corp_id, request.user_id)
        size = page_size(request.page_size, default=_DEFAULT_PAGE_SIZE, maximum=_MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        async with self._pool.acquire() as connection:
            rows = await sessions.list_sessions(
                connection,
                owner.corp_id,
                owner.kind,
                owner.principal_id,
                before=None if position is None else uuid.UUID(str(position[0])),
                maximum_rows=size + 1,
            )
        page, next_page_token = self._page_tokens.cut(
            rows, size, request, lambda row: [str(row.session_id)]
        )
        return session_service_pb2.ListSessionsResponse(
            sessions=[_to_proto(session, caller) for session in page],
            next_page_token=next_page_token,
        )

    async def RevokeSession(
        self, request: session_service_pb2.RevokeSessionRequest, context: Context
    ) -> session_service_pb2.RevokeSessionResponse:
        """End one session."""
        caller = current_principal()
        corp_id = find_session_corp(caller, request.corp_id)
        async with transaction(self._pool) as connection:
            owner = await _find_owner(connection, corp_id, request.session_id)
            if owner is None or not may_end_session(caller, owner):
                raise NotFoundError(
                    "SESSION_NOT_FOUND", "no such session", {"sessionId": request.session_id}
                )
            await end_session(connection, owner, uuid.UUID(request.session_id), "revoke")
        return session_service_pb2.RevokeSessionResponse()

    async def RevokeAllSessions(
        self, request: session_service_pb2.RevokeAllSessionsRequest, context: Context
    ) -> session_service_pb2.RevokeAllSessionsResponse:
        """Sign somebody out everywhere."""
        caller = current_principal()
        owner = find_session_owner(
            caller, request.corp_id, request.user_id, keep_current=request.keep_current
        )
        async with transaction(self._pool) as connection:
            ended, events = await end_sessions(
                connection,
                owner.corp_id,
                owner.kind,
                owner.principal_id,
                keep=uuid.UUID(caller.session_id) if request.keep_current else None,
            )
            if ended:
                details = {"ended": str(ended)}
                events.append(await build_session_audit(connection, "revoke_all", owner, details))
                await insert_events(connection, SCHEMA, events)
        return session_service_pb2.RevokeAllSessionsResponse(ended_count=ended)

    async def SignOut(
        self, request: session_service_pb2.SignOutRequest, context: Context
    ) -> session_service_pb2.SignOutResponse:
        """End the session of a refresh token, if it is one's."""
        async with transaction(self._pool) as connection:
            await self._issuer.sign_out(connection, request.refresh_token)
        return session_service_pb2.SignOutResponse()


def _to_proto(session: SignedInSession, caller: Principal) -> session_pb2.DeviceSession:
    return session_pb2.DeviceSession(
        session_id=str(session.session_id),
        device=to_device(session.device),
        address=session.address,
        create_time=to_timestamp(session.create_time),
        refresh_time=to_timestamp(session.refresh_time),
        expire_time=to_timestamp(session.expire_time),
        current=str(session.session_id) == caller.session_id,
    )


async def _find_owner(connection: Connection, corp_id: str, session_id: str) -> SessionOwner | None:
    if not is_uuid(session_id):
        return None
    owner = await sessions.find_owner(connection, corp_id, uuid.UUID(session_id))
    return None if owner is None else SessionOwner(corp_id, *owner)
