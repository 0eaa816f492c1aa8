"""Which records of a file are committed together. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tieline.directory.imports.csv_rows import CsvMalformedError, CsvRecord
from tieline.directory.imports.member_rows import NO_ATTRIBUTES, ReadRows, RowReader

# About 60 ms of PostgreSQL's time, so that nobody else waits long for the corp's lock, and far
# above the milliseconds that a commit costs.
BATCH_RECORDS = 2000


@dataclass(slots=True)
class Batch:
    """Records that are committed together."""

    read: ReadRows = field(default_factory=ReadRows)
    end_byte: int = 0

    @property
    def record_count(self) -> int:
        """Good and bad rows together."""
        return len(self.read.rows) + self.read.refused


class BatchBuilder:
    """Collects a file's records into batches; the first record is the header."""

    def __init__(self, attribute_kinds: Mapping[str, str] = NO_ATTRIBUTES) -> None:
        self._attribute_kinds = attribute_kinds
        self._reader: RowReader | None = None
        self._records: list[CsvRecord] = []

    def add(self, record: CsvRecord) -> Batch | None:
        """Return the batch that this record fills, if it does."""
        if self._reader is None:
            self._reader = RowReader(record, self._attribute_kinds)
            return None
        self._records.append(record)
        return self._build() if len(self._records) == BATCH_RECORDS else None

    def finish(self) -> Batch | None:
        """Return what is left at the end of the file, if anything is."""
        if self._reader is None:
            raise CsvMalformedError(1, "the file is empty; it must begin with a header")
        return self._build() if self._records else None

    def _build(self) -> Batch:
        assert self._reader is not None, "the header comes before any batch"
        records, self._records = self._records, []
        return Batch(self._reader.read(records), records[-1].end_byte)
