"""Whose call an event carries on, also where one transaction commits what several callers sent.

A cause is the context of a caller's task, in which its call and its span are the current ones.
"""

from contextvars import Context

from opentelemetry import trace

from tieline.chassis.admission.priorities import DEFAULT_PRIORITY, class_of
from tieline.chassis.calls import find_call
from tieline.chassis.message_headers import PRIORITY_HEADER, REQUEST_ID_HEADER
from tieline.chassis.telemetry import inject_headers


def read_headers(cause: Context | None) -> dict[str, str]:
    """Return the trace, request id and priority that an event carries; None is whoever runs now."""
    return _read_headers() if cause is None else cause.run(_read_headers)


def find_kind(cause: Context | None) -> tuple[int, int]:
    """Return the same for causes that may share an event.

    They are of one business class. A sampled call shares with nobody: its trace would end here. If
    what is not sampled did not share, clients that name a trace in each call had an event for each.
    """
    return _find_kind() if cause is None else cause.run(_find_kind)


def _read_headers() -> dict[str, str]:
    headers: dict[str, str] = {}
    inject_headers(headers)
    call = find_call()
    if call is not None:
        headers[REQUEST_ID_HEADER] = call.request_id
        headers[PRIORITY_HEADER] = str(call.priority)
    return headers


def _find_kind() -> tuple[int, int]:
    call = find_call()
    priority = DEFAULT_PRIORITY if call is None else call.priority
    # 0 without a span.
    return class_of(priority), trace.get_current_span().get_span_context().span_id
