"""What travels with a question between services, as NATS headers."""

import json
from collections.abc import Mapping

from tieline.chassis.calls import Call, find_call
from tieline.chassis.ids import new_uuid7
from tieline.chassis.message_headers import (
    DEADLINE_HEADER,
    PRINCIPAL_HEADER,
    PRIORITY_HEADER,
    REQUEST_ID_HEADER,
)
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.priorities import DEFAULT_PRIORITY, read_priority
from tieline.chassis.telemetry import inject_headers

# Of the remaining time, for the answer's way back; a tenth of what is left where that is less.
_MARGIN_S = 0.02


def read_call(subject: str, headers: Mapping[str, str], received: float) -> Call:
    """Return the call that a question is part of; ``received`` is by ``time.monotonic()``."""
    left_ms = headers.get(DEADLINE_HEADER, "")
    return Call(
        method=subject,
        request_id=headers.get(REQUEST_ID_HEADER) or new_uuid7(),
        deadline=received + int(left_ms) / 1000 if left_ms.isdecimal() else None,
        principal=_read_principal(headers.get(PRINCIPAL_HEADER, "")),
        priority=read_priority(headers.get(PRIORITY_HEADER)) or DEFAULT_PRIORITY,
        traceparent=headers.get("traceparent", ""),
        tracestate=headers.get("tracestate", ""),
    )


def build_headers(timeout_s: float, priority: int) -> dict[str, str]:
    """Return what travels with a question of whatever runs now."""
    # The answer has a way to go as well: who gets less than there is can still say so in time.
    left_ms = max(int((timeout_s - min(_MARGIN_S, timeout_s * 0.1)) * 1000), 1)
    headers = {DEADLINE_HEADER: str(left_ms), PRIORITY_HEADER: str(priority)}
    inject_headers(headers)
    call = find_call()
    if call is not None:
        headers[REQUEST_ID_HEADER] = call.request_id
        if call.principal is not None:
            headers[PRINCIPAL_HEADER] = _write_principal(call.principal)
    return headers


def _write_principal(principal: Principal) -> str:
    return json.dumps(
        {
            "kind": principal.kind,
            "id": principal.id,
            "corp_id": principal.corp_id,
            "session_id": principal.session_id,
            "roles": sorted(principal.roles),
            "display_name": principal.display_name,
            "rights": sorted(principal.rights),
            "department_ids": sorted(principal.department_ids),
            "home_corp_id": principal.home_corp_id,
            "link_id": principal.link_id,
        }
    )


def _read_principal(text: str) -> Principal | None:
    if not text:
        return None
    fields = json.loads(text)
    return Principal(
        **{
            **fields,
            "kind": PrincipalKind(fields["kind"]),
            "roles": frozenset(fields["roles"]),
            "rights": frozenset(fields["rights"]),
            "department_ids": frozenset(fields["department_ids"]),
        }
    )
