"""What a service's role has in common with every other: comes up in one order, goes down backwards.

    telemetry, database pool, schema check, broker,
    revocations, relay                                      entered by ``service_runtime``
    batchers, answers, consumers                            entered by the service
    gRPC server                                             entered last, by ``serving``

Leaving undoes them backwards, so no request outlives what it needs.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import OKPKey

from tieline.api.identity.v1 import identity_requests_pb2
from tieline.chassis.addresses import read_networks
from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.edge_agent import Capacity, answering_edge
from tieline.chassis.admission.load_reports import LoadReporter, reporting
from tieline.chassis.admission.priorities import HIGHEST_PRIORITY
from tieline.chassis.authentication import FetchKeys, TokenVerifier, build_public_key
from tieline.chassis.broker import Broker, connect_broker
from tieline.chassis.certificates import (
    CertificateFiles,
    ServerCertificate,
    observe_certificate,
)
from tieline.chassis.derived_keys import derive_key
from tieline.chassis.grpc_server import (
    Served,
    Transport,
    answering_probes,
    bind,
    build_server,
    check_port_is_free,
    serving,
)
from tieline.chassis.health import Health
from tieline.chassis.interceptors.guarded_method import CallLimits
from tieline.chassis.migration_files import MigrationError
from tieline.chassis.migrations import check_schema
from tieline.chassis.outbox import OutboxRelay
from tieline.chassis.page_tokens import PageTokens
from tieline.chassis.postgres import NO_CONSTRAINT_ERRORS, ConstraintErrors, Pool, create_pool
from tieline.chassis.process import StartError
from tieline.chassis.requests import ask
from tieline.chassis.revocation_list import RevocationList
from tieline.chassis.revocations import following_revocations
from tieline.chassis.service_metrics import observe_replica
from tieline.chassis.settings import ServiceSettings
from tieline.chassis.telemetry import Telemetry, telemetry

MakeFetchKeys = Callable[[Pool], Awaitable[FetchKeys]]


@dataclass(frozen=True, slots=True)
class ServiceRuntime:
    """What a service is built on."""

    service: str
    settings: ServiceSettings
    pool: Pool
    broker: Broker
    health: Health
    page_tokens: PageTokens
    telemetry: Telemetry
    verifier: TokenVerifier
    control: AdmissionControl

    def _capacity(self) -> Capacity:
        return Capacity(self.control.capacity.measured_per_s, self.control.calm_service_s)

    @asynccontextmanager
    async def serving(self, *services: Served[Any]) -> AsyncIterator[None]:
        """Serve these gRPC services on the role's port within the block, then drain."""
        settings = self.settings
        certificate = self._certificate()
        if not settings.grpc_port_shared:
            # Before gRPC has begun anything that it would have to end again.
            check_port_is_free(settings.grpc_host, settings.grpc_port)
        limits = CallLimits(
            default_deadline_s=settings.default_deadline_s,
            slow_call_s=settings.slow_call_s,
            trace_sample_ratio=settings.trace_sample_ratio,
            trusted_proxies=read_networks(settings.trusted_proxies),
        )
        guarded = build_server(
            services,
            verifier=self.verifier,
            health=self.health,
            telemetry=self.telemetry,
            limits=limits,
            control=self.control,
            transport=Transport(
                capacity_per_s=settings.capacity_per_s,
                limits_pending=settings.admission,
                connection_age_s=settings.connection_age_s,
                shares_port=settings.grpc_port_shared,
            ),
        )
        try:
            bind(guarded, settings.grpc_host, settings.grpc_port, certificate)
        except StartError:
            await guarded.server.stop(None)
            raise
        reporter = LoadReporter(
            self.service, self.control, self.health, replica=self.settings.replica_name
        )
        reporter.probe = guarded.probe
        observe_replica(self.telemetry.meter, self.pool, self.control, reporter)
        async with (
            reporting(self.broker, reporter, self.control),
            # Around the server: it tells the edge of the drain while that lasts.
            answering_edge(
                settings.grpc_host,
                settings.agent_port,
                service=self.service,
                health=self.health,
                capacity=self._capacity,
                shares_port=settings.grpc_port_shared,
            ),
            answering_probes(
                self.health,
                settings.grpc_host,
                settings.probe_port,
                shares_port=settings.grpc_port_shared,
            ),
            serving(guarded, grace_s=settings.shutdown_grace_s, drain_s=settings.drain_s),
        ):
            yield

    def _certificate(self) -> ServerCertificate | None:
        settings = self.settings
        if not settings.grpc_tls_cert_file:
            return None
        certificate = ServerCertificate(
            CertificateFiles(
                settings.grpc_tls_cert_file,
                settings.grpc_tls_key_file,
                settings.grpc_tls_client_ca_file,
            )
        )
        observe_certificate(self.telemetry.meter, certificate)
        return certificate


