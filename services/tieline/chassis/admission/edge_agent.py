"""Answers the edge's question how much this replica can take: HAProxy's agent-check.

HAProxy connects every half second, says whether it means calls, large calls or what stays long, and
of which service, and reads one line: whether new requests may come, the weight, and how many at a
time (``maxconn``).
"""

import asyncio
import contextlib
import errno
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tieline.chassis.health import Health
from tieline.chassis.process import StartError

CALLS = "calls"
"""What the edge says where it asks for the slots of calls."""

# Time in the replica that a saturated one may take for an empty call: more slots would only be a
# queue without priorities. Measured: 24 slots at 1,750 calls/s kept 95 % of the capacity.
_RESIDENCE_S = 0.014
# grpc.aio has about 17 calls in Python's hands at a time: fewer slots would leave it idle.
MIN_SLOTS = 20

# A handler that takes longer than this waits for others.
_WAITING_S = 0.001
# Such a call needs a slot for that time too, and some for the waves.
_SERVICE_TIME_FACTOR = 1.5
# Time that it may take at least, so that one commit serves many. On a core shared with PostgreSQL a
# replica kept 0.78 of its capacity with 22 ms, 0.86 with 30, and with 40 sends met reads in it.
_WAITING_RESIDENCE_S = 0.03
MIN_WAITING_SLOTS = 32
# With the edge's queue of 100 ms a call stays within 150 ms.
_MAX_RESIDENCE_S = 0.05
MAX_SLOTS = 1000

# The edge's setting for replicas that have not said anything; the weight is relative to it.
_USUAL_SLOTS = 24
_MIN_WEIGHT_PERCENT = 10
_MAX_WEIGHT_PERCENT = 250

_QUESTION_TIMEOUT_S = 1.0
_MAX_QUESTION_BYTES = 64


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a replica has been measured to do."""

    per_second: float
    """Calls per second when saturated; 0 while that is not known."""

    service_s: float
    """Mean time from the start of a handler to its end, in seconds, while little is to do; 0 while
    not known."""


UNKNOWN_CAPACITY = Capacity(0, 0)


def plan_slots(capacity: Capacity) -> int | None:
    """Return how many calls the replica should have at a time; None while that is not known."""
    if capacity.per_second <= 0:
        return None
    residence_s, least = _RESIDENCE_S, MIN_SLOTS
    if capacity.service_s > _WAITING_S:
        longest_s = min(_SERVICE_TIME_FACTOR * capacity.service_s, _MAX_RESIDENCE_S)
        residence_s, least = max(longest_s, _WAITING_RESIDENCE_S), MIN_WAITING_SLOTS
    return min(max(math.ceil(capacity.per_second * residence_s), least), MAX_SLOTS)


def build_answer(question: str, service: str, *, is_ready: bool, capacity: Capacity) -> str:
    """Return the line that HAProxy reads. Pure.

    A replica that is not ready is drained and not down: what it has goes on. So is one of another
    service than the edge means, which has the address of a replica that ended.
    """
    asked, _, meant = question.partition(" ")
    if not is_ready or meant not in ("", service):
        return "drain\n"
    slots = plan_slots(capacity)
    if slots is None:
        return "ready up 100%\n"
    percent = round(100 * slots / _USUAL_SLOTS)
    weight = min(max(percent, _MIN_WEIGHT_PERCENT), _MAX_WEIGHT_PERCENT)
    # What stays long has a bound of its own at the edge.
    room = f" maxconn:{slots}" if asked == CALLS else ""
    return f"ready up {weight}%{room}\n"


@asynccontextmanager
async def answering_edge(
    host: str,
    port: int,
    *,
    service: str,
    health: Health,
    capacity: Callable[[], Capacity],
    shares_port: bool = False,
) -> AsyncIterator[None]:
    """Answer on the port until the block is left; port 0 answers nobody. Raises StartError.

    One that shares the port with other workers speaks for all of them, and so names no number.
    """
    if not port:
        yield
        return

    def known() -> Capacity:
        return UNKNOWN_CAPACITY if shares_port else capacity()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(_QUESTION_TIMEOUT_S):
                question = (await reader.readline()).decode(errors="replace").strip()
                line = build_answer(question, service, is_ready=health.is_ready, capacity=known())
                writer.write(line.encode())
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(
            answer, host, port, limit=_MAX_QUESTION_BYTES, reuse_port=shares_port
        )
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"can't be opened ({error})"
        raise StartError(f"port {port} on {host} {why}: correct TIELINE_AGENT_PORT") from error
    async with server:
        yield
