"""The standard gRPC health service, answered from :class:`tieline.chassis.health.Health`.

grpcio's own servicer keeps its watchers' streams open for ever, so that a drain would wait for them
until its grace is over. Here a watcher is told NOT_SERVING and its stream ends.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from tieline.chassis.health import Health, Stage

LIVENESS = "liveness"
"""Name under which the process itself answers: SERVING for as long as it can, whatever it depends
on and while it drains. For liveness probes, which must not restart every replica of a service whose
database is away."""

_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)
_NOT_SERVING = HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING)
_SERVICE_UNKNOWN = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Tells readiness for the server as a whole (``""``) and its services, and ``LIVENESS``."""

    def __init__(self, health: Health, service_names: Iterable[str]) -> None:
        self._health = health
        self._names = {"", LIVENESS, *service_names}
        self._watchers: set[asyncio.Event] = set()
        health.listen(self._wake_watchers)

    async def Check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:
        """Answer with the readiness now; NOT_FOUND for a service that is not served here."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self._answer(request.service)

    async def Watch(
        self, request: HealthCheckRequest, context: Any
    ) -> AsyncIterator[HealthCheckResponse]:
        """Answer with the readiness now and after each change, until the replica drains."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        told = None
        try:
            while True:
                is_last = self._health.stage is Stage.DRAINING
                answer = self._answer(request.service)
                if answer != told:
                    told = answer
                    yield answer
                if is_last:
                    return
                await changed.wait()
                changed.clear()
        finally:
            self._watchers.discard(changed)

    def _answer(self, service: str) -> HealthCheckResponse:
        if service not in self._names:
            return _SERVICE_UNKNOWN
        if service == LIVENESS:
            return _SERVING
        return _SERVING if self._health.is_ready else _NOT_SERVING

    def _wake_watchers(self) -> None:
        for changed in self._watchers:
            changed.set()