@asynccontextmanager
async def service_runtime(
    settings: ServiceSettings,
    service: str,
    *,
    constraint_errors: ConstraintErrors = NO_CONSTRAINT_ERRORS,
    make_fetch_keys: MakeFetchKeys | None = None,
) -> AsyncIterator[ServiceRuntime]:
    """Bring up what a service stands on; StartError names what is missing and what to do.

    ``make_fetch_keys`` is for identity, which has the signing keys itself; every other service asks
    identity for them.
    """
    health = Health()
    async with AsyncExitStack() as stack:
        measured = stack.enter_context(
            telemetry(
                service,
                trace_sample_ratio=settings.trace_sample_ratio,
                otlp_endpoint=settings.otlp_endpoint,
                metrics_host=settings.metrics_host,
                metrics_port=settings.metrics_port,
            )
        )
        pool = await stack.enter_async_context(
            create_pool(
                settings.database_dsn.get_secret_value(),
                service=service,
                max_size=settings.database_pool_max_size,
                health=health,
                constraint_errors=constraint_errors,
            )
        )
        await _check_schema(pool, service)
        broker = await stack.enter_async_context(
            connect_broker(
                settings.nats_url.get_secret_value(),
                name=service,
                health=health,
                tls=settings.nats_tls,
            )
        )
        revocations = RevocationList()
        await stack.enter_async_context(following_revocations(broker, revocations))
        await stack.enter_async_context(OutboxRelay(pool, broker, service))
        if make_fetch_keys is None:
            fetch_keys = _asking_identity(broker)
        else:
            fetch_keys = await make_fetch_keys(pool)
        secret_key = settings.secret_key.get_secret_value()
        yield ServiceRuntime(
            service=service,
            settings=settings,
            pool=pool,
            broker=broker,
            health=health,
            page_tokens=PageTokens(derive_key(secret_key, "page-tokens")),
            telemetry=measured,
            verifier=TokenVerifier(fetch_keys, revocations),
            control=AdmissionControl(
                derive_key(secret_key, "admission.user-levels"),
                capacity_per_s=settings.capacity_per_s,
                is_on=settings.admission,
            ),
        )


async def _check_schema(pool: Pool, service: str) -> None:
    async with pool.acquire() as connection:
        try:
            await check_schema(connection, service)
        except MigrationError as error:
            raise StartError(error.text) from None


def _asking_identity(broker: Broker) -> FetchKeys:
    async def fetch_keys() -> Mapping[str, OKPKey]:
        response = await ask(
            broker,
            "identity",
            "get_signing_keys",
            identity_requests_pb2.GetSigningKeysRequest(),
            identity_requests_pb2.GetSigningKeysResponse,
            # Everybody's calls wait for them, whoever's call it was that noticed.
            priority=HIGHEST_PRIORITY,
        )
        return {key.key_id: build_public_key(key.public_key) for key in response.keys}

    return fetch_keys
