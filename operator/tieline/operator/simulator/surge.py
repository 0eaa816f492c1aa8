"""The operator's own decision as a simulated scaler: the very function that runs in the cluster."""

import dataclasses
import random
from collections.abc import Mapping, Sequence

from tieline.operator.decision_state import FleetState, ServiceDecision, ServiceInput
from tieline.operator.policy import SurgePolicy
from tieline.operator.replica_report import PodObservation, ReplicaReport
from tieline.operator.scaling_decision import decide
from tieline.operator.simulator.cluster_model import ClusterModel
from tieline.operator.simulator.requests import PodSecond
from tieline.operator.simulator.scalers import Observed
from tieline.operator.windows import SurgeWindow

EPOCH = 1_800_000_000.0
"""The simulated second 0, so that windows have dates."""

_KEPT_S = 10.0


class SurgeScaler:
    """Collects reports, some of which are late or lost, and decides each second."""

    def __init__(
        self,
        policies: Mapping[str, SurgePolicy],
        model: ClusterModel,
        chance: random.Random,
        windows: Sequence[SurgeWindow] = (),
    ) -> None:
        self._policies = policies
        self._model = model
        self._chance = chance
        self._windows = tuple(windows)
        self._state = FleetState()
        self._reports: dict[str, dict[str, ReplicaReport]] = {}
        self._late: list[ReplicaReport] = []
        self.decisions: tuple[ServiceDecision, ...] = ()

    def scale(self, services: Sequence[Observed], now: float) -> dict[str, int]:
        """Decide one second."""
        time = EPOCH + now
        arrived, self._late = self._late, []
        for one in services:
            for report in self._report(one, now, time):
                fate = self._chance.random()
                if fate < self._model.report_loss:
                    continue
                late = fate < self._model.report_loss + self._model.report_delay
                (self._late if late else arrived).append(report)
        for report in arrived:
            known = self._reports.setdefault(report.service, {})
            newest = known.get(report.replica)
            if newest is None or newest.time <= report.time:
                known[report.replica] = report
        inputs = [self._observe(one, now, time) for one in services]
        self._state, self.decisions = decide(self._state, inputs, time)
        return {one.name: one.replicas for one in self.decisions if one.is_write}

    def _report(self, one: Observed, now: float, time: float) -> list[ReplicaReport]:
        reports = []
        for pod in one.deployment.ready(now):
            # A replica that gets no calls yet reports too.
            one.second.pods.setdefault(pod.name, PodSecond())
        for name, done in one.second.pods.items():
            served = done.served
            wait_s = done.wait_s / served if served else 0.0
            reports.append(
                ReplicaReport(
                    service=one.service.name,
                    replica=name,
                    time=time,
                    offered_per_s=tuple(map(float, done.offered)),
                    shed_per_s=tuple(map(float, done.shed)),
                    retries_per_s=float(done.retries),
                    served_per_s=float(served),
                    queue_wait_s=wait_s,
                    queued=served * wait_s,
                    cpu_ratio=done.cpu_s,
                )
            )
        refused = one.second.refused_without_replica
        if any(refused):
            rates = tuple(map(float, refused))
            edge = ReplicaReport(one.service.name, "edge", time, rates, rates, from_edge=True)
            reports.append(edge)
        return reports

    def _observe(self, one: Observed, now: float, time: float) -> ServiceInput:
        name = one.service.name
        kept = {
            replica: report
            for replica, report in self._reports.get(name, {}).items()
            if time - report.time <= _KEPT_S
        }
        self._reports[name] = kept
        pods = tuple(
            PodObservation(
                pod.name,
                EPOCH + pod.create_time,
                EPOCH + pod.ready_time
                if pod.ready_time is not None and pod.ready_time <= now
                else None,
            )
            for pod in one.deployment.alive()
        )
        return ServiceInput(
            name=name,
            policy=self._policies[name],
            current_replicas=one.deployment.replicas,
            pods=pods,
            reports=tuple(kept[replica] for replica in sorted(kept)),
            windows=tuple(one for one in self._windows if one.is_for(name, {})),
        )


def with_target(policy: SurgePolicy, percent: int) -> SurgePolicy:
    """Return a policy with another target utilisation."""
    capacity = dataclasses.replace(policy.capacity, target_utilization_percent=percent)
    return dataclasses.replace(policy, capacity=capacity)
