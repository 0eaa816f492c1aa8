"""RecoverOwnership: an owner who can sign in, for a corp whose owner can't any more."""

from tieline.api.identity.v1 import identity_pb2, role_service_pb2
from tieline.chassis.audit import PLATFORM_LOG
from tieline.chassis.calls import current_principal
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import check_user_id, raise_violations, to_timestamp
from tieline.chassis.idempotency import answered_once
from tieline.chassis.outbox import Event
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import Principal
from tieline.identity.acts import record_act
from tieline.identity.corps.corp_calls import get_corp, record_corp_update
from tieline.identity.corps.life import check_reason
from tieline.identity.corps.messages import to_corp
from tieline.identity.corps.rules import corp_not_found_error
from tieline.identity.members import MemberLookup
from tieline.identity.repositories import (
    SCHEMA,
    accounts,
    corps,
    invitations,
    role_grants,
    second_factors,
)
from tieline.identity.roles.invitations import InvitationCodes, check_nobody_missing, hash_code
from tieline.identity.roles.rules import check_can_own
from tieline.identity.sessions.revocations import end_member_sessions, revoke_member_tokens

_ACTION = "ownership.recover"


class OwnershipCalls:
    """The platform's call about who owns a corp."""

    def __init__(self, pool: Pool, members: MemberLookup, codes: InvitationCodes) -> None:
        self._pool = pool
        self._members = members
        self._codes = codes

    async def recover(
        self, request: role_service_pb2.RecoverOwnershipRequest
    ) -> role_service_pb2.RecoverOwnershipResponse:
        """Invite the owner, or another member who is the owner from now on."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        check_reason(request.reason)
        user_id = _read_optional_user_id(request.user_id)
        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            role_service_pb2.RecoverOwnershipResponse,
            lambda connection: self._recover(connection, principal, corp_id, request),
            corp_id=PLATFORM_LOG,
            prepare=lambda: self._check_member(corp_id, user_id),
        )
        invitation = response.owner_invitation
        invitation.code = self._derive_code(principal, request, corp_id, invitation.user_id)
        return response

    async def _check_member(self, corp_id: str, user_id: str) -> None:
        async with self._pool.acquire() as connection:
            corp = await get_corp(connection, corp_id)
        # The owner may be invited before the directory has heard of them.
        is_owner = user_id in ("", corp.owner_user_id)
        if not is_owner and not await self._members.is_member(corp_id, user_id):
            check_nobody_missing([user_id])

    async def _recover(
        self,
        connection: Connection,
        principal: Principal,
        corp_id: str,
        request: role_service_pb2.RecoverOwnershipRequest,
    ) -> role_service_pb2.RecoverOwnershipResponse:
        """Do it; the response is stored as the first answer and so is without the code."""
        seen = await get_corp(connection, corp_id)
        former = seen.owner_user_id
        owner = request.user_id.lower() or former
        # Accounts before the corp, as signing in locks them.
        for user_id in sorted({former, owner}):
            await accounts.lock_account_alone(connection, corp_id, user_id)
        corp, _ = await corps.lock_corp(connection, corp_id)
        if corp is None:
            raise corp_not_found_error(corp_id)
        if corp.owner_user_id != former:
            check_etag(str(seen.change_number), corp.change_number)
        details = {"from": former, "to": owner, "reason": request.reason}
        events: list[Event] = []
        if owner == former:
            account = await accounts.find_account(connection, corp_id, owner)
        else:
            account, _ = await accounts.activate_account(
                connection, corp_id, owner, may_rejoin=True
            )
        check_can_own(owner, None if account is None else account.state)
        if request.reset_second_factor:
            details["second_factor"] = "reset"
            if await second_factors.delete_second_factor(connection, corp_id, owner):
                events += await end_member_sessions(connection, corp_id, owner)
        code = self._derive_code(principal, request, corp_id, owner)
        expire_time = await invitations.replace_invitations(
            connection, corp_id, {owner: hash_code(code)}, principal
        )
        if owner == former:
            await record_act(
                connection,
                corp_id=corp_id,
                action=_ACTION,
                resource=f"corps/{corp_id}",
                details=details,
                events=events,
            )
        else:
            await role_grants.delete_member_grants(connection, corp_id, owner)
            await role_grants.transfer_ownership(connection, corp_id, former, owner)
            corp = await corps.update_owner(connection, corp_id, owner)
            for user_id in (former, owner):
                events += await revoke_member_tokens(connection, corp_id, user_id)
            await record_corp_update(connection, corp, _ACTION, details, events)
        return role_service_pb2.RecoverOwnershipResponse(
            corp=to_corp(corp),
            owner_invitation=identity_pb2.Invitation(
                user_id=owner, expire_time=to_timestamp(expire_time)
            ),
        )

    def _derive_code(
        self,
        principal: Principal,
        request: role_service_pb2.RecoverOwnershipRequest,
        corp_id: str,
        user_id: str,
    ) -> str:
        return self._codes.derive(request.request_id, principal.id, corp_id, user_id)


def _read_optional_user_id(user_id: str) -> str:
    violations: dict[str, str] = {}
    if user_id:
        check_user_id(user_id, "user_id", violations)
    raise_violations(violations)
    return user_id.lower()
