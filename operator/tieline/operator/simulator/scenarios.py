"""Named scenarios: a load, services, and a known peak where there is one."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tieline.operator.policy import SurgePolicy
from tieline.operator.simulator.cluster_model import ClusterModel
from tieline.operator.simulator.contenders import SIMULATED_CAPACITY, simulated_policy
from tieline.operator.simulator.load_shapes import PEAK, step
from tieline.operator.simulator.requests import ServiceModel
from tieline.operator.simulator.scalers import Floor
from tieline.operator.simulator.simulation import Scenario
from tieline.operator.simulator.surge import EPOCH
from tieline.operator.windows import SurgeWindow, window_from_spec

_CHAIN = ("gateway", "messaging", "directory")
_WINDOW_START_S = 420
_WINDOW_LEAD_S = 300


@dataclass(frozen=True, slots=True)
class Staged:
    """A scenario with what the contenders know of it."""

    scenario: Scenario
    policies: Mapping[str, SurgePolicy]
    windows: tuple[SurgeWindow, ...] = ()
    floors: tuple[Floor, ...] = ()


def one_service(
    name: str, rates: Sequence[float], model: ClusterModel | None = None, service: str = "messaging"
) -> Staged:
    """Return a load on one service."""
    scenario = Scenario(name, tuple(rates), (ServiceModel(service),), model or ClusterModel())
    return Staged(scenario, {service: simulated_policy(service)})


def chain(name: str, rates: Sequence[float], model: ClusterModel | None = None) -> Staged:
    """Return a load on the first of three services, each of which calls the next."""
    services = tuple(
        ServiceModel(one, calls=(after,) if after else ())
        for one, after in zip(_CHAIN, (*_CHAIN[1:], ""), strict=True)
    )
    policies = {
        one: simulated_policy(one, (before,) if before else ())
        for one, before in zip(_CHAIN, ("", *_CHAIN[:-1]), strict=True)
    }
    return Staged(Scenario(name, tuple(rates), services, model or ClusterModel()), policies)


def announced(base: float, model: ClusterModel | None = None) -> Staged:
    """Return a step that is known before, with the window that says so, and KEDA's cron trigger."""
    rates = [base] * (_WINDOW_START_S - 120) + step(base)
    staged = one_service("window", rates, model)
    start = EPOCH + _WINDOW_START_S
    replicas = round(PEAK * base / SIMULATED_CAPACITY / 0.7)
    window = window_from_spec(
        "announced",
        {
            "policies": ["messaging"],
            "start": _moment(start),
            "end": _moment(start + 240),
            "preScaleSeconds": _WINDOW_LEAD_S,
            "minReplicas": replicas,
        },
    )
    floor = Floor(_WINDOW_START_S, _WINDOW_START_S + 240, replicas, _WINDOW_LEAD_S)
    return Staged(staged.scenario, staged.policies, (window,), (floor,))


def _moment(time: float) -> str:
    return dt.datetime.fromtimestamp(time, tz=dt.UTC).isoformat()
