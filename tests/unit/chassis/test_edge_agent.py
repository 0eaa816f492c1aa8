import pytest

from tieline.chassis.admission.edge_agent import (
    CALLS,
    MAX_SLOTS,
    MIN_SLOTS,
    MIN_WAITING_SLOTS,
    UNKNOWN_CAPACITY,
    Capacity,
    build_answer,
    plan_slots,
)


@pytest.mark.parametrize(
    ("capacity", "slots"),
    [
        pytest.param(Capacity(0, 0.5), None, id="not measured"),
        pytest.param(Capacity(1750, 0), 25, id="what was measured with an empty handler"),
        pytest.param(Capacity(1750, 0.0005), 25, id="a handler that waits for nobody"),
        pytest.param(Capacity(1750, 0.004), 53, id="one that waits, so that commits serve many"),
        pytest.param(Capacity(1000, 0.03), 45, id="a handler needs a slot for as long as it waits"),
        pytest.param(Capacity(1000, 5.0), 50, id="what takes for ever asks for no more slots"),
        pytest.param(Capacity(10, 0), MIN_SLOTS, id="never fewer than Python takes in hand"),
        pytest.param(Capacity(450, 0.02), MIN_WAITING_SLOTS, id="nor than wait for one commit"),
        pytest.param(Capacity(100_000, 1), MAX_SLOTS, id="never without a bound"),
    ],
)
def test_slots_follow_capacity_and_the_handlers_time(capacity: Capacity, slots: int | None) -> None:
    assert plan_slots(capacity) == slots


@pytest.mark.parametrize(
    ("question", "is_ready", "capacity", "answer"),
    [
        (CALLS, False, Capacity(1750, 0), "drain\n"),
        (CALLS, True, UNKNOWN_CAPACITY, "ready up 100%\n"),
        (CALLS, True, Capacity(3500, 0), "ready up 204% maxconn:49\n"),
        ("long", True, Capacity(3500, 0), "ready up 204%\n"),
        ("", True, Capacity(1, 0), "ready up 83%\n"),
    ],
)
def test_the_answer_is_what_haproxy_reads(
    question: str, is_ready: bool, capacity: Capacity, answer: str
) -> None:
    assert build_answer(question, "messaging", is_ready=is_ready, capacity=capacity) == answer


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("calls messaging", "ready up 100%\n"),
        ("calls contacts", "drain\n"),
        ("long contacts", "drain\n"),
        ("calls", "ready up 100%\n"),
    ],
)
def test_a_replica_takes_no_calls_that_are_meant_for_another_service(
    question: str, answer: str
) -> None:
    assert build_answer(question, "messaging", is_ready=True, capacity=UNKNOWN_CAPACITY) == answer
