"""What a workbook must be before it is opened: small when unpacked, and without XML's traps.

A workbook is a ZIP of XML. Both can be made so that a few kilobytes become gigabytes, and so that
reading one fetches files or addresses. So sizes are measured here by unpacking to nowhere, whatever
the ZIP's own lists say, and a part with a document type, the only place where entities can be
declared, is refused.
"""

import zipfile
import zlib
from typing import BinaryIO
from xml.parsers import expat

from openpyxl.xml.constants import SHEET_MAIN_NS

from tieline.chassis.errors import ServiceError

MAX_PARTS = 1_000

# 20 MB of rows as they compress in practice, ten to one, and half as much again.
MAX_UNPACKED_BYTES = 300 * 1024 * 1024

# Texts are held in memory while the sheet is read, at about three bytes a byte.
MAX_SHARED_STRINGS_BYTES = 32 * 1024 * 1024

# Of a text's two elements, and of each text, some sixty bytes stay.
MAX_SHARED_STRINGS_ELEMENTS = 2_000_000

# As many as a spreadsheet has.
MAX_ROWS = 2**20

# Styles, relations, and what a sheet has beside its rows, are read whole, at about twenty bytes a
# byte.
MAX_OTHER_PART_BYTES = 2 * 1024 * 1024

# A row is a tree while it is read, at about twenty bytes a byte.
MAX_ROW_BYTES = 1024 * 1024

_READ_BYTES = 64 * 1024
_ROW = f"{SHEET_MAIN_NS} row"

# What reading a broken archive raises, besides zipfile's own error.
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that this Python has not
    RuntimeError,  # encrypted
    OSError,
    ValueError,
)


class FileMalformedError(ServiceError):
    """The file can't be read in the format that it is said to have."""

    code = "INVALID_ARGUMENT"

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__("FILE_MALFORMED", text, {"line": str(line)} if line else {})


def check_workbook(file: BinaryIO) -> None:
    """Raise FileMalformedError unless the file is a workbook that is safe to open."""
    try:
        with zipfile.ZipFile(file) as archive:
            _check_parts(archive)
    except _ARCHIVE_ERRORS:
        raise FileMalformedError("the file must be an XLSX workbook, not encrypted") from None


def _check_parts(archive: zipfile.ZipFile) -> None:
    parts = archive.infolist()
    if len(parts) > MAX_PARTS:
        raise FileMalformedError(f"the workbook must have at most {MAX_PARTS} parts")
    names = [part.filename for part in parts]
    if len(set(names)) < len(names):
        raise FileMalformedError("the workbook has a part twice")
    if "xl/workbook.xml" not in names:
        raise FileMalformedError("the file must be an XLSX workbook: it has no xl/workbook.xml")
    left = MAX_UNPACKED_BYTES
    for part in parts:
        left -= _check_part(archive, part, left)


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo, left: int) -> int:
    """Unpack a part to nowhere; return its size."""
    name = part.filename.lower()
    checked, limit = _Part(is_named_xml=name.endswith((".xml", ".rels"))), MAX_OTHER_PART_BYTES
    if name == "xl/sharedstrings.xml":
        checked, limit = _SharedStrings(), MAX_SHARED_STRINGS_BYTES
    elif name.startswith("xl/worksheets/") and name.endswith(".xml"):
        checked, limit = _Sheet(), left
    elif name == "[content_types].xml" or name.endswith(".rels"):
        checked = _Links()
    size = 0
    with archive.open(part) as content:
        while piece := content.read(_READ_BYTES):
            size += len(piece)
            checked.feed(piece)
            if size > (min(left, limit) if checked.is_xml else left):
                raise FileMalformedError("the workbook is too large when it is unpacked")
    return size


