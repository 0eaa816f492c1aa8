"""An import, batch by batch: what of the file goes into the next transaction. Pure.

Rows take effect in the order of the file: a mobile number that an earlier row gives up is free for
a later one. Within one import each member is written once; the import's id at the stored member
tells, however long ago in the file that was, and costs no memory here.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from tieline.directory.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.member_rows import OPTIONAL_COLUMNS, MemberRow, RowError, RowReader

# About 40 ms of PostgreSQL's time, so that nobody else waits long for the corp's lock, and far
# above the milliseconds that a commit costs.
BATCH_RECORDS = 2000


@dataclass(slots=True)
class Batch:
    """Records that are committed together."""

    rows: list[MemberRow] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    refused: int = 0
    end_byte: int = 0

    @property
    def record_count(self) -> int:
        """Good and bad rows together."""
        return len(self.rows) + self.refused


class BatchBuilder:
    """Collects a file's records into batches; the first record is the header."""

    def __init__(self) -> None:
        self._reader: RowReader | None = None
        self._batch = Batch()

    @property
    def columns(self) -> frozenset[str]:
        """The columns that the file has; known when there is a batch."""
        assert self._reader is not None, "the header comes before any batch"
        return self._reader.columns

    def add(self, record: CsvRecord) -> Batch | None:
        """Return the batch that this record fills, if it does."""
        if self._reader is None:
            self._reader = RowReader(record)
            return None
        batch = self._batch
        row = self._reader.read(record)
        if isinstance(row, MemberRow):
            batch.rows.append(row)
        else:
            batch.errors += row
            batch.refused += 1
        batch.end_byte = record.end_byte
        if batch.record_count < BATCH_RECORDS:
            return None
        self._batch = Batch()
        return batch

    def finish(self) -> Batch | None:
        """Return what is left at the end of the file, if anything is."""
        if self._reader is None:
            raise CsvMalformedError(1, "the file is empty; it must begin with a header")
        return self._batch if self._batch.record_count else None


class StoredMember(NamedTuple):
    """What a batch must know of a member that is already there."""

    user_id: str
    name: str
    department_id: int
    position: str
    mobile: str
    email: str
    import_id: str
    """The import that wrote the member last."""

    import_line: int
    """And the line of its file."""


# Of StoredMember: all but which import wrote it.
_COMPARED_FIELDS = 6


@dataclass(slots=True)
class BatchPlan:
    """What to write of a batch, and what to say of the rest."""

    rows: list[MemberRow]
    """In the order of the file; columns that it leaves out have the values that stay."""

    changed_user_ids: list[str]
    """Those of ``rows`` that are new or differ from what is stored."""

    added: int
    errors: list[RowError]
    refused: int


def plan_batch(
    batch: Batch,
    stored: Sequence[StoredMember],
    *,
    import_id: str,
    columns: Container[str],
    department_ids: Mapping[str, int],
) -> BatchPlan:
    """Decide each row against what is stored and against the rows before it.

    ``stored`` are the members that any row names or whose mobile or email any row gives;
    ``department_ids`` has the departments that exist, by path.
    """
    plan = BatchPlan([], [], 0, list(batch.errors), batch.refused)
    planner = _Planner(plan, stored, import_id, columns, department_ids)
    for row in batch.rows:
        planner.decide(row)
    # Stable: the faults of one row stay in the order of the columns.
    plan.errors.sort(key=attrgetter("line"))
    return plan


class _Planner:
    """Keeps the members as they will be after the rows decided so far."""

    def __init__(
        self,
        plan: BatchPlan,
        stored: Sequence[StoredMember],
        import_id: str,
        columns: Container[str],
        department_ids: Mapping[str, int],
    ) -> None:
        self._plan = plan
        self._import_id = import_id
        self._left_out = [name for name in OPTIONAL_COLUMNS if name not in columns]
        self._department_ids = department_ids
        self._members = {member.user_id: member for member in stored}
        self._mobile_owners = {member.mobile: member.user_id for member in stored if member.mobile}
        self._email_owners = {
            member.email.lower(): member.user_id for member in stored if member.email
        }

    def decide(self, row: MemberRow) -> None:
        """Accept or refuse the next row."""
        member = self._members.get(row.user_id)
        errors = self._find_errors(row, member)
        if errors:
            self._plan.errors += errors
            self._plan.refused += 1
            return
        if member is None:
            self._plan.added += 1
        else:
            self._mobile_owners.pop(member.mobile, None)
            self._email_owners.pop(member.email.lower(), None)
            if self._left_out:
                row = row._replace(**{name: getattr(member, name) for name in self._left_out})
        self._accept(row, member)

    def _accept(self, row: MemberRow, member: StoredMember | None) -> None:
        line, user_id, name, path, position, mobile, email = row
        # 0 is no department's id: one that is still to be made makes a difference.
        department_id = self._department_ids.get(path, 0)
        written = StoredMember(
            user_id, name, department_id, position, mobile, email, self._import_id, line
        )
        if member is None or written[:_COMPARED_FIELDS] != member[:_COMPARED_FIELDS]:
            self._plan.changed_user_ids.append(user_id)
        self._members[user_id] = written
        if mobile:
            self._mobile_owners[mobile] = user_id
        if email:
            self._email_owners[email.lower()] = user_id
        self._plan.rows.append(row)

    def _find_errors(self, row: MemberRow, member: StoredMember | None) -> list[RowError]:
        user_id = row.user_id
        if member is not None and member.import_id == self._import_id:
            reason = f"is already on line {member.import_line} of this file"
            return [RowError(row.line, "user_id", reason)]
        mobile_owner = self._mobile_owners.get(row.mobile, user_id)
        email_owner = self._email_owners.get(row.email.lower(), user_id)
        if mobile_owner == user_id == email_owner:
            return []
        owners = (("mobile", mobile_owner), ("email", email_owner))
        return [
            RowError(row.line, column, f"belongs to {owner}")
            for column, owner in owners
            if owner != user_id
        ]
