"""How much an address, a corp and a user may ask for: what is counted, and what is refused. Pure.

The corp and the user are read from the access token, whose signature HAProxy can't check (Ed25519).
So a call counts against them only once a service has answered in a way that it has for verified
callers alone: a forged token uses up nobody's share, and its sender's address runs into the limit
of failures. Methods that may be called without a token don't look at one: their calls count for the
address.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tieline.chassis.interceptors.refusals import ADMISSION_KEY
from tieline.edge import refusals
from tieline.edge.refusals import Refusal
from tieline.edge.settings import EdgeSettings

ANONYMOUS = "anonymous"
SIGNED_IN = "signed_in"
"""What the map of methods says of their access."""

# What services answer once they have verified the caller, and gRPC itself never: OK,
# INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, ABORTED and
# OUT_OF_RANGE. UNAVAILABLE and DEADLINE_EXCEEDED may come before.
_VERIFIED_CODES = "0 3 5 6 7 9 10 11"
# gRPC's core says it too, without what services add.
_EXHAUSTED_CODE = 8

# Keys that counters are kept for: a corp id has 26 characters, a user id 64, a number 4.
_CORP_KEY_BYTES = 48
_USER_KEY_BYTES = 128


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that refuses by name, ``limited_<name>``."""

    name: str
    condition: str
    refusal: Refusal


def table_lines(settings: EdgeSettings) -> list[str]:
    """Return the tables of counters, which have a backend each."""
    size = settings.edge_limited_keys
    hour_and_minute = "gpc0,gpc0_rate(60s),gpc1,gpc1_rate(1h)"
    tables = (
        # gpc0: answers UNAUTHENTICATED, gpc1: calls.
        (
            "edge_addresses",
            "ipv6",
            "1h",
            "conn_cur,conn_rate(10s),gpc0,gpc0_rate(1h),gpc1,gpc1_rate(60s)",
        ),
        # gpc0: requests that were begun.
        ("edge_requests", "ipv6", "1m", f"gpc0,gpc0_rate({settings.edge_request_timeout_s}s)"),
        ("edge_corps", f"string len {_CORP_KEY_BYTES}", "1h", hour_and_minute),
        ("edge_users", f"string len {_USER_KEY_BYTES}", "2m", "gpc0,gpc0_rate(60s)"),
        ("edge_anonymous", f"string len {_USER_KEY_BYTES}", "1h", hour_and_minute),
    )
    lines: list[str] = []
    for name, key, expire, stored in tables:
        lines += [
            f"backend {name}",
            f"  stick-table type {key} size {size} expire {expire} store {stored} peers edge_peers",
        ]
    return lines


def connection_rules(settings: EdgeSettings) -> list[str]:
    """Refuse connections of an address that has, or makes, too many."""
    limit = settings.edge_connections_per_address
    return [
        "  tcp-request session track-sc0 src table edge_addresses",
        f"  tcp-request session reject if {{ sc0_conn_cur gt {limit} }}",
        f"  tcp-request session reject if {{ sc0_conn_rate gt {limit} }}",
    ]


def request_rules(settings: EdgeSettings) -> list[str]:
    """Refuse requests of an address that begins too many: each holds a buffer while it arrives.

    Counted without a counter in hand: HAProxy has three, for the connection, the corp and the user.
    Denied, which HAProxy counts in its metrics, where it would not what it returns.
    """
    if not settings.edge_requests_per_address:
        return []
    return [
        f"  http-request deny status 200 {refusals.ADDRESS_LIMIT.headers()} "
        f"if {{ src_gpc0_rate(edge_requests) ge {settings.edge_requests_per_address} }}",
        "  http-request set-var(txn.begun) src_inc_gpc0(edge_requests)",
    ]


