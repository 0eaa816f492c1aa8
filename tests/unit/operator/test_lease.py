import pytest

from fakes.memory_cluster import MemoryCluster
from tieline.operator.cluster import ClusterError, ConflictError, LeaseRecord
from tieline.operator.lease import (
    DURATION_S,
    HOLD_S,
    RENEW_INTERVAL_S,
    LeaseKeeper,
    LeaseStep,
    Observed,
    observe,
    plan_lease,
)

OURS = LeaseRecord("a", 6, "1")
THEIRS = LeaseRecord("b", 6, "1")


@pytest.mark.parametrize(
    ("observed", "now", "step"),
    [
        pytest.param(None, 0.0, LeaseStep.CREATE, id="there is none"),
        pytest.param(Observed(OURS, 0.0), 100.0, LeaseStep.RENEW, id="ours, however old"),
        pytest.param(Observed(THEIRS, 0.0), 5.9, LeaseStep.WAIT, id="theirs, not yet run out"),
        pytest.param(Observed(THEIRS, 0.0), 6.0, LeaseStep.TAKE, id="theirs, run out"),
        pytest.param(Observed(LeaseRecord("", 6, "1"), 0.0), 0.0, LeaseStep.TAKE, id="given up"),
    ],
)
def test_lease_is_another_ones_until_it_has_not_changed_for_its_duration(
    observed: Observed | None, now: float, step: LeaseStep
) -> None:
    assert plan_lease(observed, "a", now) is step


def test_only_a_change_makes_an_observation_new() -> None:
    first = observe(None, THEIRS, 1.0)

    assert observe(first, THEIRS, 5.0).time == 1.0
    assert observe(first, LeaseRecord("b", 6, "2"), 5.0).time == 5.0


class OneLease(MemoryCluster):
    """A lease, and what may happen to it between two calls."""

    def __init__(self, record: LeaseRecord | None = None) -> None:
        super().__init__()
        self.record = record
        self.fault = ""
        self.put_count = 0

    def change(self, holder: str) -> None:
        """Let somebody write it."""
        version = 1 if self.record is None else int(self.record.version) + 1
        self.record = LeaseRecord(holder, 6, str(version))

    async def find_lease(self, name: str) -> LeaseRecord | None:
        if self.fault == "find fails":
            raise ClusterError("reading the lease: 503")
        found = self.record
        if self.fault == "b writes between":
            self.change("b")
        return found

    async def put_lease(
        self, name: str, holder: str, duration_s: int, before: LeaseRecord | None
    ) -> None:
        self.put_count += 1
        if before != self.record:
            raise ConflictError("writing the lease: 409")
        if self.fault == "put fails":
            raise ClusterError("writing the lease: 503")
        self.change(holder)
        if self.fault == "answer gets lost":
            raise ClusterError("writing the lease: no answer in time")


class LeaseClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


FAULTS = ("find fails", "put fails", "b writes between", "answer gets lost")


@pytest.mark.parametrize(
    ("record", "fault", "is_held", "is_put"),
    [
        pytest.param(None, "", True, True, id="there is none"),
        pytest.param(LeaseRecord("", 6, "1"), "", True, True, id="given up"),
        pytest.param(OURS, "", True, True, id="ours of a life before"),
        pytest.param(THEIRS, "", False, False, id="theirs"),
        *(pytest.param(None, fault, False, None, id=f"none, {fault}") for fault in FAULTS),
        *(pytest.param(OURS, fault, False, None, id=f"ours, {fault}") for fault in FAULTS),
    ],
)
async def test_lease_is_held_only_by_whom_the_api_said_so(
    record: LeaseRecord | None, fault: str, is_held: bool, is_put: bool | None
) -> None:
    cluster = OneLease(record)
    keeper = LeaseKeeper(cluster, "operator", "a", clock=LeaseClock())
    cluster.fault = fault

    await keeper.turn()

    assert keeper.is_held is is_held
    if is_put is not None:
        assert (cluster.put_count == 1) is is_put


@pytest.mark.parametrize("fault", FAULTS)
async def test_holder_that_can_not_renew_stops_before_anybody_may_take_it(fault: str) -> None:
    clock, cluster = LeaseClock(), OneLease()
    keeper = LeaseKeeper(cluster, "operator", "a", clock=clock)
    await keeper.turn()
    cluster.fault = fault
    for _ in range(2):
        clock.now += RENEW_INTERVAL_S
        await keeper.turn()

    assert clock.now == 100.0 + HOLD_S < 100.0 + DURATION_S
    assert not keeper.is_held
    assert keeper.lost_count == 1
    if fault != "b writes between":
        cluster.fault = ""
        await keeper.turn()
        assert keeper.is_held


async def test_holder_that_sees_another_one_stops_at_once() -> None:
    clock, cluster = LeaseClock(), OneLease()
    keeper = LeaseKeeper(cluster, "operator", "a", clock=clock)
    await keeper.turn()
    cluster.change("b")
    clock.now += 0.1

    await keeper.turn()

    assert not keeper.is_held
    # It runs out as seen from here, and is taken then.
    clock.now += DURATION_S
    await keeper.turn()
    assert keeper.is_held
