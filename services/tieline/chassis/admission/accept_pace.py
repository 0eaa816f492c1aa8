"""Holds up gRPC's taking of calls while refusals have had their part of the event loop's time.

grpc.aio takes every call as soon as it can, and one that is refused at once still costs about as
much as a call that does nothing. Where strangers send more than can even be refused, refusals would
take all of the loop's time. Held up, calls wait in the C core, which refuses what goes over its
limit for a fraction of that, blind to priorities.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

from tieline.chassis.admission.decision import MAX_REFUSING_RATIO
from tieline.chassis.admission.refusing_time import REFUSAL_S

# Of refusals in a row, in seconds of the loop's time: a burst is refused without a pause.
_MAX_SAVED_S = 0.1

# The event loop can't wait for less, and one long wait would let the queue run full.
_MIN_DELAY_S = 0.001
_MAX_DELAY_S = 0.05


class RefusalPace:
    """What refusals may take of the loop's time: a budget that fills by a quarter of the time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.refusal_s = REFUSAL_S
        """What one refusal takes; whoever measures it sets it."""

        self.held_up_s = 0.0
        """For how long calls were not taken, since it was last set back to 0."""

        self._clock = clock
        self._saved_s = _MAX_SAVED_S
        self._at = clock()

    def spend(self) -> None:
        """Take one refusal out of the budget."""
        self._saved_s -= self.refusal_s

    def hold_up(self) -> float:
        """Return for how many seconds no further call is to be taken, and count them; 0 while the
        budget lasts."""
        if self._saved_s > 0:
            # No look at the clock where nothing is refused.
            return 0.0
        now = self._clock()
        self._saved_s = min(self._saved_s + MAX_REFUSING_RATIO * (now - self._at), _MAX_SAVED_S)
        self._at = now
        if self._saved_s > 0:
            return 0.0
        delay_s = min(max(-self._saved_s / MAX_REFUSING_RATIO, _MIN_DELAY_S), _MAX_DELAY_S)
        self.held_up_s += delay_s
        return delay_s


class _PacedCore(cygrpc.AioServer):  # type: ignore[misc]
    """gRPC's server, which waits before it takes the next call."""

    pace: RefusalPace

    def _request_call(self) -> Awaitable[Any]:
        delay_s = self.pace.hold_up()
        request: Awaitable[Any] = super()._request_call()
        return _after(delay_s, request) if delay_s else request


async def _after(delay_s: float, request: Awaitable[Any]) -> Any:
    await asyncio.sleep(delay_s)
    return await request


def build_paced_server(
    pace: RefusalPace,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    options: Sequence[tuple[str, int]],
) -> grpc.aio.Server:
    """Return a server that takes calls at this pace.

    gRPC has no hook for it: its Python object is given another core than the one it made.
    """
    server = grpc.aio.server(options=options)
    core = _PacedCore(cygrpc.get_working_loop(), None, (), interceptors, tuple(options), None)
    core.pace = pace
    server._server = core  # type: ignore[attr-defined]
    return server
