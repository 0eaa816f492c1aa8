"""What is decided, from tables of one or some seconds."""

import dataclasses
import json

import pytest

from fleets import NOW, pods, policy, reports, run, service
from tieline.operator.decision_state import FleetState, ServiceDecision
from tieline.operator.memory import recall, remember
from tieline.operator.policy import (
    MAX_OVERRIDE_S,
    Mode,
    OverrideAction,
    SurgeOverride,
)
from tieline.operator.replica_report import PodObservation, ReplicaReport
from tieline.operator.scaling_decision import decide
from tieline.operator.windows import window_from_spec

CALM = [200.0] * 20


def override(action: OverrideAction, replicas: int = 0) -> SurgeOverride:
    return SurgeOverride(
        "inc-7", "messaging", action, replicas, NOW - 60, NOW - 60 + MAX_OVERRIDE_S, "INC-7"
    )


def test_step_is_answered_with_all_replicas_two_seconds_after_it_began() -> None:
    state, decision, now = run(CALM)
    assert not decision.is_write

    state, decision, now = run([2000.0, 2000.0], state, start=now + 1)

    assert decision.is_write
    assert decision.in_surge
    assert decision.replicas >= 2000 / 80
    assert decision.won == "demand"


def test_reason_says_what_is_offered_what_holds_it_and_what_limits() -> None:
    state, _, now = run(CALM)

    _, decision, _ = run([9400.0] * 2, state, start=now + 1, ready=10)

    assert decision.replicas == 50
    assert decision.limited_by == "maxReplicas"
    assert decision.reason.startswith("offered 9,400/s")
    assert "replicas hold 80 %" in decision.reason
    assert decision.reason.endswith("limited by maxReplicas 50")


def test_rising_load_is_sized_for_the_time_when_new_replicas_are_ready() -> None:
    state, _, now = run([1000.0] * 30, ready=15)

    _, rising, _ = run([1000.0 + 40 * s for s in range(20)], state, start=now + 1, ready=15)

    assert "rising" in rising.reason
    assert rising.replicas > (1000 + 40 * 19) / 80 * 1.15


def test_young_fleet_is_not_lowered_while_replicas_start() -> None:
    _, decision, _ = run([200.0] * 120, ready=8, starting=1)

    assert decision.replicas == 9
    assert "not lowered while 1 replicas start" in decision.reason


@pytest.mark.parametrize(
    "is_made", [pytest.param(True, id="no node has room"), pytest.param(False, id="a quota")]
)
def test_replicas_that_can_not_start_hold_neither_the_surge_nor_the_fleet(is_made: bool) -> None:
    """For two minutes they do: a new node takes that long."""
    stuck = tuple(PodObservation(f"stuck-{n}", NOW + 60, None) for n in range(10 * is_made))
    state, decided = FleetState(), []
    for second in range(240):
        now = NOW + second
        current, waiting = (50, stuck) if second >= 60 else (40, ())
        given = service(
            4200.0 if second < 90 else 400.0,
            40,
            now=now,
            current_replicas=current,
            pods=(*pods(40, now=now), *waiting),
        )
        state, (decision,) = decide(state, [given], now)
        decided.append(decision)

    lowered = next(n for n, one in enumerate(decided) if n >= 60 and one.replicas < 50)
    assert 120 <= lowered - 60 <= 122
    assert not decided[lowered].in_surge


def test_lowered_after_the_window_by_a_quarter_at_most() -> None:
    state, decision, now = run([200.0] * 60, ready=20)
    assert decision.replicas == 20
    assert "60 s must pass" in decision.reason

    _, decision, _ = run([200.0], state, start=now + 1, ready=20)

    assert decision.replicas == 15
    assert decision.is_write


def test_lowering_again_waits_for_the_interval() -> None:
    state, decision, now = run([200.0] * 61, ready=20)
    assert decision.replicas == 15

    state, decision, now = run([200.0] * 20, state, start=now + 1, ready=15)
    assert decision.replicas == 15
    _, decision, _ = run([200.0], state, start=now + 1, ready=15)

    assert decision.replicas == 12


def test_raise_soon_after_a_step_down_doubles_the_window() -> None:
    state, decision, now = run([200.0] * 61, ready=20)
    state, decision, now = run([1500.0] * 3, state, start=now + 1, ready=15)
    assert decision.replicas > 15

    state, decision, now = run([200.0] * 100, state, start=now + 1, ready=20)

    assert decision.replicas == 20
    assert state.services["messaging"].steps.window_s == 120


