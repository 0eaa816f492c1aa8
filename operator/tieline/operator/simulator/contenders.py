"""Who is compared: our policies and the other autoscalers, each over its own tuning grid."""

import dataclasses
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tieline.operator.policy import Mode, ScaleDown, Surge, SurgePolicy, policy_from_spec
from tieline.operator.simulator.cluster_model import ClusterModel
from tieline.operator.simulator.hpa import Hpa, HpaSettings
from tieline.operator.simulator.kpa import Kpa, KpaSettings
from tieline.operator.simulator.scalers import Floor, Scaler
from tieline.operator.simulator.surge import SurgeScaler, with_target
from tieline.operator.windows import SurgeWindow

SIMULATED_CAPACITY = 40
"""Requests a second of a simulated replica. One stands for many calls of a faster replica, so that
a run takes seconds."""

SIMULATED_QUEUE_WAIT_MS = 100
"""Four times a simulated request's work, as 20 ms are some times a real one's."""

# Minimum replicas that are tried with every target. The runs begin with a usual load of two to five
# full replicas, so that 8 to 16 are generous.
_MIN_REPLICAS = (2, 8, 12, 16)

# The peers' grids are full products: no value of one parameter is left untried with one of another.
# The cap on an HPA's raises is lifted everywhere: with it the same setting only raises later.
# Everything else, Knative's windows and panic included, is as it comes.
_PEER_TARGETS = (0.4, 0.5, 0.6, 0.7, 0.8)
_HPA_TUNINGS = tuple(
    itertools.product(("cpu", "prometheus", "fresh"), _PEER_TARGETS, (60, 180), _MIN_REPLICAS)
)
_KPA_TUNINGS = tuple(
    itertools.product(("rps", "concurrency"), _PEER_TARGETS, (0, 120), _MIN_REPLICAS)
)

# Target percents, replicas in reserve, minimum replicas.
_OUR_TUNINGS = (
    *itertools.product((50, 60, 65, 70, 75, 80), (0,), _MIN_REPLICAS),
    *((60, 8, 2), (80, 12, 2), (80, 16, 2), (80, 20, 2), (80, 24, 2)),
)
_RESERVE_PERCENT = 900
"""So much that the bound on the reserve's replicas decides."""

_SCALE_DOWNS = {
    "slow down": ScaleDown(window_seconds=180),
    "quickest down": ScaleDown(
        window_seconds=30, max_window_seconds=30, max_step_percent=100, min_interval_seconds=5
    ),
}


@dataclass(frozen=True, slots=True)
class Contender:
    """One autoscaler with its settings; a value, so that it can go to another process."""

    label: str
    family: str
    hpa: HpaSettings | None = None
    kpa: KpaSettings | None = None
    policies: tuple[tuple[str, SurgePolicy], ...] = ()
    windows: tuple[SurgeWindow, ...] = ()
    floors: tuple[Floor, ...] = ()

    def build(self, model: ClusterModel, chance: random.Random) -> Scaler:
        """Return a new autoscaler for one run."""
        if self.hpa is not None:
            return Hpa(self.hpa, chance, self.floors)
        if self.kpa is not None:
            return Kpa(self.kpa, chance)
        return SurgeScaler(dict(self.policies), model, chance, self.windows)


def simulated_policy(service: str, upstreams: Sequence[str] = ()) -> SurgePolicy:
    """Return the policy with all defaults for a simulated service."""
    return policy_from_spec(
        {
            "targetRef": {"name": service},
            "maxReplicas": 200,
            "capacity": {
                "requestsPerSecondPerPod": SIMULATED_CAPACITY,
                "warmupSeconds": 5,
            },
            "surge": {"queueWaitMilliseconds": SIMULATED_QUEUE_WAIT_MS},
            "upstreams": [{"name": name} for name in upstreams],
        }
    )


