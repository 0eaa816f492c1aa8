"""Composition root of payments: the only module that knows every class."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tieline.api.payments.v1 import payments_service_pb2, payments_service_pb2_grpc
from tieline.chassis.corps_purge import purging_corps
from tieline.chassis.events import consuming
from tieline.chassis.grpc_server import Served
from tieline.chassis.runtime import service_runtime
from tieline.chassis.streams import durables_of
from tieline.payments.consumer import HANDLERS
from tieline.payments.corps_purge import PURGE_INTERVAL_S, purge
from tieline.payments.ledger_audit import auditing_ledgers
from tieline.payments.openings import Openings
from tieline.payments.participation import Participation
from tieline.payments.repositories import SCHEMA
from tieline.payments.servicer import PaymentsServicer
from tieline.payments.settings import PaymentsSettings

SETTINGS = PaymentsSettings


@asynccontextmanager
async def role(settings: PaymentsSettings) -> AsyncIterator[None]:
    """Run payments. What is entered last is left first: no call outlives the openings."""
    async with service_runtime(settings, SCHEMA) as runtime, AsyncExitStack() as stack:
        pool, participation = runtime.pool, Participation(runtime.broker)
        await stack.enter_async_context(auditing_ledgers(pool, runtime.telemetry.meter))
        await stack.enter_async_context(
            purging_corps(
                pool,
                partial(purge, keep_days=settings.ledger_retention_days),
                interval_s=PURGE_INTERVAL_S,
            )
        )
        for durable in durables_of(SCHEMA):
            await stack.enter_async_context(
                consuming(runtime.broker, pool, SCHEMA, durable, HANDLERS)
            )
        openings = await stack.enter_async_context(Openings(pool, participation))
        await stack.enter_async_context(
            runtime.serving(
                Served(
                    payments_service_pb2_grpc.add_PaymentsServiceServicer_to_server,
                    PaymentsServicer(pool, participation, openings),
                    payments_service_pb2.DESCRIPTOR.services_by_name["PaymentsService"],
                )
            )
        )
        yield
