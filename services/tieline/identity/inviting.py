"""CreateInvitations: codes for members whom the directory knows."""

from collections.abc import Awaitable, Callable, Sequence

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.chassis.broker import Broker
from tieline.chassis.calls import current_call
from tieline.chassis.fields import to_timestamp
from tieline.chassis.idempotency import answer_once
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.chassis.principals import Principal
from tieline.chassis.requests import ask
from tieline.identity.corps import corp_not_found
from tieline.identity.invitations import (
    InvitationCodes,
    check_may_invite,
    check_nobody_missing,
    check_user_ids,
    hash_code,
)
from tieline.identity.repositories import SCHEMA, corps, invitations

FIND_MISSING_MEMBERS = "requests.directory.v1.find_missing_members"


class _NotAnsweredYetError(Exception):
    """The request is no repeat."""


class Inviting:
    """Makes invitations."""

    def __init__(self, pool: Pool, broker: Broker, codes: InvitationCodes) -> None:
        self._pool = pool
        self._broker = broker
        self._codes = codes

    async def invite(
        self, principal: Principal, request: identity_service_pb2.CreateInvitationsRequest
    ) -> identity_service_pb2.CreateInvitationsResponse:
        """Invite the members; a repeat returns the first answer whatever became of them since."""
        corp_id = principal.require_corp(request.corp_id)
        check_user_ids(request.user_ids)
        work = _Invitations(self._codes, principal, corp_id, request)
        try:
            async with transaction(self._pool) as connection:
                response = await work.find_first_answer(connection)
        except _NotAnsweredYetError:
            # Asked while no connection is held: the directory may take its time.
            await self._check_members(principal, corp_id, work.user_ids)
            async with transaction(self._pool) as connection:
                response = await work.answer(connection)
        for invitation in response.invitations:
            invitation.code = work.derive_code(invitation.user_id)
        return response

    async def _check_members(
        self, principal: Principal, corp_id: str, user_ids: Sequence[str]
    ) -> None:
        async with self._pool.acquire() as connection:
            corp = await corps.find_corp(connection, corp_id)
        if corp is None:
            raise corp_not_found(corp_id)
        check_may_invite(principal, user_ids, corp.owner_user_id, current_call().method)
        # The owner has an account from the start, perhaps before the directory has heard of it.
        others = [user_id for user_id in user_ids if user_id != corp.owner_user_id]
        if not others:
            return
        response = await ask(
            self._broker,
            FIND_MISSING_MEMBERS,
            directory_requests_pb2.FindMissingMembersRequest(corp_id=corp_id, user_ids=others),
            directory_requests_pb2.FindMissingMembersResponse,
        )
        check_nobody_missing(response.missing_user_ids)


class _Invitations:
    """One request's invitations."""

    def __init__(
        self,
        codes: InvitationCodes,
        principal: Principal,
        corp_id: str,
        request: identity_service_pb2.CreateInvitationsRequest,
    ) -> None:
        self._codes = codes
        self._principal_id = principal.id
        self._corp_id = corp_id
        self._request = request
        self.user_ids = [user_id.lower() for user_id in request.user_ids]

    def derive_code(self, user_id: str) -> str:
        """Return the member's code; the request's id was checked before."""
        return self._codes.derive(
            self._request.request_id, self._principal_id, self._corp_id, user_id
        )

    async def find_first_answer(
        self, connection: Connection
    ) -> identity_service_pb2.CreateInvitationsResponse:
        """Return the first answer, or raise _NotAnsweredYetError and so undo the claim."""

        async def refuse() -> identity_service_pb2.CreateInvitationsResponse:
            raise _NotAnsweredYetError

        return await self._answer_once(connection, refuse)

    async def answer(
        self, connection: Connection
    ) -> identity_service_pb2.CreateInvitationsResponse:
        """Return the first answer, which is made now unless a concurrent repeat was faster."""

        async def insert() -> identity_service_pb2.CreateInvitationsResponse:
            return await self._insert(connection)

        return await self._answer_once(connection, insert)

    async def _answer_once(
        self,
        connection: Connection,
        act: Callable[[], Awaitable[identity_service_pb2.CreateInvitationsResponse]],
    ) -> identity_service_pb2.CreateInvitationsResponse:
        return await answer_once(
            connection,
            SCHEMA,
            corp_id=self._corp_id,
            principal_id=self._principal_id,
            request_id=self._request.request_id,
            request=self._request,
            response_type=identity_service_pb2.CreateInvitationsResponse,
            act=act,
        )

    async def _insert(
        self, connection: Connection
    ) -> identity_service_pb2.CreateInvitationsResponse:
        """Insert the invitations; the response is stored and so is without the codes."""
        code_hashes = {user_id: hash_code(self.derive_code(user_id)) for user_id in self.user_ids}
        expire_time = to_timestamp(
            await invitations.replace_invitations(connection, self._corp_id, code_hashes)
        )
        return identity_service_pb2.CreateInvitationsResponse(
            invitations=[
                identity_pb2.Invitation(user_id=user_id, expire_time=expire_time)
                for user_id in self.user_ids
            ]
        )