def caller_rules() -> list[str]:
    """Find the corp and the user, and keep their counters in hand."""
    return [
        f"  http-request set-var(txn.{name}) http_auth_bearer,jwt_payload_query('$.{claim}') "
        f"unless {{ var(txn.access) -m str {ANONYMOUS} }}"
        for name, claim in (("corp", "corp"), ("user", "sub"))
    ] + [
        "  http-request set-var-fmt(txn.corp_key) %[var(txn.corp)]:%[var(txn.number)] "
        "if { var(txn.corp) -m len 1:32 }",
        "  http-request set-var-fmt(txn.user_key) "
        "%[var(txn.corp)]/%[var(txn.user)]:%[var(txn.number)] if { var(txn.user) -m len 1:64 }",
        "  http-request set-var-fmt(txn.address_key) @%[src]:%[var(txn.number)]",
        "  http-request track-sc1 var(txn.corp_key) table edge_corps "
        "if { var(txn.corp_key) -m found }",
        "  http-request track-sc2 var(txn.user_key) table edge_users "
        "if { var(txn.user_key) -m found }",
        "  http-request track-sc2 var(txn.address_key) table edge_anonymous "
        "unless { var(txn.user_key) -m found }",
    ]


def list_limits(settings: EdgeSettings) -> Iterator[Limit]:
    """Yield the limits that are set."""
    signed_in = "{ var(txn.user_key) -m found }"
    limits = (
        ("failures", "sc0_gpc0_rate", settings.edge_address_failures_per_hour, ""),
        ("address", "sc0_gpc1_rate", settings.edge_address_all_calls_per_minute, ""),
        ("anonymous", "sc2_gpc0_rate", settings.edge_address_calls_per_minute, f"!{signed_in} "),
        (
            "anonymous_hour",
            "sc2_gpc1_rate",
            settings.edge_address_calls_per_hour,
            f"!{signed_in} ",
        ),
        ("corp", "sc1_gpc0_rate", settings.edge_corp_calls_per_minute, ""),
        ("corp_hour", "sc1_gpc1_rate", settings.edge_corp_calls_per_hour, ""),
        ("user", "sc2_gpc0_rate", settings.edge_user_calls_per_minute, f"{signed_in} "),
    )
    told = {
        "corp": refusals.CORP_LIMIT,
        "corp_hour": refusals.CORP_LIMIT,
        "user": refusals.USER_LIMIT,
    }
    for name, counter, most, condition in limits:
        if most:
            refusal = told.get(name, refusals.ADDRESS_LIMIT)
            yield Limit(name, f"{condition}{{ {counter} ge {most} }}", refusal)


def counting_rules() -> list[str]:
    """Count a call where it counts, once its answer is there."""
    status = "res.hdr(grpc-status)"
    failed = f"{{ {status} -m str 16 }}"
    verified = "{ var(txn.verified) -m bool }"
    # Of a call without a token there is nobody to verify.
    told = f"{verified} or !{{ var(txn.user_key) -m found }} !{failed}"
    return [
        # The status of a call that gave something comes behind that.
        f"  http-response set-var(txn.verified) bool(true) if !{{ {status} -m found }} "
        f"or {{ {status} -m str {_VERIFIED_CODES} }} "
        f"or {{ {status} -m str {_EXHAUSTED_CODE} }} {{ res.hdr({ADMISSION_KEY}) -m found }}",
        f"  http-response sc-inc-gpc0(0) if {failed}",
        "  http-response sc-inc-gpc1(0)",
        f"  http-response sc-inc-gpc0(1) if {verified}",
        f"  http-response sc-inc-gpc1(1) if {verified}",
        f"  http-response sc-inc-gpc0(2) if {told}",
        # A user's counters have no second one: nothing happens there.
        f"  http-response sc-inc-gpc1(2) if {told}",
    ]


def refusing_lines(limit: Limit) -> list[str]:
    """Return the backend that refuses what a limit is reached for."""
    return [
        f"backend limited_{limit.name}",
        f"  http-request return status 200 {limit.refusal.headers()}",
    ]
