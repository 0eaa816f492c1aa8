"""Readiness: what a replica tells about itself and its dependencies."""

import pytest

from tieline.chassis.errors import UnavailableError
from tieline.chassis.health import BROKER, DATABASE, Health, Stage


def serving(*, down: tuple[str, ...] = ()) -> Health:
    health = Health()
    health.mark_serving()
    for dependency in down:
        health.mark_down(dependency)
    return health


def test_serving_replica_with_everything_up_is_ready() -> None:
    health = serving()

    assert health.is_ready
    health.check_takes_calls()


@pytest.mark.parametrize(
    ("down", "reason"),
    [
        pytest.param((DATABASE,), "DATABASE_UNAVAILABLE", id="database"),
        pytest.param((BROKER,), "BROKER_UNAVAILABLE", id="broker"),
        pytest.param((BROKER, DATABASE), "DATABASE_UNAVAILABLE", id="both"),
    ],
)
def test_caller_is_told_what_is_away_and_when_to_come_back(
    down: tuple[str, ...], reason: str
) -> None:
    health = serving(down=down)

    with pytest.raises(UnavailableError) as caught:
        health.check_takes_calls()

    assert caught.value.reason == reason
    assert caught.value.retry_after_s == 1.0


def test_starting_replica_is_not_ready() -> None:
    with pytest.raises(UnavailableError):
        Health().check_takes_calls()


def test_replica_is_ready_again_when_the_dependency_is_back() -> None:
    health = serving(down=(DATABASE,))

    health.mark_up(DATABASE)

    health.check_takes_calls()


def test_replica_that_leaves_is_not_ready_and_takes_calls_until_it_drains() -> None:
    health = serving()
    told: list[tuple[bool, bool]] = []
    health.listen(lambda: told.append((health.is_ready, health.takes_calls)))

    health.mark_leaving()
    health.check_takes_calls()
    health.mark_down(DATABASE)
    health.mark_up(DATABASE)
    health.mark_draining()
    health.mark_leaving()

    assert told == [(False, True), (False, False), (False, True), (False, False)]


def test_draining_is_final() -> None:
    health = serving(down=(DATABASE,))
    health.mark_draining()

    health.mark_up(DATABASE)
    health.mark_serving()

    assert health.stage is Stage.DRAINING
    with pytest.raises(UnavailableError) as caught:
        health.check_takes_calls()
    assert caught.value.reason == "SHUTTING_DOWN"


def test_listener_hears_of_each_change_once() -> None:
    health = Health()
    heard: list[bool] = []
    health.listen(lambda: heard.append(health.is_ready))

    health.mark_serving()
    for change in (health.mark_down, health.mark_down, health.mark_up, health.mark_up):
        change(DATABASE)
    health.mark_draining()
    health.mark_draining()

    assert heard == [True, False, True, False]
