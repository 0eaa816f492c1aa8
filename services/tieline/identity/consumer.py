"""Other services' events, as identity takes them in: what goes into the audit log."""

from tieline.api.common.v1 import audit_pb2
from tieline.chassis.events import EventHandler, Poison, ReceivedEvent
from tieline.chassis.postgres import Connection
from tieline.chassis.streams import SERVICES
from tieline.identity.audit_log import read_entry
from tieline.identity.repositories import audit_entries


def _storing(service: str) -> EventHandler:
    async def store_entry(connection: Connection, received: ReceivedEvent) -> None:
        """Put the entry into the log of its corp; a repeat changes nothing."""
        message = received.decode(audit_pb2.AuditEntry)
        entry = read_entry(service, received.corp_id, message)
        if entry is None:
            raise Poison("its id, corp or time is not that of an audit entry")
        await audit_entries.insert_entry(connection, entry)

    return store_entry


HANDLERS: dict[str, EventHandler] = {
    f"tieline.{service}.v1.audit_recorded": _storing(service) for service in SERVICES
}
