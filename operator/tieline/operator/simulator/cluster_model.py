"""How a Deployment's pods come and go: creation, nodes, start, endpoints, warm-up, drain."""

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClusterModel:
    """What the cluster takes its time for. All times are in seconds."""

    create_per_s: float = 20.0
    """Pods that the controllers create: their default limit of API calls."""

    start_min: float = 5.0
    start_median: float = 2.5
    """Beyond the minimum; log-normal."""

    start_sigma: float = 0.35
    free_pods: int = 1000
    """Pods for which there are nodes; more wait for new nodes."""

    node_start: tuple[float, float] = (60.0, 90.0)
    pods_per_node: int = 16
    endpoint_delay: float = 1.0
    """Until who calls knows of a new replica, or of one that leaves."""

    warmup: float = 5.0
    """A new replica begins at half speed."""

    drain: float = 5.0
    report_loss: float = 0.02
    report_delay: float = 0.1
    """The part of the reports that come a second late."""


@dataclass(slots=True)
class Pod:
    """One pod of a simulated Deployment, with its queue."""

    name: str
    create_time: float
    start_duration: float
    ready_time: float | None = None
    delete_time: float | None = None
    free_time: float = 0.0
    """When all work that it has taken is done."""


@dataclass(slots=True)
class Deployment:
    """The pods of one service."""

    name: str
    model: ClusterModel
    chance: random.Random
    replicas: int
    pods: list[Pod] = field(default_factory=list)
    pod_seconds: float = 0.0
    created: int = 0
    _waiting: list[Pod] = field(default_factory=list)
    _node_times: list[float] = field(default_factory=list)
    _room: int = 0

    def begin(self, now: float) -> None:
        """Have all replicas ready and warm."""
        self._room = self.model.free_pods
        for _ in range(self.replicas):
            pod = self._create(now - 1000)
            pod.ready_time = now - 900
        self._waiting.clear()

    def step(self, now: float) -> None:
        """Bring the pods one second closer to what is wanted."""
        gone = [
            pod
            for pod in self.pods
            if pod.delete_time is not None and now >= pod.delete_time + self.model.drain
        ]
        for pod in gone:
            self.pods.remove(pod)
            self._room += 1
        alive = [pod for pod in self.pods if pod.delete_time is None]
        for _ in range(min(self.replicas - len(alive), round(self.model.create_per_s))):
            self._create(now)
        for pod in self._to_delete(alive):
            pod.delete_time = now
            if pod in self._waiting:
                self._waiting.remove(pod)
        self._schedule(now)
        self.pod_seconds += len(self.pods)

    def endpoints(self, now: float) -> list[Pod]:
        """Return the pods that callers know of."""
        delay = self.model.endpoint_delay
        return [
            pod
            for pod in self.pods
            if pod.ready_time is not None
            and pod.ready_time + delay <= now
            and (pod.delete_time is None or now < pod.delete_time + delay)
        ]

    def alive(self) -> list[Pod]:
        """Return the pods that are not being deleted."""
        return [pod for pod in self.pods if pod.delete_time is None]

    def ready(self, now: float) -> list[Pod]:
        """Return the pods that are ready and not being deleted."""
        return [
            pod
            for pod in self.pods
            if pod.delete_time is None and pod.ready_time is not None and pod.ready_time <= now
        ]

    def speed(self, pod: Pod, now: float) -> float:
        """Return how fast a pod works, 1 when it is warm."""
        age = now - (pod.ready_time or now)
        return 1.0 if age >= self.model.warmup else 0.5 + 0.5 * age / self.model.warmup

    def _create(self, now: float) -> Pod:
        spread = self.chance.lognormvariate(0.0, self.model.start_sigma)
        duration = self.model.start_min + self.model.start_median * spread
        pod = Pod(f"{self.name}-{self.created}", now, duration)
        self.created += 1
        self.pods.append(pod)
        self._waiting.append(pod)
        return pod

    def _schedule(self, now: float) -> None:
        arrived = [time for time in self._node_times if time <= now]
        self._node_times = [time for time in self._node_times if time > now]
        self._room += len(arrived) * self.model.pods_per_node
        for pod in list(self._waiting):
            if self._room <= 0:
                break
            self._room -= 1
            self._waiting.remove(pod)
            pod.ready_time = now + pod.start_duration
        coming = len(self._node_times) * self.model.pods_per_node
        while len(self._waiting) > coming:
            self._node_times.append(now + self.chance.uniform(*self.model.node_start))
            coming += self.model.pods_per_node

    def _to_delete(self, alive: list[Pod]) -> list[Pod]:
        surplus = len(alive) - self.replicas
        if surplus <= 0:
            return []
        # As Kubernetes does: what is not ready first, then the youngest.
        order = sorted(alive, key=lambda pod: (pod.ready_time or 1e18, pod.create_time))
        return order[-surplus:]
