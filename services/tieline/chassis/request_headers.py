"""What travels with a question between services, as NATS headers."""

import json
from collections.abc import Mapping

from tieline.chassis.admission.priorities import DEFAULT_PRIORITY, read_priority
from tieline.chassis.calls import Call, find_call
from tieline.chassis.errors import InvalidArgumentError
from tieline.chassis.interceptors.request_ids import accept_request_id
from tieline.chassis.message_headers import (
    DEADLINE_HEADER,
    PRINCIPAL_HEADER,
    PRIORITY_HEADER,
    REQUEST_ID_HEADER,
)
from tieline.chassis.principals import Principal, PrincipalKind
from tieline.chassis.telemetry import inject_headers

# Of the remaining time, for the answer's way back; a tenth of what is left where that is less.
_MARGIN_S = 0.02

# A day is 86,400,000 ms; int() refuses a text of thousands of digits.
_MAX_DEADLINE_DIGITS = 9

# Twice as long as a token may be, since JSON writes some characters as six.
_MAX_PRINCIPAL_LENGTH = 16_384


def read_call(subject: str, headers: Mapping[str, str], received: float) -> Call:
    """Return the call that a question is part of; ``received`` is by ``time.monotonic()``.

    Raises InvalidArgumentError for a deadline or a principal that can't be read: a question must
    neither outlive its asker nor be taken for somebody else's.
    """
    return Call(
        method=subject,
        request_id=accept_request_id(headers.get(REQUEST_ID_HEADER)),
        deadline=_read_deadline(headers.get(DEADLINE_HEADER, ""), received),
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


def _read_deadline(left_ms: str, received: float) -> float | None:
    if not left_ms:
        return None
    is_number = left_ms.isascii() and left_ms.isdecimal()
    if not is_number or len(left_ms) > _MAX_DEADLINE_DIGITS:
        rule = f"must be milliseconds, at most {_MAX_DEADLINE_DIGITS} digits"
        raise InvalidArgumentError({DEADLINE_HEADER: rule})
    return received + int(left_ms) / 1000


def _read_principal(text: str) -> Principal | None:
    if not text:
        return None
    try:
        if len(text) > _MAX_PRINCIPAL_LENGTH:
            raise ValueError("too long")
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
    except (ValueError, TypeError, KeyError, RecursionError):
        rule = f"must be a principal as JSON, at most {_MAX_PRINCIPAL_LENGTH} characters"
        raise InvalidArgumentError({PRINCIPAL_HEADER: rule}) from None