@pytest.mark.parametrize(
    ("reporting", "words"),
    [
        pytest.param(0, "no replica has reported", id="no reports"),
        pytest.param(11, "55% of 20 ready replicas report", id="too few"),
    ],
)
def test_untrusted_signals_hold_what_is_there(reporting: int, words: str) -> None:
    _, decision, _ = run([200.0] * 120, ready=20, reporting=reporting)

    assert decision.replicas == 20
    assert words in decision.reason
    healthy = next(one for one in decision.conditions if one.type == "SignalsHealthy")
    assert (healthy.status, healthy.reason) == ("False", "Untrusted")


def test_untrusted_signals_still_raise() -> None:
    _, decision, _ = run([3000.0] * 3, ready=20, reporting=11)

    assert decision.replicas > 20


def test_stale_reports_raise_to_the_fallback() -> None:
    raising = policy(fallback={"behavior": "RaiseToReplicas", "replicas": 30})
    old = service(200.0, 20, policy=raising, reports=reports(200.0, 20, now=NOW - 6))

    _, (decision,) = decide(FleetState(), [old], NOW)

    assert (decision.replicas, decision.won) == (30, "fallback")


def test_first_replica_alone_has_the_fallback() -> None:
    # One replica's word is enough for a second one, and for no more; the fallback needs nobody's.
    first = policy(minReplicas=1, fallback={"behavior": "RaiseToReplicas", "replicas": 6})

    _, alone, _ = run([50.0] * 3, ready=1, policy=first)
    _, two, _ = run([50.0] * 3, ready=2, policy=first)
    _, none, _ = run([50.0] * 3, ready=0, starting=1, reporting=0, policy=first)

    assert (alone.replicas, alone.won) == (6, "fallback")
    assert two.won != "fallback"
    assert (none.replicas, none.won) == (6, "fallback")


def test_one_replica_alone_does_not_scale_a_fleet() -> None:
    alone = policy(minReplicas=1)

    _, decision, _ = run([5000.0] * 5, ready=1, policy=alone)

    assert decision.replicas == 2
    assert "one replica alone says so" in decision.reason


EDGE = ReplicaReport(
    "messaging", "edge", NOW, (0.0, 0.0, 1e5, 0.0), (0.0, 0.0, 1e5, 0.0), from_edge=True
)


@pytest.mark.parametrize(
    ("reporting", "words"),
    [
        pytest.param(1, "one replica alone says so", id="one"),
        pytest.param(0, "no replica says so", id="none"),
    ],
)
def test_nothing_that_is_made_of_the_load_passes_what_one_replica_may_raise(
    reporting: int, words: str
) -> None:
    """Neither the reserve nor the edge, nor the callers' forecast at whom they call."""
    alone = policy(minReplicas=1, surge={"reservePercent": 100, "maxReserveReplicas": 40})
    callee = policy(
        minReplicas=1,
        targetRef={"name": "contacts"},
        upstreams=[{"name": "messaging", "fanoutMilli": 1000}],
    )
    state = FleetState()
    decisions: tuple[ServiceDecision, ...] = ()
    for second, count in enumerate([3] * 3 + [reporting] * 5):
        now = NOW + second
        heard = reports(200.0 * count, count, now=now)
        if count == reporting:
            heard += (dataclasses.replace(EDGE, time=now),)
        caller = service(0, 3, now=now, policy=alone, reports=heard)
        called = service(20.0, 3, now=now, name="contacts", policy=callee)
        state, decisions = decide(state, [caller, called], now)

    other, decision = decisions
    assert decision.replicas == 3
    assert words in decision.reason
    # What three replicas do at 80 %, rounded up as every raise is.
    assert other.replicas == 5


def test_edge_is_believed_as_far_as_replicas_get_calls() -> None:
    """Where replicas are asked for 10 calls, an edge that refused 100,000 is not."""
    claimed = (*reports(10.0, 2), EDGE)

    _, (decision,) = decide(FleetState(), [service(0, 2, reports=claimed)], NOW)

    assert decision.demand_per_s == pytest.approx(210)
    assert sum(decision.shed_per_s) == pytest.approx(200)


