"""`tieline up --edge`: the whole platform behind one address, and the edge killed under it."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from e2e.platform_process import platform_process, run_tieline
from fakes.eventually import eventually
from rendered_chart import example_values, merged, of_kind, render
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.client import Endpoints, TielineError, connect

pytestmark = [pytest.mark.haproxy, pytest.mark.timeout(120)]


async def test_the_platform_is_called_through_the_edge_which_comes_back_when_killed(
    tmp_path: Path,
) -> None:
    async with platform_process(tmp_path / "data", "--edge") as platform:
        await platform.is_up()
        edge = platform.data.read_endpoints()["edge"]
        password = platform.data.read_secrets().platform_administrator_password
        async with connect(Endpoints.single(edge)) as tieline:
            administrator = await tieline.sign_in_platform_administrator("platform", password)
            request = identity_service_pb2.CreateCorpRequest(
                display_name="Behind the edge",
                kind=identity_pb2.CORP_KIND_COMPANY,
                owner_user_id="owner",
                owner_name="Owner",
            )
            created = await administrator.identity.CreateCorp(request)
            haproxy = [p for p in platform.all_processes() if p.name() == "haproxy"]
            role = platform.process_of("tieline.cli.main", "edge")

            role.send_signal(signal.SIGKILL)
            _, alive = await asyncio.to_thread(psutil.wait_procs, haproxy, timeout=10)

            async def answers() -> bool:
                try:
                    found = await administrator.identity.GetCorp(
                        identity_service_pb2.GetCorpRequest(corp_id=created.corp.corp_id)
                    )
                except TielineError:
                    return False
                return found.corp.corp_id == created.corp.corp_id

            assert haproxy
            assert not alive
            await eventually(answers, timeout_s=20)
        await eventually(lambda: "edge is healthy again" in platform.output)
        await the_main_job_passes(edge, password)


async def the_main_job_passes(edge: str, password: str) -> None:
    """Run what `helm test` runs, with this machine's edge in the place of the release's."""
    changes = {"edge": {"tlsExistingSecret": ""}, "test": {"serverName": ""}}
    (pod,) = of_kind(render(merged(example_values("production"), changes)), "Pod")
    (container,) = pod["spec"]["containers"]
    arguments = [
        edge if each.startswith("dns:///tieline-edge") else each for each in container["args"]
    ]

    status, output = await run_tieline(*arguments, TIELINE_ADMINISTRATOR_PASSWORD=password)

    assert edge in arguments
    assert status == 0, output
