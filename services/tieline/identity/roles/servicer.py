"""RoleService: translates between the wire and the rules of roles."""

from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import role_service_pb2, role_service_pb2_grpc
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_call, current_principal
from tieline.chassis.errors import PermissionDeniedError
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import check_user_id, raise_violations
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.page_tokens import PageTokens, page_size
from tieline.chassis.postgres import Connection, Pool
from tieline.identity.acts import record_act
from tieline.identity.corps.corp_calls import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, record_corp_update
from tieline.identity.corps.messages import optional_timestamp, to_corp
from tieline.identity.corps.rules import Corp, corp_not_found_error
from tieline.identity.members import MemberLookup
from tieline.identity.repositories import SCHEMA, accounts, corps, role_grants
from tieline.identity.roles.invitations import check_nobody_missing
from tieline.identity.roles.ownership_calls import OwnershipCalls
from tieline.identity.roles.rules import (
    Grant,
    Role,
    check_can_own,
    check_grant,
    check_grant_count,
    check_not_owner,
    role_grant_not_found_error,
)
from tieline.identity.sessions.revocations import revoke_member_tokens

_ROLES = {
    role_service_pb2.CORP_ROLE_ADMINISTRATOR: Role.ADMINISTRATOR,
    role_service_pb2.CORP_ROLE_AUDITOR: Role.AUDITOR,
}
_PROTO_ROLES = {role: number for number, role in _ROLES.items()}
_RIGHT_PREFIX = "RIGHT_"


