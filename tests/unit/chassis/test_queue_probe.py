"""What a probe that did not get in tells."""

from typing import Any

import grpc
import pytest
from grpc.aio import Metadata

from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.decision import OVERLOADED_S
from tieline.chassis.admission.queue_probe import QueueProbe


def ending(code: grpc.StatusCode) -> Any:
    """Return a call that ends with this status, as gRPC's own do."""

    async def call(*_: object, **__: object) -> bytes:
        raise grpc.aio.AioRpcError(code, Metadata(), Metadata())

    return call


@pytest.mark.parametrize(
    ("code", "is_full"),
    [
        pytest.param(grpc.StatusCode.CANCELLED, True, id="the core's queue is full"),
        pytest.param(grpc.StatusCode.UNAVAILABLE, False, id="the server is going"),
        pytest.param(
            grpc.StatusCode.DEADLINE_EXCEEDED, False, id="it got in, and was not answered"
        ),
    ],
)
async def test_probe_that_the_core_refuses_tells_of_a_queue(
    code: grpc.StatusCode, is_full: bool
) -> None:
    control = AdmissionControl(b"k" * 32, capacity_per_s=100)
    await QueueProbe(control)._send(ending(code), "1")
    assert (control.take_queueing().mean_s > OVERLOADED_S) is is_full


async def test_where_probes_waited_longer_a_refused_one_tells_no_less() -> None:
    control = AdmissionControl(b"k" * 32, capacity_per_s=100)
    probe = QueueProbe(control)
    probe._note(0.7)
    control.take_queueing()
    await probe._send(ending(grpc.StatusCode.CANCELLED), "1")
    assert control.take_queueing().mean_s == pytest.approx(0.7)
