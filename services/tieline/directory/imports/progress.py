"""How an import tells how far it is, and that it took place."""

from dataclasses import dataclass
from typing import Protocol

from tieline.chassis.audit import build_audit_event
from tieline.chassis.outbox import insert_events
from tieline.chassis.postgres import Connection
from tieline.chassis.principals import Principal
from tieline.directory.imports.member_rows import RowError
from tieline.directory.imports.options import Options
from tieline.directory.imports.totals import Totals
from tieline.directory.repositories import SCHEMA


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an import is after a transaction."""

    totals: Totals
    errors: list[RowError]
    """Those that are new and still told."""

    end_byte: int = 0
    """Bytes of the file up to the end of the last row that is done; 0 in a workbook."""

    is_last: bool = False


class Keeper(Protocol):
    """Writes down, in each transaction of a whole file's import, how far it is."""

    async def keep(self, connection: Connection, totals: Totals, errors: list[RowError]) -> None:
        """Write it down; raising undoes the transaction and ends the import."""

    async def tell_alive(self) -> None:
        """Say that the import goes on although nothing was written for a while."""


class ImportAudit:
    """The audit entry of one import: in its first transaction that changes something."""

    def __init__(
        self, corp_id: str, import_id: str, options: Options, actor: Principal | None = None
    ) -> None:
        """``actor`` is for imports that go on when their caller is gone."""
        self._corp_id = corp_id
        self._import_id = import_id
        self._options = options
        self._actor = actor
        self._is_recorded = False

    async def record(self, connection: Connection) -> None:
        """Write the entry, the first time."""
        if self._is_recorded:
            return
        event = await build_audit_event(
            connection,
            SCHEMA,
            corp_id=self._corp_id,
            action=f"{SCHEMA}.import",
            resource=f"imports/{self._import_id}",
            details={"mode": self._options.mode.value, "format": self._options.format.value},
            actor=self._actor,
        )
        await insert_events(connection, SCHEMA, [event])
        self._is_recorded = True


class StreamKeeper:
    """Keeps nothing: whoever waits for the import hears of it."""

    def __init__(self, audit: ImportAudit) -> None:
        self._audit = audit

    async def keep(self, connection: Connection, totals: Totals, errors: list[RowError]) -> None:
        """Leave the audit entry."""
        await self._audit.record(connection)

    async def tell_alive(self) -> None:
        """Nobody has to be told."""
