"""The facts of the call that is being handled, for whatever runs on its behalf.

One :class:`Call` is current in each handler's task and in the tasks that it starts. The gRPC
interceptors and the NATS side make calls; repositories, clients and log records read them.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from tieline.chassis.admission.priorities import DEFAULT_PRIORITY
from tieline.chassis.errors import RETRY_DELAY_S, UnauthenticatedError, overloaded_error
from tieline.chassis.principals import Principal


class PartAdmission:
    """Admission as a stream or a batch asks it, for each message; this one lets in everything."""

    __slots__ = ()

    def lets_in(self) -> bool:
        """Count one more message of the call, and tell whether it is to be let in."""
        return True

    def find_level(self) -> tuple[int, int] | None:
        """Return the level that holds for the caller now, and the call's own priority."""
        return None

    def note_held_back(self, by_class: Mapping[int, int]) -> None:
        """Record how many calls of each class the caller did not send."""


LETS_IN_ALL = PartAdmission()


@dataclass(slots=True)
class Call:
    """One request on its way through this process."""

    method: str
    """``/package.Service/Method`` of a gRPC call, the subject of a NATS one."""

    request_id: str
    """Names the request in the logs of every service that it passes."""

    deadline: float | None = None
    """``time.monotonic()`` at which nobody waits for the answer any more; None for never."""

    principal: Principal | None = None
    """The verified caller; None for anonymous methods and for events."""

    traceparent: str = ""
    """W3C ``traceparent`` as it arrived; empty for a call that begins its trace here."""

    tracestate: str = ""
    """W3C ``tracestate`` as it arrived; empty when there was none."""

    priority: int = DEFAULT_PRIORITY
    """Fixed where the request entered the platform; see ``priorities``."""

    admission: PartAdmission = LETS_IN_ALL
    """Asked for each message of a stream or a batch."""

    find_address: Callable[[], str] = str
    """Returns the address that the caller is at, as far as it can be trusted (``addresses``); empty
    for calls over NATS and once the call has its answer. Asked for only by what writes it down."""

    def remaining_s(self) -> float | None:
        """Return the seconds left, 0 when the deadline has passed, None without a deadline."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - time.monotonic())


current: ContextVar[Call | None] = ContextVar("tieline_call", default=None)
"""Set by what receives calls; everybody else reads it through the functions below."""


def find_call() -> Call | None:
    """Return the call being handled; None in background work."""
    return current.get()


def current_call() -> Call:
    """Return the call being handled; outside of one, LookupError: a fault of the program."""
    call = current.get()
    if call is None:
        raise LookupError("no call is being handled here")
    return call


def find_address() -> str:
    """Return the address that the current call comes from, without the port; empty for none."""
    call = current.get()
    return "" if call is None else call.find_address()


def current_principal() -> Principal:
    """Return the verified caller, or raise UnauthenticatedError for an anonymous one."""
    call = current.get()
    if call is None or call.principal is None:
        raise UnauthenticatedError("TOKEN_MISSING", "sign in first")
    return call.principal


def check_part_admitted() -> None:
    """Raise UnavailableError OVERLOADED when one more message of this call is to be refused.

    For streams and batches: the call itself was admitted once, maybe hours ago.
    """
    call = current.get()
    if call is not None and not call.admission.lets_in():
        raise overloaded_error(RETRY_DELAY_S)


@contextmanager
def entered(call: Call) -> Iterator[Call]:
    """Make the call current within the block; for receivers whose tasks handle many calls."""
    token = current.set(call)
    try:
        yield call
    finally:
        current.reset(token)
