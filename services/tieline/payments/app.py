"""Composition root of payments: the only module that knows every class."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tieline.api.payments.v1 import payments_service_pb2, payments_service_pb2_grpc
from tieline.chassis.grpc_server import Served
from tieline.chassis.runtime import service_runtime
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
    async with service_runtime(settings, SCHEMA) as runtime:
        participation = Participation(runtime.broker)
        async with (
            auditing_ledgers(runtime.pool, runtime.telemetry.meter),
            Openings(runtime.pool, participation) as openings,
        ):
            servicer = PaymentsServicer(runtime.pool, participation, openings)
            async with runtime.serving(
                Served(
                    payments_service_pb2_grpc.add_PaymentsServiceServicer_to_server,
                    servicer,
                    payments_service_pb2.DESCRIPTOR.services_by_name["PaymentsService"],
                )
            ):
                yield
