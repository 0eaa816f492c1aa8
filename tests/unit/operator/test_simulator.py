"""The simulator: its models, its peers' rules, and that a seed makes a run repeatable."""

import dataclasses
import itertools
import random
import re
from pathlib import Path

import pytest

from fleets import policy
from tieline.operator.policy import Mode
from tieline.operator.replica_report import CRITICAL
from tieline.operator.simulator.cluster_model import ClusterModel, Deployment
from tieline.operator.simulator.comparison import (
    Outcome,
    best_within,
    compare,
    ratio_interval,
    tune,
)
from tieline.operator.simulator.contenders import (
    Contender,
    as_simulated,
    peer_grid,
    surge_contender,
    surge_grid,
    usual_peers,
)
from tieline.operator.simulator.hpa import Hpa, HpaSettings
from tieline.operator.simulator.html_report import build_page
from tieline.operator.simulator.kpa import Kpa, KpaSettings
from tieline.operator.simulator.load_shapes import SHAPES, read_trace, scale_trace
from tieline.operator.simulator.requests import PodSecond, ServiceModel, ServiceSecond
from tieline.operator.simulator.scalers import Floor, Observed
from tieline.operator.simulator.scenarios import announced, chain, one_service
from tieline.operator.simulator.simulation import Result, simulate

MODEL = ClusterModel(report_loss=0.0, report_delay=0.0)
SHORT = [80.0] * 20 + [600.0] * 40


def deployment(replicas: int, model: ClusterModel = MODEL) -> Deployment:
    made = Deployment("web", model, random.Random(1), replicas)
    made.begin(0.0)
    return made


