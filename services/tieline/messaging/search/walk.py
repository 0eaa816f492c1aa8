"""Where a search looks next, from the newest message backwards. Pure.

A walk looks through windows: of each conversation the newest messages below the place that it has
come to, no more than so many of each and none that are older than so long. What many messages
hold, the newest windows hold already; what few hold, the index of terms finds with fewer reads. So
after each window the walk compares what either way would still read, by how many of the messages
that it looked at were such.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import NamedTuple

# The first window: more than a page of what one message in 50 holds, in some 3 ms.
_FIRST_LOOKS = 1000
_FIRST_WIDTH = dt.timedelta(days=1)

# A window that was cut short lets too few of each conversation in; one that was not is too narrow.
_LOOKS_GROWTH = 2
_WIDTH_GROWTH = 8

# What one window looks at, at most, however many conversations there are to look into.
_MAX_LOOKS = 8000
_MIN_LOOKS_EACH = 4

# A window of more has no bound in time.
_MAX_WIDTH = dt.timedelta(days=3650)

# Some 60 ms. A page is not full by then only if the index of terms has more to read than that.
MAX_WALKED = 20_000


class Found(NamedTuple):
    """Where a message stands among the results: the newest first."""

    create_time: dt.datetime
    conversation_id: str
    sequence: int


class Window(NamedTuple):
    """What is looked through next."""

    from_time: dt.datetime | None
    """Create time of the oldest; None for no bound."""

    each: int
    """How many of each conversation at most."""


class Looked(NamedTuple):
    """What a window had."""

    entries: int
    with_terms: int
    """How many of the messages have the terms."""

    matching: int
    """How many of these pass the other filters too."""

    cut_at: Found | None
    """The last place that was looked at wholly; None if that is all of the window."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is."""

    newest: dt.datetime
    """When the newest message was stored."""

    conversations: int
    own: int
    """How many messages the conversations that are searched have."""

    indexed: int
    """How many messages of anybody the index of terms has."""


@dataclass(slots=True)
class Walk:
    """How far a search has come, and what it has seen."""

    extent: Extent
    from_time: dt.datetime | None
    """Nothing older is looked for."""

    before: Found | None
    """What is looked for stands behind this; None for all."""

    is_over: bool = False
    """Whether nothing stands behind ``before``."""

    _width: dt.timedelta = _FIRST_WIDTH
    _each: int = field(init=False)
    _looked: int = 0
    _with_terms: int = 0
    _matching: int = 0

    def __post_init__(self) -> None:
        self._each = max(_FIRST_LOOKS // max(self.extent.conversations, 1), _MIN_LOOKS_EACH)

    @property
    def window(self) -> Window:
        """What is to be looked through next."""
        top = self.extent.newest
        if self.before is not None:
            top = min(top, self.before.create_time)
        if self._width > _MAX_WIDTH or top.year < dt.MINYEAR + 11:
            return Window(self.from_time, self._each)
        begin = top - self._width
        return Window(max(begin, self.from_time or begin), self._each)

    @property
    def is_tired(self) -> bool:
        """Whether it has looked at as much as one call may."""
        return self._looked >= MAX_WALKED

    def go_on(self, looked: Looked) -> None:
        """Note what the window had: the walk is behind it."""
        window = self.window
        self._looked += looked.entries
        self._with_terms += looked.with_terms
        self._matching += looked.matching
        if looked.cut_at is not None:
            self.before = looked.cut_at
            most = max(_MAX_LOOKS // max(self.extent.conversations, 1), _MIN_LOOKS_EACH)
            self._each = min(self._each * _LOOKS_GROWTH, most)
            return
        self._width *= _WIDTH_GROWTH
        if window.from_time is None or window.from_time == self.from_time:
            self.is_over = True
        else:
            self.before = Found(window.from_time, "", 0)

    def prefers_terms(self, missing: int) -> bool:
        """Tell whether the index of terms finds so many with fewer reads than walking on."""
        # One more of each: what has not been seen yet may come next.
        seen = self._looked + 1
        walked = min(missing * seen / (self._matching + 1), self.extent.own - self._looked)
        return self.extent.indexed * (self._with_terms + 1) / seen < walked
