"""What an import has done so far, as callers are told. Pure."""

from dataclasses import dataclass

from tieline.api.directory.v1 import directory_service_pb2
from tieline.directory.imports.member_rows import RowError
from tieline.directory.imports.writes import BatchOutcome

# Enough for a person to see what is wrong with the file; more would not be read.
MAX_ERRORS = 1000


@dataclass(slots=True)
class Totals:
    """Counts of rows and departments."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    departments_added: int = 0
    departments_updated: int = 0
    removed: int = 0
    confirmation_needed: bool = False
    errors: int = 0
    """Those told, MAX_ERRORS at most."""

    @property
    def done_rows(self) -> int:
        """Rows that were stored or refused."""
        return self.added + self.updated + self.refused

    def add(self, outcome: BatchOutcome) -> list[RowError]:
        """Count a batch; return those of its errors that are still told."""
        plan = outcome.plan
        self.added += plan.added
        self.updated += len(plan.members) - plan.added
        self.unchanged += plan.unchanged
        self.refused += plan.refused
        self.departments_added += outcome.departments_added
        return self.take_errors(plan.errors)

    def take_errors(self, errors: list[RowError]) -> list[RowError]:
        """Return those of the errors that are still told."""
        told = errors[: MAX_ERRORS - self.errors]
        self.errors += len(told)
        return told

    def to_proto(self) -> directory_service_pb2.ImportMembersSummary:
        """Return the counts as the API has them."""
        return directory_service_pb2.ImportMembersSummary(
            added=self.added,
            updated=self.updated,
            refused=self.refused,
            departments_added=self.departments_added,
            unchanged=self.unchanged,
            removed=self.removed,
            departments_updated=self.departments_updated,
            confirmation_needed=self.confirmation_needed,
        )


def errors_to_proto(errors: list[RowError]) -> list[directory_service_pb2.RowError]:
    """Return the errors as the API has them."""
    return [
        directory_service_pb2.RowError(line=error.line, column=error.column, reason=error.reason)
        for error in errors
    ]