def as_simulated(policy: SurgePolicy, requests_per_second_per_pod: int) -> SurgePolicy:
    """Return a policy for replicas of the simulated size, live, all else as it is.

    ``requests_per_second_per_pod`` is what a real replica does: a policy that takes it for half of
    that takes a simulated one for half of what that does.
    """
    guess = policy.capacity.requests_per_second_per_pod
    wait_ms = policy.surge.queue_wait_milliseconds
    return dataclasses.replace(
        policy,
        mode=Mode.ACTIVE,
        capacity=dataclasses.replace(
            policy.capacity,
            requests_per_second_per_pod=max(
                1, round(SIMULATED_CAPACITY * guess / requests_per_second_per_pod)
            ),
        ),
        surge=dataclasses.replace(
            policy.surge,
            queue_wait_milliseconds=round(
                SIMULATED_QUEUE_WAIT_MS * wait_ms / Surge().queue_wait_milliseconds
            ),
        ),
    )


def surge_contender(
    label: str, policies: Mapping[str, SurgePolicy], windows: Sequence[SurgeWindow] = ()
) -> Contender:
    """Return our decision with some policies."""
    return Contender(label, "surge", policies=tuple(policies.items()), windows=tuple(windows))


def usual_peers(floors: Sequence[Floor] = ()) -> list[Contender]:
    """Return each peer as it comes, and each as one who knows it would set it."""
    return [
        Contender("HPA cpu", "HPA", hpa=HpaSettings()),
        Contender("HPA cpu, tuned", "HPA", hpa=_tuned("cpu", 1.2, 60, request_cores=0.5)),
        Contender("HPA external", "HPA", hpa=HpaSettings(metric="prometheus", target=0.7)),
        Contender(
            "KEDA", "KEDA", hpa=HpaSettings(metric="prometheus", target=0.7), floors=tuple(floors)
        ),
        Contender("KEDA, tuned", "KEDA", hpa=_tuned("fresh", 0.7, 60), floors=tuple(floors)),
        Contender("KPA rps", "KPA", kpa=KpaSettings()),
        Contender("KPA concurrency", "KPA", kpa=KpaSettings(metric="concurrency", target=0.9)),
    ]


def peer_grid(floors: Sequence[Floor] = ()) -> list[Contender]:
    """Return every peer over its own tuning grid, and as it comes.

    A lower target and a higher minimum are how each of them buys room for a load that jumps.
    """
    hpas = [
        Contender(
            f"KEDA {metric} {target:.0%}, {window} s, at least {least}",
            "KEDA",
            hpa=_tuned(metric, target, window, min_replicas=least),
            floors=tuple(floors),
        )
        for metric, target, window, least in _HPA_TUNINGS
    ]
    kpas = [
        Contender(
            f"KPA {metric} {target:.0%}, delay {delay} s, at least {least}",
            "KPA",
            kpa=KpaSettings(
                metric=metric, target=target, scale_down_delay_s=delay, min_replicas=least
            ),
        )
        for metric, target, delay, least in _KPA_TUNINGS
    ]
    return [*usual_peers(floors), *hpas, *kpas]


def surge_grid(
    policies: Mapping[str, SurgePolicy], windows: Sequence[SurgeWindow] = ()
) -> list[Contender]:
    """Return our decision over the fields of the policy that cost or save replicas."""
    return [
        surge_contender(
            f"surge {percent} %, {label}, {reserve} in reserve, at least {least}",
            {name: _tune(one, percent, label, reserve, least) for name, one in policies.items()},
            windows,
        )
        for percent, reserve, least in _OUR_TUNINGS
        for label in ("default", *_SCALE_DOWNS)
    ]


def _tune(policy: SurgePolicy, percent: int, label: str, reserve: int, least: int) -> SurgePolicy:
    policy = dataclasses.replace(with_target(policy, percent), min_replicas=least)
    if label != "default":
        policy = dataclasses.replace(policy, scale_down=_SCALE_DOWNS[label])
    if not reserve:
        return policy
    surge = dataclasses.replace(
        policy.surge, reserve_percent=_RESERVE_PERCENT, max_reserve_replicas=reserve
    )
    return dataclasses.replace(policy, surge=surge)


def _tuned(
    metric: str,
    target: float,
    window_s: int,
    *,
    request_cores: float = 1.0,
    min_replicas: int = 2,
) -> HpaSettings:
    return HpaSettings(
        metric=metric,
        target=target,
        request_cores=request_cores,
        up_percent=900,
        down_window_s=window_s,
        min_replicas=min_replicas,
    )
