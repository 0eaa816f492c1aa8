"""A second of the operator on a cluster in memory: killed anywhere, it is made up for."""

import asyncio
import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fakes.memory_cluster import LABELS, Killed, MemoryCluster
from tieline.api.common.v1 import load_report_pb2, priority_pb2
from tieline.operator.decision_state import ServiceDecision
from tieline.operator.fleet import Fleet
from tieline.operator.foreign_writes import MAX_FOREIGN_WRITES
from tieline.operator.load_reports import ReportBook
from tieline.operator.resources import Kind
from tieline.operator.scaler import Scaler

NOW = 1_800_000_000.0
PODS = 3


def policy(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "messaging", "uid": "1", "generation": 1},
        "spec": {
            "targetRef": {"name": "messaging"},
            "maxReplicas": 50,
            "capacity": {"requestsPerSecondPerPod": 100, "warmupSeconds": 0},
            **spec,
        },
    }


def world(**spec: Any) -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.put(Kind.POLICY, policy(**spec))
    cluster.put(
        Kind.DEPLOYMENT,
        {
            "metadata": {"name": "messaging"},
            "spec": {"replicas": PODS, "selector": {"matchLabels": LABELS}},
        },
    )
    for number in range(PODS):
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        cluster.put(
            Kind.POD,
            {
                "metadata": {"name": f"pod-{number}", "labels": LABELS},
                "status": {"phase": "Running", "conditions": [ready]},
            },
        )
    return cluster


class Operator:
    """One operator process, with the replicas that report to it."""

    def __init__(self, cluster: MemoryCluster, *, writes: Callable[[], bool] = lambda: True):
        self.fleet = Fleet()
        self.reports = ReportBook(lambda _: True, self.fleet.is_replica)
        self.surges: list[ServiceDecision] = []
        self.now = NOW
        self._cluster = cluster
        self._offered = 0.0
        self._sequence = 0
        self.scaler = Scaler(
            cluster,
            self.fleet,
            self.reports,
            may_write=writes,
            publish_surge=self._hear,
            clock=lambda: self.now,
        )

    async def _hear(self, decision: ServiceDecision, _: str) -> None:
        self.surges.append(decision)

    async def second(self, offered_per_s: float | None, *, passed_s: float = 1.0) -> None:
        """Let a second pass: reports, watches, a tick and what is reported of it."""
        self.now += passed_s
        if offered_per_s is not None:
            self._offered += offered_per_s / PODS
            self._sequence += 1
            for number in range(PODS):
                self.reports.take(f"load.messaging.pod-{number}", self._report(number), self.now)
        self._cluster.show(self.fleet)
        await self.scaler.tick()
        # Statuses are written beside the tick.
        for _ in range(10):
            await asyncio.sleep(0)

    def _report(self, number: int) -> load_report_pb2.LoadReport:
        report = load_report_pb2.LoadReport(
            service="messaging", replica=f"pod-{number}", sequence=self._sequence
        )
        report.start_time.seconds = int(NOW) - 100
        report.classes.add(
            business_class=priority_pb2.BUSINESS_CLASS_NORMAL,
            first_attempts=int(self._offered),
            admitted=int(self._offered),
        )
        return report


async def run(cluster: MemoryCluster, loads: Sequence[float]) -> Operator:
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for load in loads:
            await operator.second(load)
    return operator


@pytest.mark.parametrize("is_done", [False, True], ids=["before it acts", "after it acted"])
@pytest.mark.parametrize("call", range(1, 7))
async def test_operator_that_is_killed_at_a_write_is_made_up_for(call: int, is_done: bool) -> None:
    cluster = world()
    cluster.kill_at = (call, is_done)
    loads = [150.0] * 4 + [1500.0] * 4

    with contextlib.suppress(Killed):
        await run(cluster, loads)
    cluster.kill_at = None
    await run(cluster, loads)

    assert cluster.replicas() == 20
    status = cluster.objects[Kind.POLICY]["messaging"]["status"]
    assert status["desiredReplicas"] == 20


async def test_signals_that_go_away_hold_and_come_back_by_themselves() -> None:
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for _ in range(3):
            await operator.second(150.0)
        for _ in range(90):
            await operator.second(None)
        assert cluster.replicas() == PODS
        assert healthy(cluster) == "False"
        # A window or a person may still raise.
        cluster.put(Kind.POLICY, policy(minReplicas=5))
        await operator.second(None)
        assert cluster.replicas() == 5
        for _ in range(3):
            await operator.second(1500.0)

    assert healthy(cluster) == "True"
    assert cluster.replicas() >= 19


