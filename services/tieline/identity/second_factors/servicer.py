"""SecondFactorService: translates between the wire and the second factors."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tieline.api.identity.v1 import (
    second_factor_service_pb2,
    second_factor_service_pb2_grpc,
    sign_in_pb2,
)
from tieline.chassis.audit import PLATFORM_LOG, build_audit_event
from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.calls import current_call, current_principal
from tieline.chassis.errors import (
    FailedPreconditionError,
    NotFoundError,
)
from tieline.chassis.etags import check_etag
from tieline.chassis.fields import raise_violations, to_timestamp
from tieline.chassis.grpc_context import Context
from tieline.chassis.idempotency import answered_once
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection, Pool, transaction
from tieline.identity.corps.rules import find_account_key
from tieline.identity.repositories import SCHEMA, accounts, second_factors
from tieline.identity.roles.rules import check_may_reset
from tieline.identity.second_factors.factors import Key, SecondFactors, not_found_error
from tieline.identity.sessions.issuer import build_member, with_stored_grants
from tieline.identity.sessions.owners import find_session_corp
from tieline.identity.sessions.revocations import end_member_sessions
from tieline.identity.sign_in.policies import Requirement, SignInPolicy

_REQUIREMENTS = {
    sign_in_pb2.SECOND_FACTOR_REQUIREMENT_NONE: Requirement.NONE,
    sign_in_pb2.SECOND_FACTOR_REQUIREMENT_ADMINISTRATORS: Requirement.ADMINISTRATORS,
    sign_in_pb2.SECOND_FACTOR_REQUIREMENT_EVERYONE: Requirement.EVERYONE,
}
_PROTO_REQUIREMENTS = {requirement: number for number, requirement in _REQUIREMENTS.items()}
_POLICY_FIELDS = {"second_factor_requirement", "provider_counts_as_second_factor"}


class SecondFactorServicer(second_factor_service_pb2_grpc.SecondFactorServiceServicer):
    """Authenticators of members and platform administrators, and the corp's policy."""

    def __init__(self, pool: Pool, factors: SecondFactors, platform_policy: SignInPolicy) -> None:
        self._pool = pool
        self._factors = factors
        self._platform_policy = platform_policy

    async def CompleteSecondFactor(
        self, request: second_factor_service_pb2.CompleteSecondFactorRequest, context: Context
    ) -> second_factor_service_pb2.CompleteSecondFactorResponse:
        """Open the session that a challenge holds back."""
        completed = await self._factors.complete(request.challenge, request.code)
        return second_factor_service_pb2.CompleteSecondFactorResponse(
            session=completed.session, recovery_codes=completed.recovery_codes
        )

    async def BeginTotpEnrolmentAtSignIn(
        self,
        request: second_factor_service_pb2.BeginTotpEnrolmentAtSignInRequest,
        context: Context,
    ) -> second_factor_service_pb2.BeginTotpEnrolmentAtSignInResponse:
        """Begin the enrolment that a challenge requires."""
        return second_factor_service_pb2.BeginTotpEnrolmentAtSignInResponse(
            enrolment=await self._factors.begin_at_sign_in(request.challenge)
        )

    async def GetSecondFactor(
        self, request: second_factor_service_pb2.GetSecondFactorRequest, context: Context
    ) -> second_factor_service_pb2.GetSecondFactorResponse:
        """Tell of the caller's own."""
        key = _own_key(request.corp_id)
        async with self._pool.acquire() as connection:
            confirm_time = await second_factors.find_confirm_time(connection, *key)
            left = await second_factors.count_recovery_codes(connection, *key)
            policy = await self._find_policy(connection, key[0])
        return second_factor_service_pb2.GetSecondFactorResponse(
            second_factor=sign_in_pb2.SecondFactor(
                enrolled=confirm_time is not None,
                confirm_time=None if confirm_time is None else to_timestamp(confirm_time),
                recovery_codes_left=left,
                required=policy.requires_second_factor(current_principal()),
            )
        )

    async def BeginTotpEnrolment(
        self, request: second_factor_service_pb2.BeginTotpEnrolmentRequest, context: Context
    ) -> second_factor_service_pb2.BeginTotpEnrolmentResponse:
        """Make a secret for the caller's authenticator."""
        return second_factor_service_pb2.BeginTotpEnrolmentResponse(
            enrolment=await self._factors.begin(_own_key(request.corp_id))
        )

    async def ConfirmTotpEnrolment(
        self, request: second_factor_service_pb2.ConfirmTotpEnrolmentRequest, context: Context
    ) -> second_factor_service_pb2.ConfirmTotpEnrolmentResponse:
        """Ask for the authenticator from now on; at most once per request id."""
        key = _own_key(request.corp_id)

        async def confirm(
            connection: Connection,
        ) -> second_factor_service_pb2.ConfirmTotpEnrolmentResponse:
            await self._factors.use_code(connection, attempt, request.code, is_confirmed=False)
            await self._keep_codes(connection, key, request.request_id, "enrol")
            return second_factor_service_pb2.ConfirmTotpEnrolmentResponse()

        async with self._factors.attempting(key) as attempt:
            response = await answered_once(
                self._pool,
                SCHEMA,
                request,
                second_factor_service_pb2.ConfirmTotpEnrolmentResponse,
                confirm,
                corp_id=key[0],
            )
        # Not in the stored answer: they are derived anew for a repeat.
        response.recovery_codes.extend(self._derive_codes(key, request.request_id))
        return response

    async def RegenerateRecoveryCodes(
        self, request: second_factor_service_pb2.RegenerateRecoveryCodesRequest, context: Context
    ) -> second_factor_service_pb2.RegenerateRecoveryCodesResponse:
        """Make new recovery codes, at most once per request id."""
        key = _own_key(request.corp_id)

        async def regenerate(
            connection: Connection,
        ) -> second_factor_service_pb2.RegenerateRecoveryCodesResponse:
            await self._factors.use_code(connection, attempt, request.code, is_confirmed=True)
            await self._keep_codes(connection, key, request.request_id, "regenerate_recovery_codes")
            return second_factor_service_pb2.RegenerateRecoveryCodesResponse()

        async with self._factors.attempting(key) as attempt:
            response = await answered_once(
                self._pool,
                SCHEMA,
                request,
                second_factor_service_pb2.RegenerateRecoveryCodesResponse,
                regenerate,
                corp_id=key[0],
            )
        response.recovery_codes.extend(self._derive_codes(key, request.request_id))
        return response

    async def DisableTotp(
        self, request: second_factor_service_pb2.DisableTotpRequest, context: Context
    ) -> second_factor_service_pb2.DisableTotpResponse:
        """End the caller's second factor."""
        key = _own_key(request.corp_id)
        principal = current_principal()
        async with (
            self._factors.attempting(key) as attempt,
            transaction(self._pool) as connection,
        ):
            policy = await self._find_policy(connection, key[0])
            if await second_factors.find_confirm_time(connection, *key) is None:
                raise not_found_error()
            if policy.requires_second_factor(principal):
                raise FailedPreconditionError(
                    "SECOND_FACTOR_REQUIRED", "a second factor is required of you"
                )
            await self._factors.use_code(connection, attempt, request.code, is_confirmed=True)
            await self._factors.delete(connection, key, "disable")
        return second_factor_service_pb2.DisableTotpResponse()

    async def ResetSecondFactor(
        self, request: second_factor_service_pb2.ResetSecondFactorRequest, context: Context
    ) -> second_factor_service_pb2.ResetSecondFactorResponse:
        """End the second factor of a member who has lost it."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        require(principal, Right.MANAGE_SIGN_IN, Resource(corp_id))
        key = find_account_key(corp_id, request.user_id)
        if key is None:
            raise_violations({"user_id": "must be a user id"})
        assert key is not None, "otherwise there is a violation"
        async with transaction(self._pool) as connection:
            account = await accounts.lock_account(connection, *key)
            if account is None:
                raise NotFoundError(
                    "USER_NOT_FOUND", "no such member has signed in", {"userId": key[1]}
                )
            member = await with_stored_grants(connection, build_member(*key, account))
            check_may_reset(principal, member, current_call().method)
            if await self._factors.delete(connection, key, "reset"):
                await insert_events(connection, SCHEMA, await end_member_sessions(connection, *key))
        return second_factor_service_pb2.ResetSecondFactorResponse()

    async def GetSignInPolicy(
        self, request: second_factor_service_pb2.GetSignInPolicyRequest, context: Context
    ) -> second_factor_service_pb2.GetSignInPolicyResponse:
        """Tell how the corp's members may sign in."""
        corp_id = current_principal().require_corp(request.corp_id)
        async with self._pool.acquire() as connection:
            policy = await second_factors.find_policy(connection, corp_id)
        return second_factor_service_pb2.GetSignInPolicyResponse(policy=_to_proto(policy))

    async def UpdateSignInPolicy(
        self, request: second_factor_service_pb2.UpdateSignInPolicyRequest, context: Context
    ) -> second_factor_service_pb2.UpdateSignInPolicyResponse:
        """Change it for sign-ins from now on."""
        principal = current_principal()
        corp_id = principal.require_corp(request.corp_id)
        require(principal, Right.MANAGE_SIGN_IN, Resource(corp_id))
        change = _read_change(request)
        async with transaction(self._pool) as connection:
            stored = await second_factors.lock_policy(connection, corp_id)
            check_etag(request.policy.etag, stored.change_number)
            policy = change(stored)
            if policy != stored:
                policy = replace(policy, change_number=stored.change_number + 1)
                await second_factors.update_policy(connection, corp_id, policy)
                entry = await build_audit_event(
                    connection,
                    SCHEMA,
                    corp_id=corp_id,
                    action="identity.sign_in_policy.update",
                    resource="signInPolicy",
                    details={
                        "second_factor_requirement": policy.requirement.value,
                        "provider_counts_as_second_factor": str(
                            policy.provider_counts_as_second_factor
                        ).lower(),
                    },
                )
                await insert_events(connection, SCHEMA, [entry])
        return second_factor_service_pb2.UpdateSignInPolicyResponse(policy=_to_proto(policy))

    async def _find_policy(self, connection: Connection, corp_id: str) -> SignInPolicy:
        if corp_id == PLATFORM_LOG:
            return self._platform_policy
        return await second_factors.find_policy(connection, corp_id)

    def _derive_codes(self, key: Key, request_id: str) -> list[str]:
        # A UUID in capitals is the same one.
        return self._factors.derive_codes(key, request_id.lower())

    async def _keep_codes(
        self, connection: Connection, key: Key, request_id: str, act: str
    ) -> None:
        await self._factors.keep_codes(connection, key, self._derive_codes(key, request_id), act)


