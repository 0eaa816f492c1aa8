"""What a workbook must be before it is opened: small when unpacked, and without XML's traps.

A workbook is a ZIP of XML. Both can be made so that a few kilobytes become gigabytes, and so that
reading one fetches files or addresses. So sizes are measured here by unpacking to nowhere, whatever
the ZIP's own lists say, and a part with a document type, the only place where entities can be
declared, is refused.
"""

import re
import zipfile
import zlib
from typing import BinaryIO
from xml.parsers import expat

from tieline.chassis.errors import ServiceError

MAX_PARTS = 1_000

# 20 MB of rows as they compress in practice, ten to one, and half as much again.
MAX_UNPACKED_BYTES = 300 * 1024 * 1024

# Texts are held in memory while the sheet is read, at about three bytes a byte.
MAX_SHARED_STRINGS_BYTES = 32 * 1024 * 1024

# Styles and relations are read whole, at about twenty bytes a byte.
MAX_OTHER_PART_BYTES = 2 * 1024 * 1024

# A row is a tree while it is read, at about twenty bytes a byte.
MAX_ROW_BYTES = 1024 * 1024

_READ_BYTES = 64 * 1024
_ROW = re.compile(rb"<(?:\w+:)?row[\s/>]")

# A match may lie across the border of two reads.
_OVERLAP_BYTES = 32

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
    is_xml = name.endswith((".xml", ".rels"))
    is_sheet = name.startswith("xl/worksheets/") and name.endswith(".xml")
    limit = left
    if name == "xl/sharedstrings.xml":
        limit = min(left, MAX_SHARED_STRINGS_BYTES)
    elif is_xml and not is_sheet:
        limit = min(left, MAX_OTHER_PART_BYTES)
    prologue = _Prologue() if is_xml else None
    rows = _RowSizes() if is_sheet else None
    size = 0
    with archive.open(part) as content:
        while piece := content.read(_READ_BYTES):
            size += len(piece)
            if size > limit:
                raise FileMalformedError("the workbook is too large when it is unpacked")
            if prologue is not None:
                prologue.feed(piece)
            if rows is not None:
                rows.feed(piece)
    return size


class _Prologue:
    """Reads a part up to its first element, as the parser will that reads all of it."""

    def __init__(self) -> None:
        self._is_over = False
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._end

    def feed(self, piece: bytes) -> None:
        if self._is_over:
            return
        try:
            self._parser.Parse(piece, False)
        except expat.ExpatError:
            # Behind the first element it does not matter here: the reader will meet it again.
            if not self._is_over:
                raise FileMalformedError("the workbook has a part that is no XML") from None

    def _end(self, name: str, attributes: dict[str, str]) -> None:
        self._is_over = True
        self._parser.StartDoctypeDeclHandler = None
        self._parser.StartElementHandler = None

    def _refuse(self, *_: object) -> None:
        raise FileMalformedError("the workbook has a document type declaration")


class _RowSizes:
    """Measures what lies between the beginnings of two rows."""

    def __init__(self) -> None:
        self._tail = b""
        self._since_row = 0

    def feed(self, piece: bytes) -> None:
        text = self._tail + piece
        position = 0
        for match in _ROW.finditer(text):
            self._check(self._since_row + match.start() - position)
            self._since_row, position = 0, match.start()
        self._since_row += len(text) - position
        self._tail = text[-_OVERLAP_BYTES:]
        # Its bytes come again with the next piece.
        self._since_row -= len(self._tail)
        self._check(self._since_row)

    def _check(self, size: int) -> None:
        if size > MAX_ROW_BYTES:
            raise FileMalformedError(
                f"the workbook has a row of more than {MAX_ROW_BYTES} bytes of XML"
            )
