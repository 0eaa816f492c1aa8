"""Members as they were read last, for as long as the corp's changes do not name them. No I/O.

Every change to a member takes one of the corp's numbers in the transaction of the change. A reader
tells here up to which number it has seen the corp, and who changed since the number before; what
is kept of the others is as true as if it were read again. A reader that does not ask first at what
the corp is has no business here.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

# As many members of ordinary size as a fairly large corp has: 100,000.
MAX_KEPT_BYTES = 64 * 1024 * 1024

# What an entry costs beside the message: keys, ids and the places of it in tables.
_ENTRY_BYTES = 400

# Where nothing is kept there is nothing to ask for: above every number.
UNKNOWN = 2**62


@dataclass(frozen=True, slots=True)
class CorpNumbers:
    """At what a corp is."""

    last_change_number: int
    visibility_number: int
    """0 for a corp without rules."""

    feed_epoch: str
    """Another one where numbers no longer say what they said."""


@dataclass(frozen=True, slots=True)
class KeptMember:
    """A member as those get it who see all of it, and what tells whether somebody does."""

    user_id: str
    department_ids: tuple[int, ...]
    direct_leader: str
    message: bytes
    """A serialized GetMemberResponse."""


@dataclass(slots=True, eq=False)
class _Corp:
    number: int
    epoch: str
    members: dict[str, KeptMember] = field(default_factory=dict)


class MemberCache:
    """The members used last, of all corps."""

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        # The one used longest ago is the first to go, with all its members.
        self._corps: OrderedDict[str, _Corp] = OrderedDict()

    def number_of(self, corp_id: str) -> int:
        """Return the number that what is kept of the corp was true at, or `UNKNOWN`."""
        corp = self._corps.get(corp_id)
        return UNKNOWN if corp is None else corp.number

    def advance(
        self, corp_id: str, numbers: CorpNumbers, changed: Collection[str], *, is_whole: bool
    ) -> None:
        """Note that the corp is at these numbers; who changed since the last time is dropped.

        All of the corp is where ``is_whole`` says that not all who changed are named, and where the
        numbers are of another time.
        """
        corp = self._corps.get(corp_id)
        number, epoch = numbers.last_change_number, numbers.feed_epoch
        if corp is not None and (not is_whole or corp.epoch != epoch or corp.number > number):
            self.drop(corp_id)
            corp = None
        if corp is None:
            self._corps[corp_id] = _Corp(number, epoch)
            self._bytes += _ENTRY_BYTES
            self._make_room()
            return
        for user_id in changed:
            dropped = corp.members.pop(user_id, None)
            if dropped is not None:
                self._bytes -= _weigh(dropped)
        corp.number = number
        self._corps.move_to_end(corp_id)

    def drop(self, corp_id: str) -> None:
        """Keep nothing of the corp."""
        corp = self._corps.pop(corp_id, None)
        if corp is not None:
            self._bytes -= _ENTRY_BYTES + sum(map(_weigh, corp.members.values()))

    def find(self, corp_id: str, user_id: str) -> KeptMember | None:
        """Return the member as of the corp's number."""
        corp = self._corps.get(corp_id)
        return None if corp is None else corp.members.get(user_id)

    def put(self, corp_id: str, member: KeptMember) -> None:
        """Keep a member who was read at the corp's number or later."""
        corp = self._corps.get(corp_id)
        if corp is None:
            return
        earlier = corp.members.pop(member.user_id, None)
        if earlier is not None:
            self._bytes -= _weigh(earlier)
        corp.members[member.user_id] = member
        self._bytes += _weigh(member)
        self._make_room()

    @property
    def kept_bytes(self) -> int:
        """About how much memory it takes."""
        return self._bytes

    def _make_room(self) -> None:
        while self._bytes > self._max_bytes:
            corp_id = next(iter(self._corps))
            members = self._corps[corp_id].members
            # Of a corp that fills the cache by itself, who was read longest ago.
            if len(self._corps) > 1 or not members:
                self.drop(corp_id)
            else:
                self._bytes -= _weigh(members.pop(next(iter(members))))


def _weigh(member: KeptMember) -> int:
    return len(member.message) + 8 * len(member.department_ids) + _ENTRY_BYTES