def observed(
    pods: Deployment, *, cpu: float = 0.0, attempts: int = 0, latency: float = 0.0
) -> Observed:
    count = max(1, len(pods.alive()))
    seconds = {
        pod.name: PodSecond(offered=[0, 0, attempts // count, 0], cpu_s=cpu) for pod in pods.alive()
    }
    return Observed(ServiceModel("web"), pods, ServiceSecond(seconds, attempts, attempts))


def test_same_seed_gives_the_same_run_and_another_one_another() -> None:
    staged = one_service("short", SHORT)
    ours = surge_contender("surge", staged.policies)

    first = simulate(staged.scenario, ours.build, 1)

    assert simulate(staged.scenario, ours.build, 1) == first
    assert simulate(staged.scenario, ours.build, 2) != first


@pytest.mark.parametrize("contender", usual_peers(), ids=lambda one: one.label)
def test_every_peer_gets_the_same_first_attempts(contender: Contender) -> None:
    staged = one_service("short", SHORT)

    result = simulate(staged.scenario, contender.build, 1)

    # The chances of arrivals are drawn in the same order whoever scales.
    assert sum(result.offered) == pytest.approx(sum(SHORT), rel=0.05)
    assert result.pod_seconds > 0


def test_important_classes_are_refused_last() -> None:
    staged = one_service("short", SHORT)
    result = simulate(staged.scenario, usual_peers()[0].build, 1)

    ratios = [shed / offered for shed, offered in zip(result.shed, result.offered, strict=True)]

    assert ratios == sorted(ratios)
    assert ratios[CRITICAL] < ratios[-1]


def test_callee_gets_the_calls_that_its_caller_served() -> None:
    staged = chain("chain", [60.0] * 30)

    result = simulate(staged.scenario, surge_contender("surge", staged.policies).build, 1)

    front, last = result.series["gateway"], result.series["directory"]
    assert sum(last.offered) == pytest.approx(sum(front.offered) - sum(front.shed), rel=0.05)


@pytest.mark.parametrize(("settled", "violation_s"), [(0, 0), (5, 5)])
def test_what_the_given_replicas_cannot_do_at_first_is_not_counted(
    settled: int, violation_s: int
) -> None:
    rates = [80.0] + [2000.0] * (59 + settled)
    staged = one_service("overloaded", rates)
    idle = Contender("at most 2", "KPA", kpa=KpaSettings(max_replicas=2))

    assert simulate(staged.scenario, idle.build, 1).violation_s == violation_s


def test_announced_peak_finds_its_replicas_ready() -> None:
    staged = announced(60.0)
    # Two replicas of 40/s are so few that chance refuses calls long before the peak.
    generous = {
        name: dataclasses.replace(one, min_replicas=8) for name, one in staged.policies.items()
    }
    ours = surge_contender("surge", generous, staged.windows)

    result = simulate(staged.scenario, ours.build, 1)

    series = result.series["messaging"]
    assert series.serving[418] >= 600 / 40
    assert result.time_to_capacity_s == 0
    assert result.violation_s == 0


@pytest.mark.parametrize(
    ("does", "capacity"),
    [
        pytest.param(900, 40, id="what it says"),
        pytest.param(1800, 20, id="half of what they do"),
        pytest.param(450, 80, id="double"),
        pytest.param(100_000_000, 1, id="next to nothing"),
    ],
)
def test_policy_is_scaled_to_simulated_replicas_and_played_live(does: int, capacity: int) -> None:
    given = policy(
        mode="Advisory",
        capacity={"requestsPerSecondPerPod": 900, "targetUtilizationPercent": 60},
        surge={"queueWaitMilliseconds": 10},
    )

    simulated = as_simulated(given, does)

    assert simulated.mode is Mode.ACTIVE
    assert simulated.capacity.requests_per_second_per_pod == capacity
    assert simulated.capacity.target_utilization_percent == 60
    assert simulated.surge.queue_wait_milliseconds == 50


class TestCluster:
    def test_pods_are_created_at_the_api_rate_and_ready_after_their_start(self) -> None:
        pods = deployment(2)
        pods.replicas = 50

        pods.step(10.0)

        assert len(pods.pods) == 22
        assert len(pods.ready(10.0)) == 2
        for second in range(11, 40):
            pods.step(float(second))
        assert len(pods.ready(40.0)) == 50

    def test_callers_know_of_a_replica_after_the_delay_and_of_its_end_too(self) -> None:
        pods = deployment(3)
        pods.replicas = 2

        pods.step(10.0)

        assert len(pods.endpoints(10.0)) == 3
        assert len(pods.endpoints(11.0)) == 2
        pods.step(14.0)
        assert len(pods.pods) == 3
        pods.step(15.0)
        assert len(pods.pods) == 2

    def test_pods_beyond_the_room_wait_for_nodes(self) -> None:
        pods = deployment(2, dataclasses.replace(MODEL, free_pods=4))
        pods.replicas = 10
        for second in range(1, 50):
            pods.step(float(second))
        assert len(pods.ready(49.0)) == 6

        for second in range(50, 120):
            pods.step(float(second))

        assert len(pods.ready(119.0)) == 10

    def test_what_is_not_ready_is_deleted_first(self) -> None:
        pods = deployment(3)
        pods.replicas = 4
        pods.step(1.0)
        pods.replicas = 3

        pods.step(2.0)

        assert len(pods.ready(2.0)) == 3

    def test_pod_seconds_count_from_creation_to_the_end_of_the_drain(self) -> None:
        pods = deployment(2)
        pods.replicas = 1
        for second in range(10):
            pods.step(float(second))

        assert pods.pod_seconds == 10 + MODEL.drain


class TestHpa:
    def scale(self, hpa: Hpa, pods: Deployment, seconds: int, **load: float) -> int:
        for second in range(1, seconds + 1):
            one = observed(pods, cpu=load.get("cpu", 0.0), attempts=int(load.get("attempts", 0)))
            pods.replicas = hpa.scale([one], float(second)).get("web", pods.replicas)
        return pods.replicas

    def test_cpu_ratio_sizes_in_proportion(self) -> None:
        assert self.scale(Hpa(HpaSettings(), random.Random(1)), deployment(10), 31, cpu=0.9) == 15

    def test_ratio_within_the_tolerance_changes_nothing(self) -> None:
        assert self.scale(Hpa(HpaSettings(), random.Random(1)), deployment(10), 60, cpu=0.65) == 10

    def test_without_behavior_a_step_doubles_at_most(self) -> None:
        hpa = Hpa(HpaSettings(metric="fresh", target=0.5), random.Random(1))

        assert self.scale(hpa, deployment(10), 15, attempts=4000) == 20

    def test_with_a_policy_a_step_is_as_large_as_it_says(self) -> None:
        hpa = Hpa(HpaSettings(metric="fresh", target=0.5, up_percent=900), random.Random(1))

        assert self.scale(hpa, deployment(10), 15, attempts=1600) == 80

    def test_scale_down_waits_for_the_window(self) -> None:
        hpa = Hpa(HpaSettings(metric="fresh", target=0.5), random.Random(1))
        pods = deployment(10)
        assert self.scale(hpa, pods, 15, attempts=200) == 10

        for second in range(16, 330):
            change = hpa.scale([observed(pods, attempts=20)], float(second))
            pods.replicas = change.get("web", pods.replicas)
            if second < 300:
                assert pods.replicas == 10

        assert pods.replicas < 10

    def test_unready_pods_damp_a_raise(self) -> None:
        hpa = Hpa(HpaSettings(), random.Random(1))
        pods = deployment(10)
        pods.replicas = 20
        pods.step(0.0)

        # 10 x 0.9 and 10 x 0 are 0.45 of 0.6: no raise.
        assert self.scale(hpa, pods, 15, cpu=0.9) == 20

    def test_cron_trigger_sets_a_floor_before_the_peak(self) -> None:
        floor = Floor(start=100.0, end=200.0, replicas=18, lead_s=60)
        hpa = Hpa(HpaSettings(metric="fresh"), random.Random(1), [floor])

        assert self.scale(hpa, deployment(10), 60, attempts=280) == 18


class TestKpa:
    def test_panic_sizes_by_six_seconds_and_never_down(self) -> None:
        kpa, pods = Kpa(KpaSettings(target=0.7), random.Random(1)), deployment(10)
        for second in range(60):
            assert kpa.scale([observed(pods, attempts=280)], float(second)) == {}

        raised: dict[str, int] = {}
        for second in range(60, 67):
            raised |= kpa.scale([observed(pods, attempts=2800)], float(second))
        assert raised["web"] == 100
        pods.replicas = 100

        for second in range(67, 126):
            assert kpa.scale([observed(pods, attempts=280)], float(second)) == {}

    def test_scale_down_halves_at_most(self) -> None:
        kpa, pods = Kpa(KpaSettings(), random.Random(1)), deployment(40)
        changes: dict[str, int] = {}
        for second in range(1, 4):
            changes |= kpa.scale([observed(pods, attempts=40)], float(second))

        assert changes["web"] == 20


class TestLoads:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_shape_begins_at_the_usual_load_and_reaches_its_peak(self, shape: str) -> None:
        rates = SHAPES[shape](100.0, 10.0)

        assert rates[0] == 100.0
        assert 300 < max(rates) <= 1500
        assert min(rates) >= 0

    def test_trace_is_scaled_to_its_median_and_peak(self, tmp_path: Path) -> None:
        file = tmp_path / "trace.csv"
        lines = [
            f"2026-01-01 00:{minute:02d}:00,{300 if minute == 30 else 100}" for minute in range(60)
        ]
        file.write_text("timestamp,value\n" + "\n".join(lines))

        rates = scale_trace(read_trace(file), 50.0, 1800)

        assert len(rates) == 1800
        assert max(rates) == pytest.approx(500, rel=0.01)
        assert sorted(rates)[900] == 50.0

    def test_flat_trace_stays_flat(self) -> None:
        rates = scale_trace([(0.0, 5.0), (60.0, 5.0), (120.0, 5.0)], 50.0, 60)

        assert rates == [50.0] * 60


class TestComparison:
    def outcome(self, pods: float, violations: int) -> Outcome:
        contender = Contender(f"{pods}", "KPA", kpa=KpaSettings())
        return Outcome(contender, (Result(violation_s=violations, pod_seconds=pods),))

    def test_best_is_the_one_with_the_fewest_violations_that_costs_no_more(self) -> None:
        cheap, beaten, good = self.outcome(1, 50), self.outcome(2, 60), self.outcome(3, 10)

        assert best_within([good, beaten, cheap], 2) == cheap
        assert best_within([good], 2) is None

    def test_of_equal_ones_within_a_bound_the_quickest_is_best(self) -> None:
        cheap, careful = self.outcome(1, 0), self.outcome(2, 0)
        cheap.results[0].p99_s = 0.1

        assert best_within([cheap, careful], 2) == careful

    def test_interval_holds_the_ratio(self) -> None:
        ratio, low, high = ratio_interval([8.0, 9.0, 10.0, 9.0], [18.0, 17.0, 20.0, 17.0])

        assert ratio == pytest.approx(0.5)
        assert low <= ratio <= high
        assert ratio_interval([0.0], [0.0]) == (1.0, 1.0, 1.0)

    def test_tuning_keeps_the_best_that_is_affordable(self) -> None:
        staged = one_service("short", [80.0] * 15)
        grid = [
            Contender(f"{least}", "KPA", kpa=KpaSettings(min_replicas=least)) for least in (3, 9)
        ]

        tuned = tune(staged.scenario, grid, (1, 2), keep=1, pod_seconds=60)

        assert [one.contender for one in tuned] == grid[:1]
        assert len(tuned[0].results) == 2

    def test_runs_in_other_processes_are_those_of_this_one(self) -> None:
        staged = one_service("short", [80.0] * 15)
        contenders = usual_peers()[-2:]

        apart = compare(staged.scenario, contenders, (1, 2), workers=2)

        assert apart == compare(staged.scenario, contenders, (1, 2), workers=1)

    def test_grids_hold_no_contender_twice(self) -> None:
        staged = announced(50.0)
        grid = peer_grid(staged.floors) + surge_grid(staged.policies, staged.windows)

        assert len({one.label for one in grid}) == len(grid)

    def test_peers_are_tried_with_every_value_of_one_parameter_beside_every_value_of_the_others(
        self,
    ) -> None:
        grid = peer_grid()[len(usual_peers()) :]
        hpas = [one.hpa for one in grid if one.hpa is not None]
        kpas = [one.kpa for one in grid if one.kpa is not None]
        for tuned in (
            [(one.metric, one.target, one.down_window_s, one.min_replicas) for one in hpas],
            [(one.metric, one.target, one.scale_down_delay_s, one.min_replicas) for one in kpas],
        ):
            values = [sorted(set(column)) for column in zip(*tuned, strict=True)]
            assert [len(each) for each in values][1:] == [5, 2, 4]
            assert sorted(tuned) == sorted(itertools.product(*values))

    def test_report_needs_nothing_from_elsewhere(self) -> None:
        staged = one_service("<short>", [80.0] * 15)
        outcomes = compare(
            staged.scenario, [surge_contender("a&b", staged.policies)], (1,), workers=1
        )

        page = build_page("<title>", "about", staged.scenario, outcomes)

        assert not re.search(r"(src|href)=|https?:|@import|url\(", page)
        assert "&lt;title&gt;" in page
        assert "a&amp;b" in page
        assert page.count("<svg") == 2
