"""Where a feed keeps, from one start to the next, up to which message it has each conversation."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class HeldNumbers(Protocol):
    """A store of numbers by conversation id. Its methods do not wait: a feed calls them in between.

    Where messages are kept in a database of the reader's own, implement this on it, so that number
    and message are stored together.
    """

    def load(self) -> Mapping[str, int]:
        """Return all that is held."""

    def put(self, conversation_id: str, sequence: int) -> None:
        """Keep that everything up to this message has been dealt with."""

    def forget(self, conversation_id: str) -> None:
        """Hold nothing of the conversation any more."""


class HeldNumbersFile:
    """Keeps the numbers in a file: one line each, compacted when it is opened.

    What was put last may be missing after a power failure; those messages then come again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = _read(path)
        self._compact()
        # Closed with the process; each line is written out at once.
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def load(self) -> Mapping[str, int]:
        """Return all that is held."""
        return dict(self._numbers)

    def put(self, conversation_id: str, sequence: int) -> None:
        """Keep that everything up to this message has been dealt with."""
        self._numbers[conversation_id] = sequence
        self._file.write(json.dumps([conversation_id, sequence]) + "\n")

    def forget(self, conversation_id: str) -> None:
        """Hold nothing of the conversation any more."""
        self._numbers.pop(conversation_id, None)
        self._file.write(json.dumps([conversation_id, None]) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _compact(self) -> None:
        written = self._path.with_name(self._path.name + ".new")
        lines = [json.dumps(list(item)) + "\n" for item in self._numbers.items()]
        written.write_text("".join(lines), encoding="utf-8")
        os.replace(written, self._path)


def _read(path: Path) -> dict[str, int]:
    numbers: dict[str, int] = {}
    if not path.exists():
        return numbers
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            conversation_id, sequence = json.loads(line)
        except ValueError:
            continue  # the last line of a process that was killed over it
        if sequence is None:
            numbers.pop(conversation_id, None)
        else:
            # Moved to the end: the order is that of the latest message.
            numbers.pop(conversation_id, None)
            numbers[conversation_id] = sequence
    return numbers
