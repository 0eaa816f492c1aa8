"""Programs are started from a process that has gRPC's threads and OpenTelemetry's fork handlers."""

import asyncio
import os
import signal
import sys

# gRPC's last object is in a cycle that only a collection ends, and one comes within the fork.
SCRIPT = """
import os
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
import asyncio, gc, sys
from contextlib import asynccontextmanager
import grpc
from tieline.chassis import process
from tieline.chassis.telemetry import telemetry

class Holder:
    pass

@asynccontextmanager
async def role():
    with telemetry("test"):
        gc.disable()
        holder = Holder()
        holder.channel, holder.itself = grpc.aio.insecure_channel("127.0.0.1:1"), holder
        del holder
        os.register_at_fork(before=lambda: (gc.set_threshold(1), gc.enable()))
        started = await asyncio.create_subprocess_exec("true")
        await started.wait()
        os.write(1, b"went on, collecting: %s" % str(gc.isenabled()).encode())
        os._exit(0)
    yield

sys.exit(process.run_role(role))
"""


async def test_a_collection_that_falls_into_a_fork_hangs_nothing() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(20):
            output, _ = await process.communicate()
    except TimeoutError:
        # The child that hangs would outlive its parent.
        os.killpg(process.pid, signal.SIGKILL)
        raise

    assert output == b"went on, collecting: True"
