"""Which role reaches which call of identity: the owner, each right, an auditor, a plain member."""

from collections.abc import Mapping
from typing import Any

import grpc

from integration.identity.world import TIMEOUT_S, Identity, bearer, refusal
from tieline.api.common.v1 import access_pb2
from tieline.api.identity.v1 import (
    app_service_pb2,
    audit_service_pb2,
    corp_link_service_pb2,
    identity_service_pb2,
    role_service_pb2,
    second_factor_service_pb2,
    sign_in_provider_service_pb2,
)

CORP = access_pb2.RIGHT_MANAGE_CORP
APPS = access_pb2.RIGHT_MANAGE_APPS
SIGN_IN = access_pb2.RIGHT_MANAGE_SIGN_IN
AUDIT = access_pb2.RIGHT_READ_AUDIT_LOG
RIGHTS = (CORP, APPS, SIGN_IN, AUDIT, access_pb2.RIGHT_MANAGE_DIRECTORY)

# Stands for a right that nobody of a corp has.
NOBODYS = -1

# Whom each call lets in beside the owner: one right, auditors, or both. The requests are empty, so
# that whoever is let in is told what is wrong with them and changes nothing.
CALLS: Mapping[str, tuple[Any, int | None, bool]] = {
    "stub.UpdateCorp": (identity_service_pb2.UpdateCorpRequest(), CORP, False),
    "stub.RequestVerification": (identity_service_pb2.RequestVerificationRequest(), CORP, False),
    "stub.ListVerificationRequests": (
        identity_service_pb2.ListVerificationRequestsRequest(),
        CORP,
        True,
    ),
    "stub.CreateInvitations": (identity_service_pb2.CreateInvitationsRequest(), SIGN_IN, False),
    "corp_links.InviteCorpLink": (corp_link_service_pb2.InviteCorpLinkRequest(), CORP, False),
    "corp_links.AcceptCorpLink": (corp_link_service_pb2.AcceptCorpLinkRequest(), CORP, False),
    "corp_links.ListCorpLinks": (corp_link_service_pb2.ListCorpLinksRequest(), CORP, True),
    "apps.CreateApp": (app_service_pb2.CreateAppRequest(), APPS, False),
    "apps.UpdateApp": (app_service_pb2.UpdateAppRequest(), APPS, False),
    "apps.DeleteApp": (app_service_pb2.DeleteAppRequest(), APPS, False),
    "apps.RotateAppSecret": (app_service_pb2.RotateAppSecretRequest(), APPS, False),
    "apps.RevokeAppSecret": (app_service_pb2.RevokeAppSecretRequest(), APPS, False),
    "apps.GetApp": (app_service_pb2.GetAppRequest(), APPS, True),
    "apps.ListApps": (app_service_pb2.ListAppsRequest(), APPS, True),
    "providers.CreateSignInProvider": (
        sign_in_provider_service_pb2.CreateSignInProviderRequest(),
        SIGN_IN,
        False,
    ),
    "providers.UpdateSignInProvider": (
        sign_in_provider_service_pb2.UpdateSignInProviderRequest(),
        SIGN_IN,
        False,
    ),
    "providers.DeleteSignInProvider": (
        sign_in_provider_service_pb2.DeleteSignInProviderRequest(),
        SIGN_IN,
        False,
    ),
    "providers.GetSignInProvider": (
        sign_in_provider_service_pb2.GetSignInProviderRequest(),
        SIGN_IN,
        True,
    ),
    "providers.ListSignInProviders": (
        sign_in_provider_service_pb2.ListSignInProvidersRequest(),
        SIGN_IN,
        True,
    ),
    "second_factors.ResetSecondFactor": (
        second_factor_service_pb2.ResetSecondFactorRequest(),
        SIGN_IN,
        False,
    ),
    "second_factors.UpdateSignInPolicy": (
        second_factor_service_pb2.UpdateSignInPolicyRequest(),
        SIGN_IN,
        False,
    ),
    "roles.ListRoleGrants": (role_service_pb2.ListRoleGrantsRequest(), AUDIT, True),
    "audit.ListAuditEntries": (audit_service_pb2.ListAuditEntriesRequest(), AUDIT, True),
    "roles.GrantRole": (role_service_pb2.GrantRoleRequest(), None, False),
    "roles.RevokeRole": (role_service_pb2.RevokeRoleRequest(), None, False),
    "roles.TransferOwnership": (role_service_pb2.TransferOwnershipRequest(), None, False),
    "roles.RecoverOwnership": (role_service_pb2.RecoverOwnershipRequest(), NOBODYS, False),
    "stub.SuspendCorp": (identity_service_pb2.SuspendCorpRequest(), NOBODYS, False),
    "stub.ListChannels": (identity_service_pb2.ListChannelsRequest(), NOBODYS, False),
}


async def is_let_in(identity: Identity, name: str, request: Any, metadata: Any) -> bool:
    part, _, method = name.partition(".")
    call = getattr(getattr(identity, part), method)
    try:
        await call(request, metadata=metadata, timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return error.code() is not grpc.StatusCode.PERMISSION_DENIED
    return True


async def test_each_call_lets_in_whom_the_table_says(identity: Identity) -> None:
    corp = await identity.new_corp()
    callers: dict[str, Any] = {"owner": corp.owner}
    for right in RIGHTS:
        name = access_pb2.Right.Name(right).lower()
        callers[name] = await identity.new_administrator(corp, right, user_id=name)
    callers["auditor"] = bearer(await identity.new_in_charge(corp, "auditor"))
    callers["plain"] = bearer(await identity.new_member(corp, "plain"))

    found = {
        name: {
            caller
            for caller, metadata in callers.items()
            if await is_let_in(identity, name, request, metadata)
        }
        for name, (request, _, _) in CALLS.items()
    }

    expected = {}
    for name, (_, needed, is_auditors) in CALLS.items():
        expected[name] = set() if needed == NOBODYS else {"owner"}
        expected[name] |= {access_pb2.Right.Name(one).lower() for one in RIGHTS if one == needed}
        expected[name] |= {"auditor"} if is_auditors else set()
    assert found == expected


async def test_an_auditor_is_told_no_other_corps_apps(identity: Identity) -> None:
    corp, other = await identity.new_corp(), await identity.new_corp()
    auditor = bearer(await identity.new_in_charge(corp, "auditor"))

    error = await refusal(
        identity.apps.ListApps(
            app_service_pb2.ListAppsRequest(corp_id=other.corp_id), metadata=auditor
        )
    )

    assert error.reason == "CORP_NOT_FOUND"
