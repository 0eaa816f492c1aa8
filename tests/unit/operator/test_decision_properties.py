"""What holds for every decision, whatever is observed."""

import dataclasses
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from fleets import NOW, policy, reports, service
from tieline.operator.arbiter import Want, share_room
from tieline.operator.decision_state import FleetState, ServiceInput, ServiceState
from tieline.operator.policy import MAX_OVERRIDE_S, OverrideAction, SurgeOverride
from tieline.operator.scaling_decision import decide
from tieline.operator.state_json import from_json, to_json


def after(loads: list[float], ready: int) -> tuple[FleetState, float]:
    state = FleetState()
    for second, load in enumerate(loads):
        state, _ = decide(state, [service(load, ready, now=NOW + second)], NOW + second)
    return state, NOW + len(loads)


@dataclass(frozen=True)
class Seen:
    """A second after some others, as plain values: what they make is computed in the test."""

    loads: list[float]
    load: float
    ready: int
    starting: int
    reporting_ratio: float
    shed: float
    queue_wait_s: float
    cpu_ratio: float

    def observe(self) -> tuple[FleetState, ServiceInput, float]:
        state, now = after(self.loads, self.ready)
        given_service = service(
            self.load,
            self.ready,
            now=now,
            starting=self.starting,
            reporting=round(self.reporting_ratio * self.ready),
            shed_per_s=(0.0, 0.0, self.shed, 0.0),
            queue_wait_s=self.queue_wait_s,
            cpu_ratio=self.cpu_ratio,
        )
        return state, given_service, now


LOAD = st.floats(min_value=0, max_value=20_000, allow_nan=False)
SECONDS = st.builds(
    Seen,
    loads=st.lists(LOAD, min_size=1, max_size=6),
    load=LOAD,
    ready=st.integers(min_value=1, max_value=60),
    starting=st.integers(min_value=0, max_value=20),
    reporting_ratio=st.floats(min_value=0, max_value=1),
    shed=st.sampled_from([0.0, 50.0]),
    queue_wait_s=st.sampled_from([0.0, 0.01, 0.05]),
    cpu_ratio=st.floats(min_value=0, max_value=1),
)
# A loaded machine must not fail a property; a slow example is no wrong one.
PROPERTY = settings(max_examples=50, deadline=None)


@PROPERTY
@given(SECONDS, st.integers(min_value=1, max_value=70))
def test_never_below_the_floor_nor_above_the_ceiling(seen: Seen, floor: int) -> None:
    state, given_service, now = seen.observe()
    override = SurgeOverride(
        "a", "messaging", OverrideAction.FLOOR, floor, now, now + MAX_OVERRIDE_S, "test"
    )
    given_service = dataclasses.replace(given_service, overrides=(override,))

    _, (decision,) = decide(state, [given_service], now)

    assert max(2, min(floor, 50)) <= decision.replicas <= 50


@PROPERTY
@given(SECONDS, st.floats(min_value=0, max_value=20_000))
def test_more_demand_never_gives_fewer_replicas(seen: Seen, more: float) -> None:
    state, given_service, now = seen.observe()
    greater = dataclasses.replace(
        given_service,
        reports=tuple(
            dataclasses.replace(one, offered_per_s=(0.0, 0.0, sum(one.offered_per_s) + more, 0.0))
            for one in given_service.reports
        ),
    )

    _, (less_decision,) = decide(state, [given_service], now)
    _, (more_decision,) = decide(state, [greater], now)

    assert more_decision.replicas >= less_decision.replicas


@PROPERTY
@given(SECONDS)
def test_in_surge_and_while_replicas_start_nothing_is_lowered(
    seen: Seen,
) -> None:
    state, given_service, now = seen.observe()

    _, (decision,) = decide(state, [given_service], now)

    if decision.in_surge or given_service.current_replicas > decision.ready_replicas:
        assert decision.replicas >= min(given_service.current_replicas, 50)


@PROPERTY
@given(SECONDS)
def test_carried_out_decision_leaves_nothing_to_do(
    seen: Seen,
) -> None:
    state, given_service, now = seen.observe()
    state, (decision,) = decide(state, [given_service], now)
    carried_out = dataclasses.replace(given_service, current_replicas=decision.replicas)

    again_state, (again,) = decide(state, [carried_out], now)

    assert not again.is_write
    assert not again.events
    assert again.replicas == decision.replicas
    assert again_state.services["messaging"].estimate == state.services["messaging"].estimate


@PROPERTY
@given(SECONDS)
def test_untrusted_signals_never_lower(seen: Seen) -> None:
    state, given_service, now = seen.observe()
    silent = dataclasses.replace(given_service, reports=())

    _, (decision,) = decide(state, [silent], now)

    assert decision.replicas >= min(given_service.current_replicas, 50)


@PROPERTY
@given(SECONDS)
def test_state_read_back_decides_the_same_to_the_last_byte(
    seen: Seen,
) -> None:
    state, given_service, now = seen.observe()
    text = to_json(state)

    read = from_json(FleetState, text)

    assert read == state
    assert to_json(read) == text
    first, second = decide(state, [given_service], now), decide(read, [given_service], now)
    assert to_json(first[0]) == to_json(second[0])
    assert to_json(first[1]) == to_json(second[1])


@PROPERTY
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 90)), max_size=6),
    st.integers(min_value=-5, max_value=120),
)
def test_room_is_never_exceeded_nor_wasted_and_nobody_loses_what_it_has(
    wants: list[tuple[int, int, int]], room: int
) -> None:
    asked = [Want(f"s{n}", *want) for n, want in enumerate(wants)]

    granted = share_room(asked, room)

    added = sum(max(0, granted[one.name] - one.current) for one in asked)
    missing = sum(max(0, one.wanted - max(one.current, granted[one.name])) for one in asked)
    assert added <= max(0, room)
    assert missing == 0 or added == max(0, room)
    for one in asked:
        assert granted[one.name] >= min(one.current, one.wanted)


def test_replay_of_recorded_seconds_is_equal_to_the_last_byte() -> None:
    recorded, outputs = [], []
    state = FleetState()
    for second in range(90):
        now = NOW + second
        load = 300 + (4000 if 40 <= second < 70 else 7 * (second % 11))
        given_service = service(load, 6 if second < 50 else 45, now=now, policy=policy())
        recorded.append(to_json(given_service))
        state, decisions = decide(state, [given_service], now)
        outputs.append(to_json(decisions))

    again = FleetState()
    for second, (text, output) in enumerate(zip(recorded, outputs, strict=True)):
        # A standby that takes over in the middle goes on from the text of the state.
        again = from_json(FleetState, to_json(again))
        again, decisions = decide(again, [from_json(ServiceInput, text)], NOW + second)
        assert to_json(decisions) == output

    assert again == state


def test_policy_that_is_gone_is_forgotten() -> None:
    state, _ = decide(FleetState(), [service(100.0)], NOW)

    state, decisions = decide(state, [], NOW + 1)

    assert (state, decisions) == (FleetState(), ())


def test_new_policy_begins_without_a_past() -> None:
    _, (decision,) = decide(FleetState({"other": ServiceState()}), [service(100.0, 4)], NOW)

    assert decision.replicas == 4


def test_reports_for_nobody_change_nothing() -> None:
    plain = service(200.0, 4)
    old = tuple(dataclasses.replace(one, replica="gone", time=NOW - 60) for one in reports(9e5, 3))

    _, (expected,) = decide(FleetState(), [plain], NOW)
    _, (decision,) = decide(
        FleetState(), [dataclasses.replace(plain, reports=plain.reports + old)], NOW
    )

    assert decision == expected
