"""Which events people get, how often, and that a takeover loses none."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fakes.memory_cluster import MemoryCluster
from tieline.operator.foreign_writes import MAX_FOREIGN_WRITES
from tieline.operator.resources import Kind
from unit.operator.test_scaler import NOW, PODS, Operator, policy, world

CALM, SURGE = 150.0, 1500.0
Change = Callable[[MemoryCluster], None]


def put(kind: Kind, name: str, **spec: Any) -> Change:
    meta = {"name": name, "uid": name, "creationTimestamp": "2027-01-15T08:00:00Z"}
    return lambda cluster: cluster.put(kind, {"metadata": meta, "spec": spec})


def drop(kind: Kind, name: str) -> Change:
    return lambda cluster: cluster.objects[kind].pop(name)


def nothing(_: MemoryCluster) -> None:
    return None


OVERRIDE = {
    "policyRef": {"name": "messaging"},
    "action": "BlockScaleDown",
    "reason": "INC-1",
    "expiresAt": "2027-01-15T09:00:00Z",
}
AUTOSCALER = {"scaleTargetRef": {"kind": "Deployment", "name": "messaging"}}


@pytest.mark.parametrize(
    ("change", "loads", "undo", "loads_after", "told"),
    [
        pytest.param(nothing, [CALM] * 9, nothing, [CALM] * 9, [], id="nothing happens"),
        pytest.param(
            lambda cluster: cluster.put(Kind.POLICY, policy(maxReplicas=PODS)),
            [SURGE] * 3,
            nothing,
            [CALM] * 80,
            ["ScalingLimited", "SurgeEntered", "SurgeLeft"],
            id="a surge",
        ),
        pytest.param(
            lambda cluster: cluster.put(Kind.POLICY, policy(maxReplicas=4)),
            [1000.0],
            nothing,
            [],
            ["ScalingLimited"],
            id="a limit",
        ),
        pytest.param(
            put(Kind.AUTOSCALER, "hpa", **AUTOSCALER),
            [CALM] * 2,
            drop(Kind.AUTOSCALER, "hpa"),
            [CALM] * 2,
            ["TargetConflict", "TargetConflictResolved"],
            id="another scaler",
        ),
        pytest.param(
            put(Kind.OVERRIDE, "incident", **OVERRIDE),
            [CALM] * 2,
            drop(Kind.OVERRIDE, "incident"),
            [CALM] * 2,
            ["Overridden", "OverrideEnded"],
            id="an override",
        ),
        pytest.param(
            nothing,
            [None] * 9,
            nothing,
            [CALM] * 4,
            ["SignalsUntrusted", "SignalsRecovered"],
            id="no reports",
        ),
        pytest.param(
            drop(Kind.DEPLOYMENT, "messaging"),
            [CALM] * 3,
            nothing,
            [],
            ["TargetNotFound"],
            id="no target",
        ),
        pytest.param(
            put(Kind.POLICY, "second", **policy()["spec"]),
            [CALM] * 3,
            nothing,
            [],
            ["TargetTaken"],
            id="two policies",
        ),
        pytest.param(
            put(Kind.POLICY, "bad", maxReplicas=-1),
            [CALM] * 3,
            nothing,
            [],
            ["InvalidSpec"],
            id="a policy that can't be read",
        ),
        pytest.param(
            put(Kind.WINDOW, "bad", policies=["messaging"]),
            [CALM] * 3,
            nothing,
            [],
            ["InvalidSpec"],
            id="a window that can't be read",
        ),
        pytest.param(
            put(Kind.OVERRIDE, "bad", action="Sing"),
            [CALM] * 3,
            nothing,
            [],
            ["InvalidSpec"],
            id="an override that can't be read",
        ),
        pytest.param(
            put(Kind.OVERRIDE, "lost", **(OVERRIDE | {"policyRef": {"name": "nobody"}})),
            [CALM] * 3,
            nothing,
            [],
            ["PolicyNotFound"],
            id="an override of no policy",
        ),
    ],
)
async def test_what_people_are_told(
    change: Change,
    loads: Sequence[float | None],
    undo: Change,
    loads_after: Sequence[float | None],
    told: Sequence[str],
) -> None:
    cluster = world()
    # The older one keeps its target.
    cluster.objects[Kind.POLICY]["messaging"]["metadata"]["creationTimestamp"] = (
        "2026-01-01T00:00:00Z"
    )
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        # What was told at the start is a minute ago.
        for _ in range(70):
            await operator.second(CALM)
        cluster.events.clear()
        change(cluster)
        for load in loads:
            await operator.second(load)
        undo(cluster)
        for load in loads_after:
            await operator.second(load)

    assert cluster.events == told


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param("TargetNotFound", id="a trouble"),
        pytest.param("SignalsUntrusted", id="a condition"),
    ],
)
async def test_each_kind_of_event_is_told_once_a_minute_at_most(reason: str) -> None:
    cluster = world()
    operator = Operator(cluster)
    deployment = cluster.objects[Kind.DEPLOYMENT]["messaging"]
    async with operator.scaler.reporter.running():
        for second in range(400):
            is_bad = second // 10 % 2 == 1
            if reason == "TargetNotFound":
                cluster.objects[Kind.DEPLOYMENT] = {} if is_bad else {"messaging": deployment}
            await operator.second(None if is_bad and reason != "TargetNotFound" else CALM)

    times = [time - NOW for told, time in cluster.event_times if told == reason]
    assert len(times) >= 3
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(times))


async def test_policy_that_is_made_anew_is_told_of_as_the_first_one_was() -> None:
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for uid in ("first", "second"):
            bad = policy(targetRef={"name": "nowhere"})
            bad["metadata"] |= {"name": "bad", "uid": uid}
            cluster.put(Kind.POLICY, bad)
            for _ in range(3):
                await operator.second(CALM)

    assert cluster.events.count("TargetNotFound") == 2


async def test_what_happens_between_the_holders_end_and_the_takeover_is_told_once() -> None:
    cluster = world()
    is_b_holder = False
    a, b = Operator(cluster), Operator(cluster, writes=lambda: is_b_holder)
    async with a.scaler.reporter.running(), b.scaler.reporter.running():
        for _ in range(6):
            await a.second(CALM)
            await b.second(CALM)
        cluster.events.clear()
        put(Kind.OVERRIDE, "incident", **OVERRIDE)(cluster)
        put(Kind.WINDOW, "bad", policies=["messaging"])(cluster)
        for _ in range(6):
            await a.second(CALM)
            await b.second(CALM)
        assert sorted(cluster.events) == ["InvalidSpec", "Overridden"]
        # The holder is gone.
        for _ in range(6):
            await b.second(SURGE)
        assert "SurgeEntered" not in cluster.events
        is_b_holder = True
        for _ in range(3):
            await b.second(SURGE)

    assert sorted(cluster.events) == ["InvalidSpec", "Overridden", "SurgeEntered"]


async def test_conflict_goes_on_over_a_takeover_and_a_restart() -> None:
    """Whoever begins knows of it from the status, and keeps its hands off."""
    cluster = world()
    holder = "a"
    a = Operator(cluster, writes=lambda: holder == "a")
    b = Operator(cluster, writes=lambda: holder == "b")
    async with a.scaler.reporter.running(), b.scaler.reporter.running():
        for foreign in range(2 * MAX_FOREIGN_WRITES):
            for _ in range(2):
                await a.second(SURGE)
                await b.second(SURGE)
            cluster.objects[Kind.DEPLOYMENT]["messaging"]["spec"]["replicas"] = 4 + foreign % 2
        await a.second(SURGE)
        assert cluster.events.count("TargetConflict") == 1
        scales = len(cluster.scales)
        for _ in range(6):
            await b.second(SURGE)
        holder = "b"
        for _ in range(6):
            await b.second(SURGE)
        assert cluster.events.count("TargetConflict") == 1
    restarted = Operator(cluster)
    async with restarted.scaler.reporter.running():
        for _ in range(6):
            await restarted.second(SURGE)

    assert len(cluster.scales) == scales
    assert "TargetConflictResolved" not in cluster.events


async def test_status_is_written_on_when_the_clock_is_set_back() -> None:
    """Also one that the API has refused just before."""
    cluster = world()
    operator = Operator(cluster)
    async with operator.scaler.reporter.running():
        for _ in range(3):
            await operator.second(CALM)
        cluster.refuses_statuses = True
        for _ in range(12):
            await operator.second(SURGE)
        cluster.refuses_statuses = False
        written = len(cluster.statuses)
        await operator.second(SURGE, passed_s=-30.0)

    assert len(cluster.statuses) == written + 1
