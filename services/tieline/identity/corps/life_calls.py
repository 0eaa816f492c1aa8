"""Suspends, resumes, deletes and brings back corps."""

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from google.protobuf.message import Message

from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.calls import current_call, current_principal
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.etags import check_etag
from tieline.chassis.idempotency import answered_once
from tieline.chassis.outbox import Event, build_event
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import PrincipalKind
from tieline.identity.acts import record_act
from tieline.identity.corps.corp_calls import CORP_UPDATED
from tieline.identity.corps.life import (
    call_off_deletion,
    check_may_delete,
    check_reason,
    request_deletion,
    resume,
    suspend,
)
from tieline.identity.corps.messages import to_corp
from tieline.identity.corps.rules import Corp, corp_not_found_error
from tieline.identity.repositories import SCHEMA, corps
from tieline.identity.sessions.revocations import revoke_corp_tokens

CORP_SUSPENDED = "tieline.identity.v1.corp_suspended"
CORP_RESUMED = "tieline.identity.v1.corp_resumed"
CORP_DELETION_REQUESTED = "tieline.identity.v1.corp_deletion_requested"

M = TypeVar("M", bound=Message)

# What an act makes of a corp at a time; the same object where it changes nothing.
Change = Callable[[Corp, dt.datetime], Corp]


class CorpLifeCalls:
    """The calls that decide whether a corp's people can sign in."""

    def __init__(self, pool: Pool, *, deletion_grace: dt.timedelta) -> None:
        self._pool = pool
        self._deletion_grace = deletion_grace

    async def suspend(
        self, request: identity_service_pb2.SuspendCorpRequest
    ) -> identity_service_pb2.SuspendCorpResponse:
        """Stop the corp's people from signing in, at most once per request id."""
        corp_id = current_principal().require_corp(request.corp_id)
        check_reason(request.reason)

        async def act(connection: Connection) -> identity_service_pb2.SuspendCorpResponse:
            corp = await _change(
                connection,
                corp_id,
                lambda corp, now: suspend(corp, request.reason, now),
                action="corp.suspend",
                details={"reason": request.reason},
                build=lambda corp: build_event(
                    CORP_SUSPENDED, corp_id, corp_id, identity_pb2.CorpSuspended(corp=to_corp(corp))
                ),
                signs_out=True,
            )
            return identity_service_pb2.SuspendCorpResponse(corp=to_corp(corp))

        return await self._answer(request, identity_service_pb2.SuspendCorpResponse, act)

    async def resume(
        self, request: identity_service_pb2.ResumeCorpRequest
    ) -> identity_service_pb2.ResumeCorpResponse:
        """Let the corp's people sign in again, at most once per request id."""
        corp_id = current_principal().require_corp(request.corp_id)

        async def act(connection: Connection) -> identity_service_pb2.ResumeCorpResponse:
            corp = await _change(
                connection,
                corp_id,
                lambda corp, _: resume(corp),
                action="corp.resume",
                build=lambda corp: build_event(
                    CORP_RESUMED, corp_id, corp_id, identity_pb2.CorpResumed(corp=to_corp(corp))
                ),
            )
            return identity_service_pb2.ResumeCorpResponse(corp=to_corp(corp))

        return await self._answer(request, identity_service_pb2.ResumeCorpResponse, act)

    async def delete(
        self, request: identity_service_pb2.DeleteCorpRequest
    ) -> identity_service_pb2.DeleteCorpResponse:
        """Ask for the corp's deletion, at most once per request id."""
        principal = current_principal()
        if not request.corp_id:
            raise InvalidArgumentError({"corp_id": "must name the corp, the own one too"})
        corp_id = principal.require_corp(request.corp_id)
        check_may_delete(principal, corp_id, current_call().method)

        async def act(connection: Connection) -> identity_service_pb2.DeleteCorpResponse:
            corp = await _change(
                connection,
                corp_id,
                lambda corp, now: request_deletion(corp, now, self._deletion_grace),
                action="corp.delete",
                etag=request.etag,
                build=lambda corp: build_event(
                    CORP_DELETION_REQUESTED,
                    corp_id,
                    corp_id,
                    identity_pb2.CorpDeletionRequested(corp=to_corp(corp)),
                ),
                signs_out=True,
            )
            return identity_service_pb2.DeleteCorpResponse(corp=to_corp(corp))

        own = principal.kind is not PrincipalKind.PLATFORM_ADMINISTRATOR
        return await self._answer(
            request,
            identity_service_pb2.DeleteCorpResponse,
            act,
            log=corp_id if own else PLATFORM_LOG,
        )

    async def undelete(
        self, request: identity_service_pb2.UndeleteCorpRequest
    ) -> identity_service_pb2.UndeleteCorpResponse:
        """Call the corp's deletion off, at most once per request id."""
        corp_id = current_principal().require_corp(request.corp_id)

        async def act(connection: Connection) -> identity_service_pb2.UndeleteCorpResponse:
            corp = await _change(
                connection,
                corp_id,
                call_off_deletion,
                action="corp.undelete",
                build=lambda corp: build_event(
                    CORP_UPDATED, corp_id, corp_id, identity_pb2.CorpUpdated(corp=to_corp(corp))
                ),
            )
            return identity_service_pb2.UndeleteCorpResponse(corp=to_corp(corp))

        return await self._answer(request, identity_service_pb2.UndeleteCorpResponse, act)

    async def _answer(
        self,
        request: Message,
        response_type: type[M],
        act: Callable[[Connection], Awaitable[M]],
        *,
        log: str = PLATFORM_LOG,
    ) -> M:
        return await answered_once(self._pool, SCHEMA, request, response_type, act, corp_id=log)


async def _change(
    connection: Connection,
    corp_id: str,
    change: Change,
    *,
    action: str,
    build: Callable[[Corp], Event],
    details: Mapping[str, str] | None = None,
    etag: str = "",
    signs_out: bool = False,
) -> Corp:
    """Change the corp under its lock and write that down; return it as it is then."""
    corp, now = await corps.lock_corp(connection, corp_id)
    if corp is None:
        raise corp_not_found_error(corp_id)
    check_etag(etag, corp.change_number)
    changed = change(corp, now)
    if changed is corp:
        return corp
    changed = await corps.update_corp(connection, changed)
    revoked = await revoke_corp_tokens(connection, corp_id) if signs_out else []
    await record_act(
        connection,
        corp_id=corp_id,
        action=action,
        resource=f"corps/{corp_id}",
        details=details,
        events=[build(changed), *revoked],
    )
    return changed
