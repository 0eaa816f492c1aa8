"""Which ports the platform takes, and what it says about them."""

import itertools
from collections.abc import Callable

import pytest

from tieline.chassis.streams import SERVICES
from tieline.cli.errors import CommandError
from tieline.cli.port_plan import plan_ports


def free_but(*taken: int) -> Callable[[int], bool]:
    return lambda port: port not in taken


def test_free_machine_gets_the_documented_ports() -> None:
    plan = plan_ports(SERVICES, None, is_free=free_but(), find_free=lambda: 50000)

    assert (plan.postgres, plan.nats) == (7432, 7222)
    assert list(plan.grpc.values()) == [7101, 7102, 7103, 7104, 7105]
    assert list(plan.metrics.values()) == [7201, 7202, 7203, 7204, 7205]
    assert plan.notes == []


def test_taken_default_is_replaced_and_said_so() -> None:
    plan = plan_ports(SERVICES, None, is_free=free_but(7432), find_free=lambda: 50000)

    assert plan.postgres == 50000
    assert plan.notes == ["port 7432 is in use: PostgreSQL is on 50000 instead"]


def test_two_parts_never_get_the_same_replacement() -> None:
    offers = itertools.chain([7101, 50000, 50000], itertools.count(50001))

    plan = plan_ports(SERVICES, None, is_free=free_but(7432, 7222), find_free=lambda: next(offers))

    assert {plan.postgres, plan.nats} == {50000, 50001}


def test_asked_for_port_that_is_taken_is_an_error_naming_it() -> None:
    with pytest.raises(CommandError, match=r"in use: port 8432 \(PostgreSQL\), 8101 \(identity\)"):
        plan_ports(SERVICES, 8000, is_free=free_but(8432, 8101), find_free=lambda: 50000)


def test_an_edge_and_the_agents_have_ports_only_where_there_is_an_edge() -> None:
    without = plan_ports(SERVICES, None, is_free=free_but(), find_free=lambda: 50000)
    plan = plan_ports(SERVICES, None, is_free=free_but(), find_free=lambda: 50000, with_edge=True)

    assert (without.edge, without.agents) == (None, {})
    assert plan.edge == 7100
    assert list(plan.agents.values()) == [7301, 7302, 7303, 7304, 7305]
