"""CSV (RFC 4180, in UTF-8 or GB 18030) from bytes that arrive in chunks cut anywhere. Pure.

A record is one line, or several when a quoted field holds line breaks. Records end where Python's
``csv`` module ends them; those without a quote, nearly all, are split without it. The same bytes
give the same records however they are cut. At most one record and one chunk are in memory.

A spreadsheet takes a value that begins with ``=``, ``+``, ``-`` or ``@`` for a formula. Exports put
an apostrophe before it (``guard_formula``), reading takes it off: values go round unchanged.
"""

import csv
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from tieline.chassis.errors import ServiceError

# A record of six columns, each at its longest and every character quoted, takes a tenth of this.
MAX_RECORD_BYTES = 64 * 1024

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# With apostrophes before it counted in: one is added to each of them and one taken off again.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED_FORMULA = re.compile(r"'+[=+\-@\t\r]")


class Encoding(StrEnum):
    """How a file's characters are written; the values are Python's names of the codecs."""

    UTF_8 = "utf-8"
    GB18030 = "gb18030"
    AUTO = "auto"
    """By the byte order mark, or else by the first line that is not ASCII."""


class CsvMalformedError(ServiceError):
    """The file can't be read as CSV from this line on."""

    code = "INVALID_ARGUMENT"

    def __init__(self, line: int, text: str) -> None:
        super().__init__("CSV_MALFORMED", f"line {line}: {text}", {"line": str(line)})


class CsvRecord(NamedTuple):
    """One record of the file."""

    line: int
    """Line where it begins; the file's first line is 1."""

    end_byte: int
    """Bytes of the file up to its end, the line break included."""

    values: list[str]
    """Its fields; empty if ``problem`` is set."""

    problem: str = ""
    """Why its fields can't be told apart."""


def guard_formula(value: str) -> str:
    """Return the value as it is written, so that nobody's spreadsheet runs it."""
    return f"'{value}" if _FORMULA.match(value) else value


class CsvReader:
    """Cuts chunks into records. Empty lines are no records."""

    def __init__(self, encoding: Encoding = Encoding.UTF_8) -> None:
        self._encoding = encoding
        self._tail = b""
        self._line = 0
        self._end_byte = 0
        # Lines of a record whose quote is still open, its first line's number and its size.
        self._open_lines: list[str] = []
        self._first_line = 0
        self._open_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[CsvRecord]:
        """Yield the records that are whole with this chunk; consume all before the next call."""
        lines = (self._tail + chunk).split(b"\n")
        # The last piece has no line break yet.
        self._tail = lines.pop()
        for line in lines:
            record = self._read_line(line, len(line) + 1)
            if record is not None:
                yield record
        # One byte more: a carriage return here may belong to the line break.
        if len(self._tail) + self._open_bytes > MAX_RECORD_BYTES + 1:
            raise self._too_long_error()

    def finish(self) -> Iterator[CsvRecord]:
        """Yield the record that ends with the file instead of a line break, if there is one."""
        if self._tail:
            line, self._tail = self._tail, b""
            record = self._read_line(line, len(line))
            if record is not None:
                yield record
        if self._open_lines:
            raise CsvMalformedError(self._first_line, "a quote that begins here is never closed")

    def _read_line(self, raw: bytes, size: int) -> CsvRecord | None:
        line = self._decode(raw, size)
        if not self._open_lines:
            if not line:
                return None
            if '"' not in line:
                values = line.split(",")
                if "'" in line:
                    values = _without_guards(values)
                return CsvRecord(self._line, self._end_byte, values)
            self._first_line = self._line
        # A line break within a quote is part of the field.
        self._open_lines.append(line)
        self._open_bytes += size
        if _ends_within_quote(line, is_within=len(self._open_lines) > 1):
            return None
        return self._close_record()

    def _decode(self, raw: bytes, size: int) -> str:
        raw = raw.removesuffix(b"\r")
        if len(raw) + self._open_bytes > MAX_RECORD_BYTES:
            raise self._too_long_error()
        self._line += 1
        self._end_byte += size
        if self._line == 1 and raw.startswith(BYTE_ORDER_MARK):
            raw = self._without_mark(raw)
        if self._encoding is Encoding.AUTO:
            if raw.isascii():
                return raw.decode()
            self._encoding = _guess_encoding(raw)
        try:
            return raw.decode(self._encoding)
        except UnicodeDecodeError:
            wanted = "UTF-8" if self._encoding is Encoding.UTF_8 else "GB 18030"
            raise CsvMalformedError(self._line, f"must be {wanted}") from None

    def _without_mark(self, raw: bytes) -> bytes:
        if self._encoding is Encoding.GB18030:
            raise CsvMalformedError(1, "begins with the byte order mark of UTF-8, not of GB 18030")
        self._encoding = Encoding.UTF_8
        return raw.removeprefix(BYTE_ORDER_MARK)

    def _close_record(self) -> CsvRecord:
        lines, self._open_lines, self._open_bytes = self._open_lines, [], 0
        try:
            [values] = csv.reader(("\n".join(lines),), strict=True)
        except (csv.Error, ValueError):
            return CsvRecord(
                self._first_line,
                self._end_byte,
                [],
                "a quoted field must be quoted whole, and a quote within it doubled",
            )
        return CsvRecord(self._first_line, self._end_byte, _without_guards(values))

    def _too_long_error(self) -> CsvMalformedError:
        line = self._first_line if self._open_lines else self._line + 1
        text = f"must have at most {MAX_RECORD_BYTES} bytes"
        if self._open_lines:
            text += "; a quote that begins here is not closed"
        return CsvMalformedError(line, text)


def _guess_encoding(raw: bytes) -> Encoding:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return Encoding.GB18030
    return Encoding.UTF_8


def _without_guards(values: list[str]) -> list[str]:
    return [value[1:] if _GUARDED_FORMULA.match(value) else value for value in values]


def _ends_within_quote(line: str, *, is_within: bool) -> bool:
    """Tell whether a quoted field goes on in the next line; ``is_within``: one came from above.

    A quote opens a field only as its first character, as in the ``csv`` module.
    """
    position = line.find('"')
    while position >= 0:
        if not is_within:
            is_within = position == 0 or line[position - 1] == ","
        elif line.startswith('""', position):
            position += 1
        else:
            is_within = False
        position = line.find('"', position + 1)
    return is_within
