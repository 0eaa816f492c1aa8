"""Every service is killed once in the middle of the main job, which must not notice."""

import asyncio
import signal
import sys

import pytest

from e2e.platform_process import PlatformProcess, environment
from fakes.eventually import eventually

# What the demo says when a step is done -> the service that the next step leans on, and that dies
# a moment later, with SIGKILL.
KILLS = {
    "corps created and verified": "directory",
    "staff imported": "identity",
    "conversations opened": "messaging",
    "customers signed in through a channel": "contacts",
    "red packets sent": "payments",
}
DEMO_OPTIONS = ("--staff", "2000", "--lines", "800")


@pytest.mark.timeout(180)
async def test_nothing_is_lost_when_every_service_is_killed_once(
    platform: PlatformProcess,
) -> None:
    before = len(platform.output)
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "tieline.cli.main", "demo"),
        *("--data", str(platform.data.path), *DEMO_OPTIONS),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    output, killed = await _kill_along(demo, platform)

    assert await demo.wait() == 0, output
    assert killed == list(KILLS.values()), output
    # Each came back by itself.
    for service in killed:
        assert f"{service} ended with SIGKILL; starting again in 0.5 s" in platform.output
        back = f"{service} is healthy again"
        await eventually(lambda back=back: back in platform.output[before:])


async def _kill_along(
    demo: asyncio.subprocess.Process, platform: PlatformProcess
) -> tuple[str, list[str]]:
    """Read the demo to its end and kill each service when its moment has come."""
    assert demo.stdout is not None, "it is piped"
    lines, killed = [], []
    async for raw in demo.stdout:
        line = raw.decode()
        lines.append(line)
        for step, service in KILLS.items():
            # Steps are said once as they end and once more in the table at the end.
            if line.rstrip().endswith(step) and service not in killed:
                platform.process_of("serve", service).send_signal(signal.SIGKILL)
                killed.append(service)
    return "".join(lines), killed
