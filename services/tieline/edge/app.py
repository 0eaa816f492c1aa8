"""The edge put together: files, process, reports, and what makes it reload."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tieline.chassis.certificates import CertificateError, read_end
from tieline.chassis.process import StartError
from tieline.chassis.repeating import repeating
from tieline.chassis.streams import SERVICES
from tieline.edge.configuration import render
from tieline.edge.haproxy import HAProxy, Launch, Master, find_binary, run_directory
from tieline.edge.methods import list_methods
from tieline.edge.replicas import AddressError
from tieline.edge.reports import RefusalReports
from tieline.edge.settings import EdgeSettings

SETTINGS = EdgeSettings

# How soon a renewed certificate is served.
_WATCH_INTERVAL_S = 5.0
_MAX_REPLICA_NAME = 63

logger = logging.getLogger(__name__)


@asynccontextmanager
async def role(
    settings: EdgeSettings, *, launch: Launch = lambda command: command
) -> AsyncIterator[Master]:
    """Run the edge until the block is left. StartError names what is missing or wrong."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(run_directory(settings.edge_run_directory))
        files = _build_files(settings, directory)
        haproxy = HAProxy(find_binary(), directory)
        await haproxy.install(files)
        master = await stack.enter_async_context(
            haproxy.running(launch, grace_s=settings.shutdown_grace_s, drain_s=settings.drain_s)
        )
        ending = asyncio.create_task(_end_with(master))
        stack.callback(ending.cancel)
        certificates = _Certificates(settings)

        async def renew() -> None:
            if certificates.have_changed():
                await master.reload(_build_files(settings, directory))

        await stack.enter_async_context(
            repeating("renewing certificates", renew, interval_s=_WATCH_INTERVAL_S)
        )
        if settings.nats_url is not None:
            services = [service for service in SERVICES if settings.replicas(service)]
            reports = RefusalReports(master, services, replica_name())
            publishing = asyncio.create_task(
                reports.publish_forever(settings.nats_url.get_secret_value(), settings.nats_tls)
            )
            stack.callback(publishing.cancel)
        yield master


def _build_files(settings: EdgeSettings, directory: Path) -> Mapping[str, str]:
    end = None
    if settings.edge_tls_certificate:
        # What is no certificate HAProxy refuses, and says why.
        with contextlib.suppress(CertificateError):
            end = read_end(settings.edge_tls_certificate)
    try:
        return render(settings, list_methods(SERVICES), directory, certificate_end=end)
    except AddressError as error:
        raise StartError(f"what the edge is told of addresses is wrong: {error}") from None


def replica_name() -> str:
    """Return this edge's name in load reports: the host's, and the process's where that is one."""
    name = re.sub(r"[^0-9A-Za-z_-]", "-", f"{socket.gethostname()}-{os.getpid()}")
    return name[-_MAX_REPLICA_NAME:]


async def _end_with(master: Master) -> None:
    """End this process when HAProxy ends by itself: whoever runs it starts both again."""
    status = await master.wait()
    logger.critical("HAProxy ended with status %d", status)
    signal.raise_signal(signal.SIGTERM)


class _Certificates:
    """The files of the TLS settings, and whether they are other ones than before."""

    def __init__(self, settings: EdgeSettings) -> None:
        names = (
            settings.edge_tls_certificate,
            settings.edge_tls_client_ca,
            settings.edge_replica_tls_certificate,
            settings.edge_replica_tls_ca,
        )
        self._paths = [Path(name) for name in names if name]
        self._seen = self._read()

    def have_changed(self) -> bool:
        """Tell whether a file was replaced since the last call."""
        now = self._read()
        changed = now != self._seen
        self._seen = now
        return changed

    def _read(self) -> list[tuple[int, int]]:
        stats = [path.stat() for path in self._paths if path.exists()]
        return [(stat.st_mtime_ns, stat.st_ino) for stat in stats]
