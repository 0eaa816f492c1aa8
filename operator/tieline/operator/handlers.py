"""What kopf hands in: events of watches, for the fleet's picture. Nothing else imports kopf.

Only ``on.event`` handlers: they keep no state in the objects and add no finalizers, so that a
policy can be deleted while no operator runs. Nothing is decided and nothing is written here; the
scaler plans from the whole picture each second, whatever happened.

kopf has a thread and an event loop of its own: when it ends it cancels every task of its loop that
it did not find there, the scaler's and the broker's included.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import kopf

from tieline.operator.fleet import Fleet
from tieline.operator.resources import Kind

_STOP_TIMEOUT_S = 5.0

# A connection that fell silent is found by the missing bookmarks, which come each minute.
_INACTIVITY_TIMEOUT_S = 70

_REQUEST_TIMEOUT_S = 30

logger = logging.getLogger(__name__)

Probe = Callable[[], Mapping[str, float]]


class Watching:
    """The thread in which kopf follows the namespace."""

    def __init__(self, fleet: Fleet, namespace: str, *, probe_port: int, probe: Probe) -> None:
        self.last_event_time = time.monotonic()
        """By ``time.monotonic()``."""

        self._fleet = fleet
        self._namespace = namespace
        self._probe_port = probe_port
        self._probe = probe
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow within the block. It says nothing of when the first event comes: list before."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            await asyncio.to_thread(self._thread.join, _STOP_TIMEOUT_S)

    def note(self, kind: Kind, event: str | None, body: Mapping[str, object]) -> None:
        """Hand an event over to the loop of the scaler."""
        self._loop.call_soon_threadsafe(self._take, kind, event, body)

    def _take(self, kind: Kind, event: str | None, body: Mapping[str, object]) -> None:
        self.last_event_time = time.monotonic()
        self._fleet.note(kind, event, body)

    def _run(self) -> None:
        port = self._probe_port
        try:
            asyncio.run(
                kopf.operator(
                    registry=_build_registry(self, self._probe),
                    settings=_build_settings(),
                    namespaces=[self._namespace],
                    standalone=True,
                    liveness_endpoint=f"http://0.0.0.0:{port}/healthz" if port else None,
                    stop_flag=self._stop,
                )
            )
        except Exception:
            # With it goes the probe's port, and with that the pod.
            logger.critical("following the cluster has ended", exc_info=True)


def _build_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # With a namespace given, nothing needs rights on the whole cluster.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.inactivity_timeout = _INACTIVITY_TIMEOUT_S
    settings.networking.request_timeout = _REQUEST_TIMEOUT_S
    return settings


def _build_registry(watching: Watching, probe: Probe) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    kopf.on.login(id="login", registry=registry)(_login)
    for kind in Kind:
        _follow(registry, watching, kind)

    def tell_ages(**_: Any) -> dict[str, float]:
        return dict(probe())

    kopf.on.probe(id="ages", registry=registry)(tell_ages)
    return registry


def _login(**given: Any) -> kopf.ConnectionInfo | None:
    """Say who calls: in a pod its service account, elsewhere whom KUBECONFIG names."""
    return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)


def _follow(registry: kopf.OperatorRegistry, watching: Watching, kind: Kind) -> None:
    group, version, plural = kind.value

    async def note(**given: Any) -> None:
        event = given["event"]
        watching.note(kind, event["type"], event["object"])

    kopf.on.event(group, version, plural, id=f"note-{plural}", registry=registry)(note)
