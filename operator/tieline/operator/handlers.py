"""What kopf hands in: events of watches, for the fleet's picture. Nothing else imports kopf.

Only ``on.event`` handlers: they keep no state in the objects and add no finalizers, so that a policy
can be deleted while no operator runs. Nothing is decided and nothing is written here; the scaler
plans from the whole picture each second, whatever happened.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import kopf

from tieline.operator.fleet import Fleet
from tieline.operator.resources import Kind

_STOP_TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


class Watching:
    """When something last came from the API; bookmarks count, of which kopf tells nothing."""

    def __init__(self) -> None:
        self.last_event_time = time.monotonic()
        self.failure: BaseException | None = None
        """Why kopf has ended, if it has."""


@asynccontextmanager
async def watching(
    fleet: Fleet, namespace: str, *, probe_port: int = 0, probe: Any = None
) -> AsyncIterator[Watching]:
    """Follow the namespace within the block; it begins when all kinds were listed once."""
    state = Watching()
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(
        kopf.operator(
            registry=_build_registry(fleet, state, probe),
            settings=_build_settings(),
            namespaces=[namespace],
            standalone=True,
            liveness_endpoint=f"http://0.0.0.0:{probe_port}/healthz" if probe_port else None,
            stop_flag=stop,
            ready_flag=ready,
        ),
        name="kopf",
    )
    task.add_done_callback(lambda done: _note_end(done, state))
    try:
        yield state
    finally:
        stop.set()
        await asyncio.wait([task], timeout=_STOP_TIMEOUT_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _note_end(task: "asyncio.Task[None]", state: Watching) -> None:
    if task.cancelled():
        return
    state.failure = task.exception()
    if state.failure is not None:
        logger.critical("kopf has ended", exc_info=state.failure)


def _build_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # With namespaces given, nothing needs rights on the whole cluster.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # A connection that fell silent is found by the missing bookmarks.
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 30
    return settings


def _build_registry(fleet: Fleet, state: Watching, probe: Any) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    for kind in Kind:
        _follow(registry, fleet, state, kind)
    if probe is not None:
        kopf.on.probe(id="operator", registry=registry)(probe)
    return registry


def _follow(registry: kopf.OperatorRegistry, fleet: Fleet, state: Watching, kind: Kind) -> None:
    group, version, plural = kind.value

    async def note(**given: Any) -> None:
        event = given["event"]
        state.last_event_time = time.monotonic()
        fleet.note(kind, event["type"], event["object"])

    kopf.on.event(group, version, plural, id=f"note-{plural}", registry=registry)(note)
