"""Which of several operators writes: the one that holds a Lease of the cluster.

The others are warm: they decide each second as well, and write nothing. A lease is another's until
it has not changed for its duration as seen by this process's clock, so that clocks of two machines
need not agree.

    holder     renews every 2 s; stops writing 4 s after the last renewal that was acknowledged
    standby    takes the lease 6 s after its last change: within 10 s of the holder's end
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

from tieline.chassis.tasks import end_task
from tieline.operator.cluster import Cluster, ClusterError, LeaseRecord

DURATION_S = 6
RENEW_INTERVAL_S = 2.0

# Before anybody else may take it, a write that is on its way included.
HOLD_S = 4.0

logger = logging.getLogger(__name__)


class LeaseStep(Enum):
    """What to do about the lease now."""

    CREATE = "create"
    RENEW = "renew"
    TAKE = "take"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Observed:
    """A lease as it was when it last changed."""

    record: LeaseRecord
    time: float
    """When this process first saw it so, by a clock that is never set."""


def observe(before: Observed | None, record: LeaseRecord, now: float) -> Observed:
    """Return the observation with the time of the last change. Pure."""
    if before is not None and before.record == record:
        return before
    return Observed(record, now)


def plan_lease(observed: Observed | None, identity: str, now: float) -> LeaseStep:
    """Decide what to do; None is for a lease that is not there. Pure."""
    if observed is None:
        return LeaseStep.CREATE
    if observed.record.holder == identity:
        return LeaseStep.RENEW
    is_free = not observed.record.holder
    is_expired = now - observed.time >= observed.record.duration_s
    return LeaseStep.TAKE if is_free or is_expired else LeaseStep.WAIT


class LeaseKeeper:
    """Keeps trying to hold the lease."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        identity: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._name = name
        self._identity = identity
        self._observed: Observed | None = None
        self._held_until = float("-inf")
        self._was_held = False
        self._lost_count = 0

    @property
    def is_held(self) -> bool:
        """Whether this process may write now."""
        return self._clock() < self._held_until

    @property
    def lost_count(self) -> int:
        """How often it was held and is no more."""
        return self._lost_count

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Hold it, or stand by, within the block; then give it up for the next one."""
        task = asyncio.create_task(self._keep(), name="lease")
        try:
            yield
        finally:
            await end_task(task)
            await self._release()

    async def turn(self) -> None:
        """Look at the lease once and do what is due."""
        # Mostly it is lost between two turns, by running out.
        self._note_loss()
        begun = self._clock()
        try:
            record = await self._cluster.find_lease(self._name)
            self._observed = None if record is None else observe(self._observed, record, begun)
            step = plan_lease(self._observed, self._identity, begun)
            if step is not LeaseStep.WAIT:
                await self._cluster.put_lease(self._name, self._identity, DURATION_S, record)
                # From when the request began: the server may have seen it then.
                self._held_until = begun + HOLD_S
            elif self._observed is not None:
                self._held_until = float("-inf")
        except ClusterError as error:
            # Another one was faster, or the API is away; what is held runs out by itself.
            logger.warning("the lease %s: %s", self._name, error)
        self._note_loss()
        if self.is_held and not self._was_held:
            logger.info("the lease %s is held: this operator writes", self._name)
        self._was_held = self.is_held

    def _note_loss(self) -> None:
        if self._was_held and not self.is_held:
            self._was_held = False
            self._lost_count += 1
            logger.warning("the lease %s is lost; nothing is written until it is back", self._name)

    async def _keep(self) -> None:
        while True:
            await self.turn()
            await asyncio.sleep(RENEW_INTERVAL_S)

    async def _release(self) -> None:
        if not self.is_held:
            return
        self._held_until = float("-inf")
        try:
            record = await self._cluster.find_lease(self._name)
            if record is not None and record.holder == self._identity:
                await self._cluster.put_lease(self._name, "", DURATION_S, record)
        except ClusterError as error:
            logger.warning("the lease %s could not be given up; it runs out: %s", self._name, error)