class _Part:
    """Refuses a part that has a document type, as the parser sees it that reads the part.

    Whatever a part is called, another one can say that it is a sheet: each is taken for XML until
    it turns out to be none.
    """

    def __init__(self, *, is_named_xml: bool = True) -> None:
        self._is_named_xml = is_named_xml
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self.begin_element
        self._parser.EndElementHandler = self.end_element
        self._elements = 0
        self._is_over = False

    def feed(self, piece: bytes) -> None:
        if self._is_over:
            return
        try:
            self._parser.Parse(piece, False)
        except expat.ExpatError:
            if not self._elements and self._is_named_xml:
                raise FileMalformedError("the workbook has a part that is no XML") from None
            # The reader will come no further either.
            self._is_over = True

    @property
    def is_xml(self) -> bool:
        """Whether anything could be read of it."""
        return self._elements > 0

    def begin_element(self, name: str, attributes: dict[str, str]) -> None:
        """Count an element."""
        self._elements += 1

    def end_element(self, name: str) -> None:
        """Take note of the end of an element."""

    def _refuse(self, *_: object) -> None:
        raise FileMalformedError("the workbook has a document type declaration")


class _Links(_Part):
    """Refuses that a part with wider limits is read as what it is not called."""

    def begin_element(self, name: str, attributes: dict[str, str]) -> None:
        super().begin_element(name, attributes)
        target = attributes.get("Target", attributes.get("PartName", "")).lower()
        kind = attributes.get("Type", attributes.get("ContentType", "")).removesuffix("+xml")
        for part, own_kind in (("worksheets/", "worksheet"), ("sharedstrings", "sharedStrings")):
            if part in target and not kind.endswith(own_kind):
                raise FileMalformedError("the workbook takes a part for what it is not")
        if kind.endswith("sharedStrings") and "sharedstrings" not in target:
            raise FileMalformedError("the workbook takes a part for what it is not")


class _SharedStrings(_Part):
    """Refuses more elements than a list of texts may have."""

    def begin_element(self, name: str, attributes: dict[str, str]) -> None:
        super().begin_element(name, attributes)
        if self._elements > MAX_SHARED_STRINGS_ELEMENTS:
            raise FileMalformedError("the workbook is too large when it is unpacked")


class _Sheet(_Part):
    """Refuses what the reader of a sheet would keep: a row is forgotten, and nothing else is.

    What is called a row, is none and lies beside the rows or in one counts as any other XML.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rows = 0
        self._depth = 0
        self._row_depth = 0
        self._row_begin = 0
        self._fed_bytes = 0
        self._row_bytes = 0

    def feed(self, piece: bytes) -> None:
        super().feed(piece)
        self._fed_bytes += len(piece)
        if self._is_over:
            return
        open_bytes = self._fed_bytes - self._row_begin if self._row_depth else 0
        self._check_row(open_bytes - len(piece))
        if self._fed_bytes - self._row_bytes - open_bytes > MAX_OTHER_PART_BYTES:
            raise FileMalformedError(
                f"the workbook has a sheet with more than {MAX_OTHER_PART_BYTES} bytes of XML "
                "beside its rows"
            )

    def begin_element(self, name: str, attributes: dict[str, str]) -> None:
        super().begin_element(name, attributes)
        self._depth += 1
        if name == _ROW and not self._row_depth:
            self._row_depth, self._row_begin = self._depth, self._parser.CurrentByteIndex
            self._rows += 1
            if self._rows > MAX_ROWS:
                raise FileMalformedError(f"the workbook has a sheet of more than {MAX_ROWS} rows")

    def end_element(self, name: str) -> None:
        if self._depth == self._row_depth:
            size = self._parser.CurrentByteIndex - self._row_begin
            self._check_row(size)
            self._row_bytes += size
            self._row_depth = 0
        self._depth -= 1

    def _check_row(self, size: int) -> None:
        if size > MAX_ROW_BYTES:
            raise FileMalformedError(
                f"the workbook has a row of more than {MAX_ROW_BYTES} bytes of XML"
            )
