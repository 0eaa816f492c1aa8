"""Settings of payments."""

from pydantic import Field

from tieline.chassis.settings import ServiceSettings


class PaymentsSettings(ServiceSettings):
    """What payments can be told."""

    grpc_port: int = Field(default=7105, ge=1, le=65535)
    """TCP port of the gRPC server."""

    ledger_retention_days: int = Field(default=3653, ge=1, le=36525)
    """How many days the ledger and the red packets of a deleted corp are kept before they are
    deleted too. Ten years: what laws on bookkeeping and on payments ask for differs; ask yours."""