def test_replica_that_claims_what_cannot_be_is_clamped_and_reported() -> None:
    liar = dataclasses.replace(reports(0, 1)[0], offered_per_s=(0.0, 0.0, 1e6, 0.0))
    honest = reports(400.0, 10)[1:]

    _, (decision,) = decide(FleetState(), [service(0, 10, reports=(liar, *honest))], NOW)

    assert decision.replicas <= 12
    assert "1 replicas claim more calls than can be believed" in decision.reason


@pytest.mark.parametrize(
    ("action", "replicas", "expected"),
    [
        pytest.param(OverrideAction.PIN, 9, 9, id="a pin sets"),
        pytest.param(OverrideAction.PIN, 99, 50, id="a pin keeps the maximum"),
        pytest.param(OverrideAction.PIN, 1, 1, id="a pin may go below the minimum"),
        pytest.param(OverrideAction.FLOOR, 30, 30, id="a floor raises"),
        pytest.param(OverrideAction.FLOOR, 99, 50, id="a floor keeps the maximum"),
        pytest.param(OverrideAction.CEILING, 3, 3, id="a ceiling lowers at once"),
        pytest.param(OverrideAction.CEILING, 30, 20, id="a ceiling above changes nothing"),
        pytest.param(OverrideAction.FREEZE, 0, 20, id="a freeze keeps"),
    ],
)
def test_override_holds(action: OverrideAction, replicas: int, expected: int) -> None:
    given = service(200.0, 20, overrides=(override(action, replicas),))

    _, (decision,) = decide(FleetState(), [given], NOW)

    assert decision.replicas == expected
    overridden = next(one for one in decision.conditions if one.type == "Overridden")
    assert overridden.status == "True"
    assert "INC-7" in overridden.message


def test_override_that_blocks_lowering_does_not_block_raising() -> None:
    block = (override(OverrideAction.BLOCK_SCALE_DOWN),)

    _, calm, _ = run([200.0] * 120, ready=20, overrides=block)
    _, busy, _ = run([4000.0] * 3, ready=20, overrides=block)

    assert calm.replicas == 20
    assert busy.replicas == 50


def test_forced_surge_holds_the_replicas_and_ends_with_its_override() -> None:
    forced = (override(OverrideAction.FORCE_SURGE),)
    state, decision, now = run([200.0] * 70, ready=20, overrides=forced)
    assert decision.in_surge
    assert decision.replicas == 20

    _, decision, _ = run([200.0] * 61, state, start=now + 1, ready=20)

    assert not decision.in_surge


@pytest.mark.parametrize(
    ("mode", "conflict"),
    [
        pytest.param(Mode.FROZEN, "", id="frozen"),
        pytest.param(Mode.ACTIVE, "the HorizontalPodAutoscaler messaging", id="another scaler"),
    ],
)
def test_nothing_is_written_where_hands_are_off(mode: Mode, conflict: str) -> None:
    given = service(5000.0, 4, policy=policy(mode=mode.value), conflict=conflict)

    _, (decision,) = decide(FleetState(), [given], NOW)

    assert not decision.is_write
    assert decision.replicas == 4


def test_advisory_says_what_it_would_set_and_writes_nothing() -> None:
    _, decision, _ = run([2000.0] * 3, policy=policy(mode="Advisory"))

    assert not decision.is_write
    assert decision.replicas > 20
    active = next(one for one in decision.conditions if one.type == "ScalingActive")
    assert active.message.startswith(f"would set {decision.replicas} replicas: offered 2,000/s")


def test_window_multiplies_what_was_wanted_when_its_lead_began() -> None:
    window = window_from_spec(
        "holiday",
        {
            "policies": ["messaging"],
            "start": "2027-01-15T08:05:00Z",
            "end": "2027-01-15T09:00:00Z",
            "preScaleSeconds": 240,
            "multiplierPercent": 1000,
        },
    )
    state, before, now = run([200.0] * 60, ready=4, windows=(window,))
    assert before.replicas == 4

    state, first, now = run([300.0], state, start=now + 1, ready=4, windows=(window,))
    _, later, _ = run([900.0] * 30, state, start=now + 1, ready=first.replicas, windows=(window,))

    assert first.replicas in (30, 40)
    assert first.won == "window"
    assert "the window holiday asks for" in first.reason
    assert later.replicas == first.replicas