class RoleServicer(role_service_pb2_grpc.RoleServiceServicer):
    """Answers the calls about roles."""

    def __init__(
        self,
        pool: Pool,
        members: MemberLookup,
        page_tokens: PageTokens,
        ownership: OwnershipCalls,
    ) -> None:
        self._pool = pool
        self._members = members
        self._page_tokens = page_tokens
        self._ownership = ownership

    async def TransferOwnership(
        self, request: role_service_pb2.TransferOwnershipRequest, context: Context
    ) -> role_service_pb2.TransferOwnershipResponse:
        """Make another member the owner, at most once per request id."""
        corp_id = _require_corp(request.corp_id, Right.MANAGE_ROLES)
        user_id = _read_user_id(request.user_id)
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            role_service_pb2.TransferOwnershipResponse,
            lambda connection: _transfer(connection, corp_id, user_id),
            corp_id=corp_id,
            prepare=lambda: self._check_new_owner(corp_id, user_id),
        )

    async def RecoverOwnership(
        self, request: role_service_pb2.RecoverOwnershipRequest, context: Context
    ) -> role_service_pb2.RecoverOwnershipResponse:
        """Give a corp an owner who can sign in, at most once per request id."""
        return await self._ownership.recover(request)

    async def GrantRole(
        self, request: role_service_pb2.GrantRoleRequest, context: Context
    ) -> role_service_pb2.GrantRoleResponse:
        """Grant a role to somebody whom the directory knows, at most once per request id."""
        corp_id = _require_corp(request.corp_id, Right.MANAGE_ROLES)
        grant = _read_grant(request.grant)
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            role_service_pb2.GrantRoleResponse,
            lambda connection: _grant(connection, corp_id, grant, request.grant.etag),
            corp_id=corp_id,
            prepare=lambda: self._check_member(corp_id, grant.user_id),
        )

    async def RevokeRole(
        self, request: role_service_pb2.RevokeRoleRequest, context: Context
    ) -> role_service_pb2.RevokeRoleResponse:
        """Take a role away, at most once per request id."""
        corp_id = _require_corp(request.corp_id, Right.MANAGE_ROLES)
        user_id = _read_user_id(request.user_id)
        role = _ROLES.get(request.role)
        if role is None:
            raise_violations({"role": "must be one of the roles"})
        assert role is not None, "the violation is raised"
        return await answered_once(
            self._pool,
            SCHEMA,
            request,
            role_service_pb2.RevokeRoleResponse,
            lambda connection: _revoke(connection, corp_id, user_id, role, request.etag),
            corp_id=corp_id,
        )

    async def ListRoleGrants(
        self, request: role_service_pb2.ListRoleGrantsRequest, context: Context
    ) -> role_service_pb2.ListRoleGrantsResponse:
        """Return a page of the corp's administrators and auditors."""
        corp_id = _require_corp(request.corp_id, Right.READ_AUDIT_LOG)
        size = page_size(request.page_size, default=DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        position = self._page_tokens.decode(request.page_token, request)
        user_id, role = ("", "") if position is None else map(str, position)
        async with self._pool.acquire() as connection:
            found = await role_grants.list_grants(connection, corp_id, (user_id, role), size + 1)
        page, next_page_token = self._page_tokens.cut(
            found, size, request, lambda grant: [grant.user_id, grant.role.value]
        )
        return role_service_pb2.ListRoleGrantsResponse(
            grants=map(_to_proto, page), next_page_token=next_page_token
        )

    async def _check_member(self, corp_id: str, user_id: str) -> None:
        if not await self._members.is_member(corp_id, user_id):
            check_nobody_missing([user_id])

    async def _check_new_owner(self, corp_id: str, user_id: str) -> None:
        # The owner to whom nothing is given need not be known to the directory yet.
        if user_id != current_principal().id:
            await self._check_member(corp_id, user_id)


async def _transfer(
    connection: Connection, corp_id: str, user_id: str
) -> role_service_pb2.TransferOwnershipResponse:
    former_user_id = current_principal().id
    corp = await _lock_owned_corp(connection, corp_id, former_user_id, user_id)
    account = await accounts.find_account(connection, corp_id, user_id)
    check_can_own(user_id, None if account is None else account.state)
    if user_id == corp.owner_user_id:
        return role_service_pb2.TransferOwnershipResponse(corp=to_corp(corp))
    await role_grants.delete_member_grants(connection, corp_id, user_id)
    await role_grants.transfer_ownership(connection, corp_id, former_user_id, user_id)
    corp = await corps.update_owner(connection, corp_id, user_id)
    await record_corp_update(
        connection,
        corp,
        "ownership.transfer",
        {"from": former_user_id, "to": user_id},
        [
            *await revoke_member_tokens(connection, corp_id, former_user_id),
            *await revoke_member_tokens(connection, corp_id, user_id),
        ],
    )
    return role_service_pb2.TransferOwnershipResponse(corp=to_corp(corp))


async def _grant(
    connection: Connection, corp_id: str, grant: Grant, etag: str
) -> role_service_pb2.GrantRoleResponse:
    corp = await _lock_owned_corp(connection, corp_id, grant.user_id)
    check_not_owner(grant.user_id, corp.owner_user_id)
    known = await role_grants.find_grant(connection, corp_id, grant.user_id, grant.role)
    check_etag(etag, "" if known is None else known.etag)
    if known is None:
        check_grant_count(await role_grants.count_grants(connection, corp_id))
    stored = await role_grants.upsert_grant(connection, corp_id, grant)
    await record_act(
        connection,
        corp_id=corp_id,
        action="role.grant",
        resource=f"members/{grant.user_id}",
        details={
            "role": grant.role,
            "rights": " ".join(sorted(grant.rights)),
            "departments": _describe_departments(grant.department_ids),
        },
        events=await revoke_member_tokens(connection, corp_id, grant.user_id),
    )
    return role_service_pb2.GrantRoleResponse(grant=_to_proto(stored))


async def _revoke(
    connection: Connection, corp_id: str, user_id: str, role: Role, etag: str
) -> role_service_pb2.RevokeRoleResponse:
    await _lock_owned_corp(connection, corp_id, user_id)
    known = await role_grants.find_grant(connection, corp_id, user_id, role)
    if known is None:
        raise role_grant_not_found_error(user_id)
    check_etag(etag, known.etag)
    await role_grants.delete_grant(connection, corp_id, user_id, role)
    await record_act(
        connection,
        corp_id=corp_id,
        action="role.revoke",
        resource=f"members/{user_id}",
        details={"role": role},
        events=await revoke_member_tokens(connection, corp_id, user_id),
    )
    return role_service_pb2.RevokeRoleResponse()


async def _lock_owned_corp(connection: Connection, corp_id: str, *user_ids: str) -> Corp:
    """Lock the corp and see that the caller owns it now, whatever the token says.

    The accounts of those concerned are locked before it, as signing in locks them: in the other
    order the two would wait for each other.
    """
    for user_id in sorted(set(user_ids)):
        await accounts.lock_account_alone(connection, corp_id, user_id)
    corp, _ = await corps.lock_corp(connection, corp_id)
    if corp is None:
        raise corp_not_found_error(corp_id)
    if corp.owner_user_id != current_principal().id:
        raise PermissionDeniedError(
            "CALLER_NOT_ALLOWED",
            "the caller does not own the corp any more",
            {"method": current_call().method},
        )
    return corp


def _require_corp(corp_id: str, right: Right) -> str:
    principal = current_principal()
    corp_id = principal.require_corp(corp_id)
    require(principal, right, Resource(corp_id))
    return corp_id


def _read_user_id(user_id: str) -> str:
    violations: dict[str, str] = {}
    check_user_id(user_id, "user_id", violations)
    raise_violations(violations)
    return user_id.lower()


def _read_grant(message: role_service_pb2.RoleGrant) -> Grant:
    role = _ROLES.get(message.role)
    rights = [_read_right(right) for right in message.rights]
    check_grant(message.user_id, role, rights, message.department_ids)
    assert role is not None, "a checked grant has a role"
    return Grant(
        user_id=message.user_id.lower(),
        role=role,
        rights=frozenset(right for right in rights if right is not None),
        department_ids=tuple(message.department_ids),
        granter_user_id=current_principal().id,
    )


def _read_right(number: "access_pb2.Right.ValueType") -> Right | None:
    if number not in access_pb2.Right.values() or number == access_pb2.RIGHT_UNSPECIFIED:
        return None
    return Right[access_pb2.Right.Name(number).removeprefix(_RIGHT_PREFIX)]


def _describe_departments(department_ids: tuple[int, ...]) -> str:
    return " ".join(map(str, department_ids)) or "all"


def _to_proto(grant: Grant) -> role_service_pb2.RoleGrant:
    return role_service_pb2.RoleGrant(
        user_id=grant.user_id,
        role=_PROTO_ROLES[grant.role],
        rights=[
            access_pb2.Right.Value(f"{_RIGHT_PREFIX}{right.name}") for right in sorted(grant.rights)
        ],
        department_ids=grant.department_ids,
        grant_time=optional_timestamp(grant.grant_time),
        granter_user_id=grant.granter_user_id,
        etag=grant.etag,
    )
