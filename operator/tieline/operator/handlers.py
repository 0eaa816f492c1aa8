"""What kopf hands in: events of watches, for the fleet's picture. Nothing else imports kopf.

Only ``on.event`` handlers: they keep no state in the objects and add no finalizers, so that a
policy can be deleted while no operator runs. Nothing is decided and nothing is written here; the
scaler plans from the whole picture each second, whatever happened.

kopf has a thread and an event loop of its own: when it ends every task of its loop is ended, and
the scaler's and the broker's are not among them.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import kopf

from tieline.chassis.tasks import end_task
from tieline.operator.fleet import Fleet
from tieline.operator.resources import Kind
from tieline.operator.vitals import Vitals

_STOP_TIMEOUT_S = 5.0

# A connection that fell silent is found by the missing bookmarks, which come each minute.
_INACTIVITY_TIMEOUT_S = 70

_REQUEST_TIMEOUT_S = 30

# Between the tries of one request, the last one again and again.
_RETRY_DELAYS_S = (1.0, 1.0, 2.0, 3.0, 5.0)

# What ends kopf (a watch that the API breaks off with an error, credentials that ran out) mostly
# lasts; each new beginning lists every kind.
_RESTART_DELAY_S = 2.0

# How kopf's names of the tasks begin that follow one kind each.
_WATCH_NAME = "watcher for "

logger = logging.getLogger(__name__)


class Watching:
    """The thread in which kopf follows the namespace."""

    def __init__(self, fleet: Fleet, namespace: str, vitals: Vitals) -> None:
        self._fleet = fleet
        self._namespace = namespace
        self._vitals = vitals
        self._loop = asyncio.get_running_loop()
        self._is_over = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow within the block. It says nothing of when the first event comes: list before."""
        self._thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._stop.set()
            await asyncio.to_thread(self._thread.join, _STOP_TIMEOUT_S)

    def note(self, kind: Kind, event: str | None, body: Mapping[str, object]) -> None:
        """Hand an event over to the loop of the scaler."""
        self._loop.call_soon_threadsafe(self._take, kind, event, body)

    def _take(self, kind: Kind, event: str | None, body: Mapping[str, object]) -> None:
        self._vitals.note_seen(kind)
        self._fleet.note(kind, event, body)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                asyncio.run(self._follow())
            except Exception:
                logger.exception("following the cluster has ended; it begins anew")
            self._is_over.wait(_RESTART_DELAY_S)

    async def _follow(self) -> None:
        # A flag for each beginning: a thread of kopf's waits for it, and must end with kopf.
        stop = self._stop = threading.Event()
        try:
            if not self._is_over.is_set():
                tasks = await kopf.spawn_tasks(
                    registry=_build_registry(self),
                    settings=_build_settings(),
                    namespaces=[self._namespace],
                    standalone=True,
                    stop_flag=stop,
                )
                await run_until_one_ends(tasks, stop)
        finally:
            stop.set()


async def run_until_one_ends(tasks: Collection[asyncio.Task[Any]], stop: threading.Event) -> None:
    """Run kopf's tasks; once one of them ends, end the others, and raise what it raised.

    The watches first, each with the tasks that it stands on: where one of them fails, kopf leaves
    the rest and then cancels all that runs at once. A watch whose scheduler has gone before it, or
    that was just about to ask again, waits for good then.
    """
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    watches = [task for task in asyncio.all_tasks() if task.get_name().startswith(_WATCH_NAME)]
    await asyncio.gather(*map(end_task, watches))
    # kopf gives the task that waits for it five seconds.
    stop.set()
    await kopf.run_tasks(tasks)


class _RetryDelays:
    """Delays without an end, from the first one on for each request: kopf ends when it runs out."""

    def __iter__(self) -> Iterator[float]:
        yield from _RETRY_DELAYS_S
        while True:
            yield _RETRY_DELAYS_S[-1]


def _build_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # With a namespace given, nothing needs rights on the whole cluster.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # Else the whole process is killed ten minutes after kopf has ended by itself.
    settings.process.ultimate_exiting_timeout = None
    settings.watching.inactivity_timeout = _INACTIVITY_TIMEOUT_S
    settings.networking.request_timeout = _REQUEST_TIMEOUT_S
    settings.networking.error_backoffs = _RetryDelays()
    return settings


def _build_registry(watching: Watching) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    kopf.on.login(id="login", registry=registry)(_login)
    for kind in Kind:
        _follow(registry, watching, kind)
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