async def test_policy_that_is_deleted_in_surge_leaves_the_replicas_and_tells_nobody() -> None:
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for load in (150.0, 150.0, 1500.0, 1500.0, 1500.0):
            await operator.second(load)
        assert operator.surges
        raised, told = cluster.replicas(), len(operator.surges)
        del cluster.objects[Kind.POLICY]["messaging"]
        for _ in range(3):
            await operator.second(9000.0)

    assert cluster.replicas() == raised
    assert len(operator.surges) == told


async def test_deployment_that_is_deleted_in_surge_is_told_and_scaled_when_it_is_back() -> None:
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for load in (150.0, 150.0, 1500.0, 1500.0, 1500.0):
            await operator.second(load)
        gone = cluster.objects[Kind.DEPLOYMENT].pop("messaging")
        await operator.second(1500.0)
        assert "TargetNotFound" in cluster.events
        gone["spec"]["replicas"] = PODS
        cluster.put(Kind.DEPLOYMENT, gone)
        for _ in range(2):
            await operator.second(1500.0)

    assert cluster.replicas() >= 19


@pytest.mark.parametrize("jump_s", [-90.0, -5.0, 5.0, 7200.0])
async def test_clock_that_jumps_lowers_nothing_and_stops_nothing(jump_s: float) -> None:
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for _ in range(5):
            await operator.second(200.0)
        await operator.second(200.0, passed_s=jump_s)
        assert cluster.replicas() == PODS
        for _ in range(5):
            await operator.second(1500.0)

    assert cluster.replicas() >= 19


async def test_clock_hours_behind_those_of_the_replicas_holds_and_says_so() -> None:
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for _ in range(5):
            await operator.second(200.0)
        await operator.second(200.0, passed_s=-7200.0)
        for _ in range(5):
            await operator.second(1500.0)
        assert cluster.replicas() == PODS
        assert healthy(cluster) == "False"
        await operator.second(1500.0, passed_s=7200.0)
        await operator.second(1500.0)

    assert cluster.replicas() >= 19


async def test_standby_decides_the_same_and_writes_nothing() -> None:
    cluster = world()
    holder, standby = Operator(cluster), Operator(cluster, writes=lambda: False)
    async with holder.scaler.reporter.running(), standby.scaler.reporter.running():
        for load in (150.0, 150.0, 1500.0):
            await standby.second(load)
            assert not cluster.scales
        for load in (150.0, 150.0, 1500.0):
            await holder.second(load)

    decided = standby.scaler.decisions["messaging"].replicas
    assert cluster.scales == [("messaging", decided)]
    assert standby.surges == []


@pytest.mark.parametrize(
    ("spec", "is_told"),
    [
        pytest.param({}, True, id="active"),
        pytest.param({"mode": "Advisory"}, False, id="on trial"),
        pytest.param({"mode": "Frozen"}, False, id="frozen"),
    ],
)
async def test_services_are_told_of_capacity_that_is_asked_for(
    spec: dict[str, Any], is_told: bool
) -> None:
    """What is decided and not written brings no capacity."""
    operator = await run(world(**spec), [150.0] * 3 + [1500.0] * 4)

    assert operator.scaler.decisions["messaging"].in_surge
    assert bool(operator.surges) is is_told


async def test_list_that_was_made_before_an_event_does_not_undo_it() -> None:
    cluster = world()
    operator = Operator(cluster)
    cluster.show(operator.fleet)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def list_slowly(kind: Kind) -> Sequence[Any]:
        listed = copy.deepcopy(list(cluster.objects[kind].values()))
        if kind is Kind.DEPLOYMENT:
            asked.set()
            await answer.wait()
        return listed

    cluster.list_objects = list_slowly  # type: ignore[method-assign]
    cluster.objects[Kind.DEPLOYMENT]["gone"] = {"metadata": {"name": "gone"}, "spec": {}}
    relisting = asyncio.create_task(operator.scaler.relist())
    await asked.wait()
    newer = copy.deepcopy(cluster.objects[Kind.DEPLOYMENT]["messaging"])
    newer["spec"]["replicas"] = 9
    operator.fleet.note(Kind.DEPLOYMENT, "MODIFIED", newer)
    operator.fleet.note(Kind.DEPLOYMENT, "DELETED", {"metadata": {"name": "gone"}})
    operator.fleet.note(Kind.DEPLOYMENT, "ADDED", {"metadata": {"name": "new"}, "spec": {}})
    answer.set()
    await relisting

    found = [operator.fleet.find_replicas(name) for name in ("messaging", "gone", "new")]
    assert found == [9, None, 1]
    # What is told later than a list is not protected from the next one.
    await operator.scaler.relist()
    assert operator.fleet.find_replicas("messaging") == PODS