def _own_key(corp_id: str) -> Key:
    principal = current_principal()
    return find_session_corp(principal, corp_id), principal.id


def _read_change(
    request: second_factor_service_pb2.UpdateSignInPolicyRequest,
) -> Callable[[SignInPolicy], SignInPolicy]:
    """Return what makes the policy as it is to be of the one that is stored."""
    violations: dict[str, str] = {}
    paths = set(request.update_mask.paths) or _POLICY_FIELDS
    if paths - _POLICY_FIELDS:
        violations["update_mask"] = f"must name some of {', '.join(sorted(_POLICY_FIELDS))}"
    changes: dict[str, Any] = {}
    if "second_factor_requirement" in paths:
        changes["requirement"] = _REQUIREMENTS.get(request.policy.second_factor_requirement)
        if changes["requirement"] is None:
            violations["policy.second_factor_requirement"] = "must be one of the requirements"
    if "provider_counts_as_second_factor" in paths:
        counts = request.policy.provider_counts_as_second_factor
        changes["provider_counts_as_second_factor"] = counts
    raise_violations(violations)
    return lambda policy: replace(policy, **changes)


def _to_proto(policy: SignInPolicy) -> sign_in_pb2.SignInPolicy:
    return sign_in_pb2.SignInPolicy(
        second_factor_requirement=_PROTO_REQUIREMENTS[policy.requirement],
        provider_counts_as_second_factor=policy.provider_counts_as_second_factor,
        etag=str(policy.change_number),
    )
