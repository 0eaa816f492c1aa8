"""In which order one conversation's messages go out, and what must be fetched first.

Messages come in live, perhaps twice, late, out of order or not at all, and in ranges fetched from
the database. What goes out are consecutive numbers, each once. Pure: no broker, no database.
"""

from typing import Generic, TypeVar

T = TypeVar("T")

# What waits behind a gap. A gap is filled within milliseconds; what does not fit is fetched too.
MAX_HELD = 512


class Cursor(Generic[T]):
    """How far one conversation has been delivered.

    Until it is anchored nobody receives from it: it only notes which numbers went by.
    """

    __slots__ = ("_held", "_is_anchored", "_newest", "last")

    def __init__(self) -> None:
        self.last = 0
        """The number up to which everything was delivered, or needs no delivery."""

        self._newest = 0
        self._held: dict[int, T] = {}
        self._is_anchored = False

    @property
    def is_anchored(self) -> bool:
        """Whether anybody receives from it."""
        return self._is_anchored

    @property
    def missing(self) -> tuple[int, int] | None:
        """The range ``(after, up to)`` without which nothing more can go out; None for none."""
        if self._newest <= self.last:
            return None
        return self.last, min(self._held) - 1 if self._held else self._newest

    def anchor(self, stored: int) -> int:
        """Begin to deliver to somebody to whom the conversation had ``stored`` messages.

        Returns the number after which they receive: ``stored``, or a higher one that has already
        gone by, which was stored before this moment as well.
        """
        if self._is_anchored:
            self.learn(stored)
        else:
            self._is_anchored = True
            self.last = max(self.last, stored)
        return max(self.last, stored)

    def learn(self, newest: int) -> None:
        """Note that the conversation has messages up to ``newest``."""
        self._newest = max(self._newest, newest)

    def take(self, sequence: int, item: T) -> list[tuple[int, T]]:
        """Take in a message; return the messages that can go out now, in order."""
        if not self._is_anchored:
            self.last = max(self.last, sequence)
            return []
        self.learn(sequence)
        if sequence != self.last + 1:
            if sequence > self.last and len(self._held) < MAX_HELD:
                self._held.setdefault(sequence, item)
            return []
        self._held.pop(sequence, None)
        ready = [(sequence, item)]
        while (following := sequence + len(ready)) in self._held:
            ready.append((following, self._held.pop(following)))
        self.last = sequence + len(ready) - 1
        return ready
