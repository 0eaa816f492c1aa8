"""CreateInvitations: codes for members whom the directory knows, and how long they are good."""

from collections.abc import Mapping, Sequence

from tieline.api.directory.v1 import directory_requests_pb2
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.broker import Broker
from tieline.chassis.calls import current_call, current_principal
from tieline.chassis.fields import to_timestamp
from tieline.chassis.idempotency import answered_once
from tieline.chassis.postgres import Connection, Pool
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.requests import ask
from tieline.identity.acts import record_act
from tieline.identity.corps.rules import corp_not_found_error
from tieline.identity.repositories import (
    SCHEMA,
    accounts,
    corps,
    invitations,
    platform_administrators,
    role_grants,
)
from tieline.identity.repositories.accounts import Account
from tieline.identity.roles.invitations import (
    InvitationCodes,
    Inviter,
    check_may_invite,
    check_nobody_missing,
    check_user_ids,
    describe_invited,
    hash_code,
    may_still_invite,
)
from tieline.identity.sessions.issuer import (
    build_member,
    build_platform_administrator,
    with_stored_grants,
)


class Inviting:
    """Makes invitations."""

    def __init__(self, pool: Pool, broker: Broker, codes: InvitationCodes) -> None:
        self._pool = pool
        self._broker = broker
        self._codes = codes

    async def invite(
        self, request: identity_service_pb2.CreateInvitationsRequest
    ) -> identity_service_pb2.CreateInvitationsResponse:
        """Invite the members; a repeat returns the first answer whatever became of them since."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        require(principal, Right.MANAGE_SIGN_IN, Resource(corp_id))
        check_user_ids(request.user_ids)
        user_ids = [user_id.lower() for user_id in request.user_ids]

        def derive_code(user_id: str) -> str:
            return self._codes.derive(request.request_id, principal.id, corp_id, user_id)

        async def insert(
            connection: Connection,
        ) -> identity_service_pb2.CreateInvitationsResponse:
            code_hashes = {user_id: hash_code(derive_code(user_id)) for user_id in user_ids}
            return await _insert_invitations(connection, corp_id, code_hashes, principal)

        response = await answered_once(
            self._pool,
            SCHEMA,
            request,
            identity_service_pb2.CreateInvitationsResponse,
            insert,
            corp_id=corp_id,
            prepare=lambda: self._check_members(principal, corp_id, user_ids),
        )
        for invitation in response.invitations:
            invitation.code = derive_code(invitation.user_id)
        return response

    async def _check_members(
        self, principal: Principal, corp_id: str, user_ids: Sequence[str]
    ) -> None:
        async with self._pool.acquire() as connection:
            corp = await corps.find_corp(connection, corp_id)
            if corp is None:
                raise corp_not_found_error(corp_id)
            in_charge = await role_grants.list_members_with_grants(connection, corp_id, user_ids)
        check_may_invite(
            principal, user_ids, {corp.owner_user_id, *in_charge}, current_call().method
        )
        # The owner has an account from the start, perhaps before the directory has heard of it.
        others = [user_id for user_id in user_ids if user_id != corp.owner_user_id]
        if not others:
            return
        response = await ask(
            self._broker,
            "directory",
            "find_missing_members",
            directory_requests_pb2.FindMissingMembersRequest(corp_id=corp_id, user_ids=others),
            directory_requests_pb2.FindMissingMembersResponse,
        )
        check_nobody_missing(response.missing_user_ids)


async def _insert_invitations(
    connection: Connection, corp_id: str, code_hashes: Mapping[str, bytes], inviter: Principal
) -> identity_service_pb2.CreateInvitationsResponse:
    """Insert them; the response is stored as the first answer and so is without the codes."""
    expire_time = to_timestamp(
        await invitations.replace_invitations(connection, corp_id, code_hashes, inviter)
    )
    for resource, details in describe_invited(list(code_hashes)):
        await record_act(
            connection,
            corp_id=corp_id,
            action="invitation.create",
            resource=resource,
            details=details,
        )
    return identity_service_pb2.CreateInvitationsResponse(
        invitations=[
            identity_pb2.Invitation(user_id=user_id, expire_time=expire_time)
            for user_id in code_hashes
        ]
    )


async def is_still_invited(
    connection: Connection, key: tuple[str, str], account: Account, inviter: Inviter | None
) -> bool:
    """Tell whether who made the member's invitation may make it now. The account is locked."""
    if inviter is None:
        return True
    corp_id, user_id = key
    principal = await _find_inviter(connection, corp_id, inviter)
    if principal is None:
        return False
    invited = await with_stored_grants(connection, build_member(corp_id, user_id, account))
    return may_still_invite(principal, corp_id, is_in_charge=bool(invited.roles))


async def _find_inviter(connection: Connection, corp_id: str, inviter: Inviter) -> Principal | None:
    """Return the inviter with the rights of this moment; None for one who is gone or disabled."""
    if inviter.kind is PrincipalKind.PLATFORM_ADMINISTRATOR:
        known = await platform_administrators.find_password_hash(connection, inviter.id)
        return None if known is None else build_platform_administrator(inviter.id)
    account = await accounts.find_account(connection, corp_id, inviter.id)
    if account is None or not account.is_active:
        return None
    return await with_stored_grants(connection, build_member(corp_id, inviter.id, account))