def test_callee_is_raised_for_what_its_caller_receives_now() -> None:
    callee = policy(targetRef={"name": "contacts"}, upstreams=[{"name": "messaging"}])
    state, now = FleetState(), NOW
    decisions: tuple[ServiceDecision, ...] = ()

    for second in range(40):
        now = NOW + second
        load = 200.0 if second < 35 else 2000.0
        # The caller refuses what it cannot do, and so its callee sees nothing of the step.
        shed = 0.0 if second < 35 else 400.0
        state, decisions = decide(
            state,
            [
                service(load, 4, now=now, shed_per_s=(0.0, 0.0, shed, 0.0)),
                service(400.0, 6, now=now, name="contacts", policy=callee),
            ],
            now,
        )

    contacts = decisions[0]
    assert contacts.won == "upstreams"
    assert contacts.replicas == pytest.approx(2 * 2000 / 80, rel=0.2)
    assert "its callers will cause" in contacts.reason


@pytest.mark.parametrize(
    ("upstream", "status", "words"),
    [
        pytest.param("tieline-messaging", "True", "every upstream", id="by the policy's name"),
        pytest.param("messaging", "True", "every upstream", id="by the service"),
        pytest.param("gateway", "False", "no SurgePolicy of gateway is carried", id="of nobody"),
    ],
)
def test_upstream_that_no_policy_has_is_told(upstream: str, status: str, words: str) -> None:
    callee = policy(targetRef={"name": "contacts"}, upstreams=[{"name": upstream}])
    caller = policy(targetRef={"name": "m"}, service="messaging")
    given = [
        service(100.0, name="contacts", policy=callee),
        service(100.0, name="tieline-messaging", policy=caller),
    ]

    _, (contacts, _) = decide(FleetState(), given, NOW)

    known = next(one for one in contacts.conditions if one.type == "UpstreamsKnown")
    assert known.status == status
    assert known.message.startswith(words)
    assert [one.reason for one in contacts.events] == ["UpstreamNotFound"] * (status == "False")


def test_ring_of_callers_is_cut() -> None:
    first = policy(targetRef={"name": "a"}, upstreams=[{"name": "b", "fanoutMilli": 5000}])
    second = policy(targetRef={"name": "b"}, upstreams=[{"name": "a", "fanoutMilli": 5000}])
    given = [service(100.0, name="a", policy=first), service(100.0, name="b", policy=second)]

    _, decisions = decide(FleetState(), given, NOW)

    assert max(one.replicas for one in decisions) <= 50


def test_full_cluster_serves_the_larger_priority_first() -> None:
    payments = policy(targetRef={"name": "payments"}, priority=900)
    search = policy(targetRef={"name": "search"}, priority=10)
    given = [
        service(1600.0, name="payments", policy=payments),
        service(1600.0, name="search", policy=search),
    ]

    _, decisions = decide(FleetState(), given, NOW, room=20)

    by_name = {one.name: one for one in decisions}
    assert sum(one.replicas for one in decisions) == 28
    assert by_name["payments"].limited_by == ""
    assert by_name["search"].limited_by == "the cluster's room"


@pytest.mark.parametrize(
    ("trial", "conflict"),
    [
        pytest.param({"mode": "Advisory"}, "", id="advisory"),
        pytest.param({}, "the HorizontalPodAutoscaler trial scales trial as well", id="conflict"),
    ],
)
def test_policy_that_is_not_carried_out_takes_no_room(trial: dict[str, str], conflict: str) -> None:
    live = service(1600.0, name="live", policy=policy(targetRef={"name": "live"}, priority=10))
    first = policy(targetRef={"name": "trial"}, priority=900, **trial)
    given = [live, service(1600.0, name="trial", policy=first, conflict=conflict)]

    _, (alone,) = decide(FleetState(), [live], NOW)

    _, decisions = decide(FleetState(), given, NOW, room=alone.replicas - 4)

    by_name = {one.name: one for one in decisions}
    assert by_name["live"] == alone
    # What it would set is what it would get, had it been live.
    assert by_name["trial"].replicas == (4 if conflict else alone.replicas)
    assert not by_name["trial"].is_write


