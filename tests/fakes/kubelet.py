"""A stand-in for the kubelet: each pod of a Deployment is a process of the service."""

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path

from e2e.platform_process import environment, tieline_command
from fakes.eventually import eventually
from fakes.kubernetes_api.store import Object
from tieline.cli.grpc_health import is_serving
from tieline.embedded.ports import find_free_port


class Kubelet:
    """Starts and stops the replicas of one service, for a DeploymentController."""

    def __init__(self, service: str, settings: Mapping[str, str], output: Path) -> None:
        self.ports: dict[str, int] = {}
        """The replicas that serve, by pod: what an endpoint slice would say."""

        self._service = service
        self._settings = settings
        self._output = output
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    async def start(self, pod: Object) -> None:
        """Start the pod's process; return when it serves."""
        name, port = pod["metadata"]["name"], find_free_port()
        with self._output.open("ab") as file:
            self._processes[name] = subprocess.Popen(  # noqa: ASYNC220 -- starts, does not wait
                tieline_command("serve", self._service),
                env=environment(
                    **self._settings, TIELINE_GRPC_PORT=str(port), TIELINE_REPLICA_NAME=name
                ),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        await eventually(lambda: is_serving(port), timeout_s=40)
        self.ports[name] = port

    async def stop(self, pod: Object) -> None:
        """End the pod's process as a cluster does: nobody calls it any more, then SIGTERM."""
        name = pod["metadata"]["name"]
        self.ports.pop(name, None)
        process = self._processes.pop(name, None)
        if process is not None:
            process.terminate()
            await asyncio.to_thread(process.wait)
