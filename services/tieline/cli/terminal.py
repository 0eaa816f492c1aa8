"""What `tieline up` prints: the children's lines with their names in front, and its own notes."""

import itertools
from collections.abc import Iterator

from rich.console import Console

RESET = "\x1b[0m"
# Readable on dark and on light ground; red is left to errors.
COLOURS = ("\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[34m", "\x1b[32m", "\x1b[96m", "\x1b[95m")
# As wide as the longest name, "messaging" and "directory".
NAME_WIDTH = 9


class Terminal:
    """Writes whole lines to standard output, coloured when that is a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._is_coloured = console.is_terminal and not console.no_color
        self._next_colour: Iterator[str] = itertools.cycle(COLOURS)
        self._colours: dict[str, str] = {}

    def child_line(self, name: str, line: str) -> None:
        """Print a child's line as it is, behind its name."""
        # Not through rich: it would read markup and wrap, at ten times the cost.
        prefix = f"{name:>{NAME_WIDTH}} │ "
        if self._is_coloured:
            colour = self._colours.setdefault(name, next(self._next_colour))
            prefix = f"{colour}{prefix}{RESET}"
        self._write(prefix + line)

    def note(self, text: str) -> None:
        """Print a line of `tieline up` itself."""
        self.child_line("tieline", text)

    def _write(self, text: str) -> None:
        # A closed pipe (`tieline up | head`) must not end the platform in the middle of something.
        try:
            self.console.file.write(text + "\n")
            self.console.file.flush()
        except BrokenPipeError:
            pass