def test_clock_that_was_set_back_or_forward_does_not_stop_deciding() -> None:
    state, _, _ = run(CALM, start=NOW)

    state, back, _ = run([2000.0] * 3, state, start=NOW - 3600)
    assert back.replicas >= 25
    _, forward, _ = run([4000.0] * 3, state, start=NOW + 7200, ready=4)

    assert forward.replicas == 50


def test_clock_that_was_set_back_does_not_hold_the_fleet_up() -> None:
    state, _, _ = run([200.0] * 10, start=NOW, ready=20)

    _, decision, _ = run([200.0] * 62, state, start=NOW - 3600, ready=20)

    assert decision.replicas == 15


def test_capacity_is_learned_of_saturated_replicas_and_bounded() -> None:
    _, slow, _ = run([600.0] * 10, ready=10, cpu_ratio=1.0)
    _, slower, _ = run([100.0] * 10, ready=10, cpu_ratio=1.0)

    assert slow.learned_capacity_per_s == pytest.approx(60, rel=0.15)
    assert 50 <= slower.learned_capacity_per_s < slow.learned_capacity_per_s


@pytest.mark.parametrize(("full", "learned"), [(5, 100.0), (6, 75.0)])
def test_capacity_is_learned_only_while_most_replicas_are_full(full: int, learned: float) -> None:
    calm = reports(200.0, 10, cpu_ratio=0.2)
    # Some calls came at once and waited, at replicas that had little to do.
    waited = [dataclasses.replace(one, queue_wait_s=0.005) for one in calm[:full]]

    _, (decision,) = decide(
        FleetState(), [service(200.0, 10, reports=(*waited, *calm[full:]))], NOW
    )

    assert decision.learned_capacity_per_s == learned


def test_start_up_time_is_learned_of_pods_that_became_ready() -> None:
    state, _, _ = run(CALM)
    started = [
        dataclasses.replace(pod, name=f"late-{index}", create_time=NOW, ready_time=NOW + 20 + index)
        for index, pod in enumerate(pods(10))
    ]
    given = service(200.0, 4, now=NOW + 30, pods=(*pods(4), *started), current_replicas=14)

    _, (decision,) = decide(state, [given], NOW + 30)

    assert decision.start_lead_s == 29


def test_pods_that_become_ready_again_have_not_started() -> None:
    def second(
        state: FleetState, now: float, ready_time: float | None, *more: PodObservation
    ) -> tuple[FleetState, float]:
        flapping = [dataclasses.replace(pod, ready_time=ready_time) for pod in pods(4)]
        given = service(200.0, 4, now=now, pods=(*flapping, *more))
        state, (decision,) = decide(state, [given], now)
        return state, decision.start_lead_s

    new = PodObservation("new", NOW, None)
    state, _ = second(FleetState(), NOW, NOW - 99_990, new)
    younger = PodObservation("younger", NOW + 10, NOW + 17)
    # The database is away, and back: all are ready anew, also one that was starting at first.
    state, _ = second(state, NOW + 20, None, new, younger)
    state, _ = second(state, NOW + 400, NOW + 399, new, younger)
    state, lead_s = second(
        state,
        NOW + 500,
        NOW + 499,
        dataclasses.replace(new, ready_time=NOW + 499),
        dataclasses.replace(younger, ready_time=NOW + 499),
    )

    assert lead_s == 7
    # A pod of a name that was gone is a new one.
    state, _ = second(state, NOW + 501, NOW + 499)
    _, lead_s = second(state, NOW + 530, NOW + 499, PodObservation("younger", NOW + 505, NOW + 525))
    assert lead_s == 20


def test_every_recommendation_and_the_one_that_won_are_recorded() -> None:
    wide = policy(surge={"reservePercent": 100}, minReplicas=3)

    _, decision, _ = run(CALM, policy=wide, overrides=(override(OverrideAction.FLOOR, 4),))

    sources = {one.source: one.replicas for one in decision.recommendations}
    assert set(sources) == {"demand", "reserve", "override", "minReplicas"}
    assert decision.won == "reserve"
    assert sources["reserve"] == 5


def test_decision_is_plain_data() -> None:
    _, decision, _ = run(CALM)

    assert json.dumps(dataclasses.asdict(decision))


def test_step_down_that_was_not_written_is_decided_again_the_next_second() -> None:
    state, first, now = run([200.0] * 61, ready=20)

    _, second, _ = run([200.0], state, start=now + 1, ready=20)

    assert (first.replicas, second.replicas) == (15, 15)


