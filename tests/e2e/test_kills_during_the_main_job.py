"""Every service is killed once in the middle of the main job, which must not notice."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from e2e.platform_process import PlatformProcess, environment, platform_process
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
DEMO_OPTIONS = ("--staff", "4000", "--lines", "1500")


@pytest.mark.timeout(180)
async def test_nothing_is_lost_when_every_service_is_killed_once(tmp_path: Path) -> None:
    async with platform_process(tmp_path / "data") as platform:
        await platform.is_up()
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
        await eventually(lambda: platform.output.count("is healthy again") == len(KILLS))


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
