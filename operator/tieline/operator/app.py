"""The surge operator put together: the one module that knows every class."""

import logging
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from nats.aio.msg import Msg

from tieline.api.common.v1 import load_report_pb2
from tieline.chassis.broker import Broker, connect_broker
from tieline.chassis.health import Health
from tieline.chassis.process import StartError
from tieline.chassis.streams import LOAD_REPORTS, OPERATOR, surge_subject
from tieline.chassis.telemetry import telemetry
from tieline.operator.cluster import ClusterError
from tieline.operator.decision_state import ServiceDecision
from tieline.operator.definitions import find_older
from tieline.operator.fleet import Fleet
from tieline.operator.handlers import Watching
from tieline.operator.kubernetes_cluster import KubernetesCluster, kubernetes_cluster
from tieline.operator.lease import LeaseKeeper
from tieline.operator.load_reports import ReportBook
from tieline.operator.memory_keeper import MemoryKeeper
from tieline.operator.metrics import observe_operator
from tieline.operator.probes import serving_probes
from tieline.operator.recording import Recorder
from tieline.operator.scaler import Scaler
from tieline.operator.settings import OperatorSettings

SETTINGS = OperatorSettings

_UNREADABLE = "unreadable"

logger = logging.getLogger(__name__)


@asynccontextmanager
async def role(settings: OperatorSettings) -> AsyncIterator[None]:
    """Run the operator; what is entered last is left first."""
    fleet, refusals = Fleet(), Counter[str]()
    reports = ReportBook(lambda service: service in fleet.services(), fleet.is_replica)
    async with AsyncExitStack() as stack:
        measured = stack.enter_context(
            telemetry(
                OPERATOR,
                otlp_endpoint=settings.otlp_endpoint,
                metrics_host=settings.metrics_host,
                metrics_port=settings.metrics_port,
            )
        )
        broker = await stack.enter_async_context(
            connect_broker(
                settings.nats_url.get_secret_value(),
                name=OPERATOR,
                health=Health(),
                tls=settings.nats_tls,
            )
        )
        cluster = await stack.enter_async_context(kubernetes_cluster(settings.namespace))
        lease = LeaseKeeper(
            cluster, settings.lease_name, settings.replica_name or socket.gethostname()
        )
        publisher = _SurgePublisher(broker)
        recorder = None
        if settings.recording_directory is not None:
            recorder = Recorder(settings.recording_directory, settings.recording_hours)
            stack.callback(recorder.close)
        memory = MemoryKeeper(
            cluster,
            f"{settings.lease_name}-memory",
            may_write=lambda: lease.is_held,
            is_policy=fleet.has_policy,
        )
        scaler = Scaler(
            cluster,
            fleet,
            reports,
            may_write=lambda: lease.is_held,
            publish_surge=publisher.publish,
            room_pods=settings.cluster_room_pods or None,
            recorder=recorder,
            memory=memory,
        )
        await _check_definitions(cluster)
        try:
            # Before watches begin, so that a namespace that can't be read stops the start.
            await scaler.relist()
        except ClusterError as error:
            raise StartError(f"{error}; check the cluster, the namespace and the Role") from None
        await stack.enter_async_context(scaler.vitals.beating())
        if settings.probe_port:
            stack.enter_context(serving_probes(settings.probe_port, scaler.vitals.read))
        watching = Watching(fleet, settings.namespace, scaler.vitals)
        await stack.enter_async_context(watching.running())
        await broker.subscribe(LOAD_REPORTS, cb=_ReportTaker(reports, refusals).take)
        await stack.enter_async_context(lease.keeping())
        # Left after the last tick, and before the lease is given up.
        await stack.enter_async_context(memory.keeping())
        await stack.enter_async_context(scaler.running())
        observe_operator(
            measured,
            scaler,
            lease,
            refusals.total,
            lambda now: reports.newest_ages(fleet.services(), now),
        )
        yield


async def _check_definitions(cluster: KubernetesCluster) -> None:
    """Raise StartError where fields of policies would be dropped before anybody here reads them."""
    try:
        published = await cluster.read_definitions()
    except ClusterError as error:
        # Everybody may read them unless a cluster forbids it; scaling goes on without.
        logger.warning("%s; whether they are those of this version is not known", error)
        return
    if older := find_older(published):
        raise StartError(older)


class _ReportTaker:
    """Takes load reports in; as short as can be, since thousands come each second."""

    def __init__(self, reports: ReportBook, refusals: Counter[str]) -> None:
        self._reports = reports
        self._refusals = refusals

    async def take(self, message: Msg) -> None:
        """Take one in; what is refused is counted."""
        try:
            report = load_report_pb2.LoadReport.FromString(message.data)
        except DecodeError:
            self._refusals[_UNREADABLE] += 1
            return
        refusal = self._reports.take(message.subject, report, time.time())
        if refusal is not None:
            self._refusals[refusal] += 1


class _SurgePublisher:
    """Tells the services how long until they have room again."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._sequence = 0

    async def publish(self, decision: ServiceDecision, service: str) -> None:
        if not self._broker.is_connected:
            # It would be told when it is no longer true.
            return
        self._sequence += 1
        state = load_report_pb2.SurgeState(
            service=service,
            sequence=self._sequence,
            desired_replicas=decision.replicas,
            ready_replicas=decision.ready_replicas,
        )
        if decision.capacity_delay_s:
            state.capacity_delay.CopyFrom(Duration(seconds=int(decision.capacity_delay_s), nanos=0))
        await self._broker.publish(surge_subject(service), state.SerializeToString())