def test_second_in_which_the_load_grows_leaves_room_for_its_calls() -> None:
    state, _, now = run([500.0] * 60, ready=20)

    _, decision, _ = run([1400.0], state, start=now + 1, ready=20)

    assert decision.replicas == 18


@pytest.mark.parametrize(("load", "is_step"), [(600.0, True), (590.0, False)])
def test_three_times_what_was_expected_is_a_step_in_its_first_second(
    load: float, is_step: bool
) -> None:
    state, _, now = run([200.0] * 10, ready=3)

    _, decision, _ = run([load], state, start=now + 1, ready=3)

    assert (decision.replicas >= 8) == is_step


def test_replica_that_is_being_deleted_is_not_counted_beside_those_that_took_its_calls() -> None:
    gone = tuple(
        dataclasses.replace(one, replica=f"gone-{index}", time=NOW - 2)
        for index, one in enumerate(reports(1000.0, 10))
    )
    given = service(1000.0, 20)

    _, (decision,) = decide(
        FleetState(), [dataclasses.replace(given, reports=given.reports + gone)], NOW
    )

    assert decision.demand_per_s == pytest.approx(1000.0)


def test_new_replicas_without_calls_do_not_make_the_busy_ones_unbelievable() -> None:
    idle = tuple(
        dataclasses.replace(one, replica=f"pod-{index + 4}")
        for index, one in enumerate(reports(0.0, 20))
    )
    given = service(2000.0, 24, reports=(*reports(2000.0, 4), *idle))

    _, (decision,) = decide(FleetState(), [given], NOW)

    assert decision.demand_per_s == pytest.approx(2000.0)
    assert "believed" not in decision.reason


HOLIDAY = window_from_spec(
    "holiday",
    {
        "policies": ["messaging"],
        "start": "2027-01-15T08:05:00Z",
        "end": "2027-01-15T09:00:00Z",
        "preScaleSeconds": 240,
        "multiplierPercent": 1000,
    },
)
LEAD_TIME = NOW + 60


@pytest.mark.parametrize(
    ("begun_s", "load", "won", "lacking"),
    [
        pytest.param(0, 200.0, "window", (), id="seen from the first second"),
        pytest.param(10, 200.0, "window", (), id="seen some seconds late"),
        pytest.param(11, 200.0, "demand", ("holiday",), id="made after its lead began"),
        pytest.param(400, 2000.0, "demand", ("holiday",), id="seen first in the peak"),
    ],
)
def test_window_multiplies_nothing_where_nobody_knows_what_was_before_it(
    begun_s: int, load: float, won: str, lacking: tuple[str, ...]
) -> None:
    _, decision, _ = run([load] * 3, ready=30, start=LEAD_TIME + begun_s, windows=(HOLIDAY,))

    assert decision.won == won
    assert decision.windows_without_baseline == lacking


def test_window_multiplies_nothing_while_the_load_is_not_known() -> None:
    _, decision, _ = run([0.0], ready=4, start=LEAD_TIME, windows=(HOLIDAY,), reporting=0)

    assert decision.won == "minReplicas"
    assert decision.windows_without_baseline == ("holiday",)


def test_window_goes_on_after_a_restart_with_what_was_remembered() -> None:
    state, before, _ = run([200.0] * 3, start=LEAD_TIME - 1, ready=4, windows=(HOLIDAY,))
    later = LEAD_TIME + 600
    peak = service(1000.0, 40, now=later, windows=(HOLIDAY,))
    kept = remember(state.services["messaging"], "messaging")

    _, (after,) = decide(recall(FleetState(), [peak], {"messaging": kept}), [peak], later)

    assert (before.won, after.won) == ("window", "window")
    asked = {one.source: one.replicas for one in after.recommendations}["window"]
    assert asked == before.replicas


def test_window_with_a_number_needs_no_past() -> None:
    fixed = dataclasses.replace(HOLIDAY, multiplier_percent=0, min_replicas=30)

    _, decision, _ = run([0.0], ready=4, start=LEAD_TIME + 400, windows=(fixed,), reporting=0)

    assert (decision.won, decision.replicas) == ("window", 30)
    assert decision.windows_without_baseline == ()