async def test_what_was_written_counts_until_the_watch_shows_it() -> None:
    """A need between what is shown and what was written is no raise."""
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for load in (150.0, 150.0):
            await operator.second(load)
        late = copy.deepcopy(cluster.objects[Kind.DEPLOYMENT]["messaging"])
        cluster.hidden = {Kind.DEPLOYMENT}
        for load in (2400.0, 2400.0):
            await operator.second(load)
        written = cluster.replicas()
        assert written >= 30
        for load in (1600.0, 1600.0):
            # The controller's status of before the write changes nothing either.
            operator.fleet.note(Kind.DEPLOYMENT, "MODIFIED", late)
            await operator.second(load)
        assert cluster.replicas() == written

        # Whoever sets another number after that is seen.
        late["spec"]["replicas"] = 5
        operator.fleet.note(Kind.DEPLOYMENT, "MODIFIED", late)
        await operator.second(1600.0)
    assert operator.scaler.decisions["messaging"].current_replicas == 5


async def test_list_that_was_asked_for_after_a_write_is_newer_than_its_answer() -> None:
    """One that was asked for before is not."""
    cluster = world()
    operator = Operator(cluster)
    cluster.show(operator.fleet)
    fleet, old = operator.fleet, copy.deepcopy(cluster.objects[Kind.DEPLOYMENT]["messaging"])

    with fleet.listing(Kind.DEPLOYMENT) as told:
        fleet.note_scaled("messaging", 9)
        fleet.replace(Kind.DEPLOYMENT, [old], told)
    await operator.scaler.tick()
    assert operator.scaler.decisions["messaging"].current_replicas == 9

    await operator.scaler.relist()
    await operator.scaler.tick()
    assert operator.scaler.decisions["messaging"].current_replicas == PODS


async def test_writes_whose_answer_got_lost_are_the_operators_own() -> None:
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for load in (200.0, 200.0, 800.0, 800.0):
            await operator.second(load)
        assert cluster.scales
        cluster.loses_answers = True
        for load in (1200.0, 1600.0, 2000.0, 2400.0, 2800.0, 3200.0):
            await operator.second(load)

    assert len(set(cluster.scales)) > MAX_FOREIGN_WRITES + 1
    assert status_of(cluster, "TargetConflict") == "False"
    assert cluster.replicas() >= 40


async def test_lease_that_goes_to_another_operator_and_comes_back_is_no_conflict() -> None:
    cluster = world()
    holder = ["a"]
    a = Operator(cluster, writes=lambda: holder == ["a"])
    b = Operator(cluster, writes=lambda: holder == ["b"])
    async with a.scaler.reporter.running(), b.scaler.reporter.running():
        for load in (200.0, 200.0, 800.0, 800.0):
            await a.second(load)
            await b.second(load)
        written = len(cluster.scales)
        holder[0] = "b"
        for load in (1200.0, 1600.0, 2000.0, 2400.0, 2800.0):
            await b.second(load)
            await a.second(load)
        assert len(set(cluster.scales[written:])) > MAX_FOREIGN_WRITES
        holder[0] = "a"
        for load in (3600.0, 3600.0, 3600.0):
            await a.second(load)

    assert cluster.replicas() >= 45
    assert status_of(cluster, "TargetConflict") == "False"


def healthy(cluster: MemoryCluster) -> str:
    return status_of(cluster, "SignalsHealthy")


def status_of(cluster: MemoryCluster, kind: str) -> str:
    conditions = cluster.objects[Kind.POLICY]["messaging"]["status"]["conditions"]
    found: str = next(one["status"] for one in conditions if one["type"] == kind)
    return found
