"""Keeps in a ConfigMap what the operator has learned: read at the start, written now and then.

The holder of the lease writes, every few minutes and when it is told to stop. A standby has learned
the same from the same reports; what it reads is what was before its own start. Nothing is written
before the ConfigMap was read: four weeks would else go by a start at which the API was away. Where
there is none, the first write comes soon: it makes one, or shows that none may be made. What can't
be read is asked for again and again, and put before what was learned meanwhile.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from tieline.chassis.tasks import end_task
from tieline.operator.cluster import Cluster, ClusterError, NoMemoryError
from tieline.operator.decision_state import FleetState, ServiceInput
from tieline.operator.memory import Remembered, pack, recall, remember, unpack
from tieline.operator.policy import PredictionMode

SAVE_INTERVAL_S = 300.0
"""A slot of the season; a kill costs what was learned in less than that."""

FIRST_SAVE_S = 10.0
"""Into a place that is to be made; by then somebody holds the lease."""

READ_INTERVAL_S = 5.0
"""Between the tries to read what is stored."""

logger = logging.getLogger(__name__)


class MemoryKeeper:
    """Knows what was learned of each policy that there is."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        may_write: Callable[[], bool],
        is_policy: Callable[[str], bool],
        save_interval_s: float = SAVE_INTERVAL_S,
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._may_write = may_write
        self._is_policy = is_policy
        self._save_interval_s = save_interval_s
        self._known: dict[str, Remembered] = {}
        self._recalled: set[str] = set()
        self._predicting: set[str] = set()
        self._is_read = False
        self._is_missing = False
        self.problem = ""
        """Why nothing is kept until somebody makes a place for it; empty where there is one."""

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Read, and write within the block and at its end."""
        await self.read()
        task = asyncio.create_task(self._keep(), name="memory")
        try:
            yield
        finally:
            await end_task(task)
            await self.save()

    async def read(self) -> None:
        """Read what is stored, once; entries that are none of the operator's are left out."""
        if self._is_read:
            return
        try:
            entries = await self._cluster.find_memory(self._name)
        except ClusterError as error:
            logger.warning("%s; nothing is remembered until it can be read", error)
            return
        self._is_missing = entries is None
        for policy, data in (entries or {}).items():
            try:
                self._known[policy] = unpack(data)
            except ValueError as error:
                logger.warning(
                    "what %s in %s says is ignored and learned anew: %s", policy, self._name, error
                )
        self._is_read = True
        self._recalled.clear()

    def recall(self, state: FleetState, given: Mapping[str, ServiceInput]) -> FleetState:
        """Return the state with what is known of policies that have just come, or come back."""
        self._recalled &= given.keys()
        new = [each for name, each in given.items() if name not in self._recalled]
        if not new or not self._is_read:
            return state
        self._recalled |= given.keys()
        return recall(state, new, self._known)

    def note(self, state: FleetState, given: Mapping[str, ServiceInput]) -> None:
        """Take the newest state in; it is written when it is time."""
        for name, each in given.items():
            if name in self._recalled:
                self._known[name] = remember(state.services[name], each.policy.target)
        self._predicting = {
            name
            for name, each in given.items()
            if each.policy.prediction_mode is PredictionMode.FLOOR
        }

    async def save(self) -> None:
        """Write what is known of the policies that there are, if this operator may."""
        await self.read()
        if not self._is_read or not self._may_write():
            return
        # One whose Deployment is away for a moment is no policy without a past.
        self._known = {name: one for name, one in self._known.items() if self._is_policy(name)}
        # Some hundred milliseconds for fifty policies: not in the loop of the ticks.
        entries = await asyncio.to_thread(pack, dict(self._known), frozenset(self._predicting))
        try:
            await self._cluster.put_memory(self._name, entries)
            self.problem = ""
        except NoMemoryError as error:
            self.problem = str(error)
            logger.error("what was learned ends with the operators: %s", error)
        except ClusterError as error:
            logger.warning(
                "%s; what was learned is written in %.0f s", error, self._save_interval_s
            )

    async def _keep(self) -> None:
        while not self._is_read:
            await asyncio.sleep(READ_INTERVAL_S)
            await self.read()
        if self._is_missing:
            await asyncio.sleep(FIRST_SAVE_S)
            await self.save()
        while True:
            await asyncio.sleep(self._save_interval_s)
            await self.save()
