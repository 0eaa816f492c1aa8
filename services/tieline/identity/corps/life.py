"""How a corp is suspended, renamed, deleted and brought back. Pure: each function returns the corp
as it is afterwards, the same object where nothing changes.

    ACTIVE ── suspend ──▶ SUSPENDED ── resume ──▶ ACTIVE
    ACTIVE, SUSPENDED ── request_deletion ──▶ DELETING ── call_off_deletion ──▶ what it was before
    DELETING ── the purge, from purge_time on ──▶ DELETED

Suspension and deletion are independent facts, so that a corp whose deletion is called off is still
suspended if it was. Whatever stops people from signing in also raises the floor under which
sessions are over: who comes back signs in anew.
"""

import datetime as dt
from dataclasses import replace

from tieline.chassis.authorization import Resource, Right, require
from tieline.chassis.errors import FailedPreconditionError, PermissionDeniedError
from tieline.chassis.fields import check_text, raise_violations
from tieline.chassis.principals import OWNER_ROLE, Principal, PrincipalKind
from tieline.identity.corps.rules import Corp, CorpState

MAX_REASON_LENGTH = 200


def check_reason(reason: str) -> None:
    """Refuse a reason that says nothing or too much."""
    violations: dict[str, str] = {}
    check_text(reason, "reason", violations, minimum=1, maximum=MAX_REASON_LENGTH)
    raise_violations(violations)


def check_may_delete(principal: Principal, corp_id: str, method: str) -> None:
    """Let the deployment's administrators and the corp's owner ask for its deletion."""
    if principal.kind is PrincipalKind.PLATFORM_ADMINISTRATOR:
        require(principal, Right.REVIEW_CORPS, Resource(corp_id))
    elif OWNER_ROLE not in principal.roles:
        raise PermissionDeniedError(
            "CALLER_NOT_ALLOWED", "only the owner may delete the corp", {"method": method}
        )


def check_may_sign_in(corp: Corp) -> None:
    """Refuse whoever proved to be a member of a corp that is not active."""
    if corp.state is not CorpState.ACTIVE:
        raise PermissionDeniedError(
            "CORP_NOT_ACTIVE",
            f"the corp is {corp.state}: nobody of it can sign in",
            {"corpId": corp.corp_id, "state": corp.state},
        )


def lets_session_go_on(corp: Corp, session_create_time: dt.datetime) -> bool:
    """Tell whether a session that was opened then may be refreshed."""
    return corp.state is CorpState.ACTIVE and (
        corp.session_floor_time is None or session_create_time >= corp.session_floor_time
    )


def rename(corp: Corp, display_name: str) -> Corp:
    """Return the corp under its name; another one drops its verification."""
    if display_name == corp.display_name:
        return corp
    return replace(corp, display_name=display_name, verify_time=None)


def suspend(corp: Corp, reason: str, now: dt.datetime) -> Corp:
    """Return the corp suspended; the first reason stands."""
    if corp.suspend_time is not None:
        return corp
    return replace(corp, suspend_time=now, suspend_reason=reason, session_floor_time=now)


def resume(corp: Corp) -> Corp:
    """Return the corp not suspended."""
    if corp.suspend_time is None:
        return corp
    return replace(corp, suspend_time=None, suspend_reason="")


def request_deletion(corp: Corp, now: dt.datetime, grace: dt.timedelta) -> Corp:
    """Return the corp on its way out; what was asked for before stands."""
    if corp.delete_request_time is not None:
        return corp
    return replace(corp, delete_request_time=now, purge_time=now + grace, session_floor_time=now)


def call_off_deletion(corp: Corp, now: dt.datetime) -> Corp:
    """Return the corp as it was before its deletion was asked for; refuse once the purge may run.

    Data is deleted in many transactions: what the purge has begun can't be whole again.
    """
    if corp.purge_time is None:
        return corp
    if now >= corp.purge_time:
        raise FailedPreconditionError(
            "CORP_PURGE_BEGUN", "the time of grace is over: the corp's data is being deleted"
        )
    return replace(corp, delete_request_time=None, purge_time=None)
