"""What is kept of members is what the corp has, and takes no more memory than it may."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.directory.members.cache import UNKNOWN, CorpNumbers, KeptMember, MemberCache


def numbers(last: int, epoch: str = "") -> CorpNumbers:
    return CorpNumbers(last, visibility_number=0, feed_epoch=epoch)


def member(user_id: str, text: str = "", size: int = 0) -> KeptMember:
    return KeptMember(user_id, (1,), "", text.encode().ljust(size))


def kept_at(number: int, *members: KeptMember) -> MemberCache:
    cache = MemberCache()
    cache.advance("ww1", numbers(number), (), is_whole=True)
    for each in members:
        cache.put("ww1", each)
    return cache


@pytest.mark.parametrize(
    ("last", "epoch", "changed", "is_whole", "left"),
    [
        pytest.param(5, "", (), True, {"li", "wang"}, id="nothing changed"),
        pytest.param(6, "", ("li",), True, {"wang"}, id="one changed"),
        pytest.param(6, "", ("no",), True, {"li", "wang"}, id="somebody else changed"),
        pytest.param(6, "", ("li",), False, set(), id="more changed than are named"),
        pytest.param(4, "", (), True, set(), id="the numbers went back"),
        pytest.param(5, "restored", (), True, set(), id="the numbers are of another time"),
    ],
)
def test_who_may_have_changed_is_dropped(
    last: int, epoch: str, changed: tuple[str, ...], is_whole: bool, left: set[str]
) -> None:
    cache = kept_at(5, member("li"), member("wang"))

    cache.advance("ww1", numbers(last, epoch), changed, is_whole=is_whole)

    assert {user_id for user_id in ("li", "wang") if cache.find("ww1", user_id)} == left
    assert cache.number_of("ww1") == last


def test_corps_are_kept_apart() -> None:
    cache = kept_at(5, member("li"))
    cache.advance("ww2", numbers(9), (), is_whole=True)

    assert cache.find("ww2", "li") is None
    assert cache.number_of("ww1") == 5
    assert cache.number_of("ww3") == UNKNOWN


def test_member_of_a_corp_that_was_dropped_meanwhile_is_not_kept() -> None:
    cache = kept_at(5)
    cache.drop("ww1")

    cache.put("ww1", member("li"))

    assert cache.find("ww1", "li") is None
    assert cache.kept_bytes == 0


def test_corp_that_was_used_longest_ago_makes_room() -> None:
    cache = MemberCache(max_bytes=5000)
    for corp_id in ("ww1", "ww2", "ww1"):
        cache.advance(corp_id, numbers(1), (), is_whole=True)
        cache.put(corp_id, member("li", size=1000))

    cache.put("ww1", member("wang", size=1500))

    assert cache.find("ww2", "li") is None
    assert cache.find("ww1", "li") is not None
    assert cache.kept_bytes <= 5000


def test_corp_that_fills_it_alone_drops_whom_it_read_first() -> None:
    cache = MemberCache(max_bytes=5000)
    cache.advance("ww1", numbers(1), (), is_whole=True)

    for number in range(10):
        cache.put("ww1", member(f"u{number}", size=1000))

    kept = [number for number in range(10) if cache.find("ww1", f"u{number}")]
    assert kept == [7, 8, 9]
    assert cache.kept_bytes <= 5000


@dataclass
class Corp:
    """What the database has: each member's text with the number of its last change."""

    last: int = 0
    rows: dict[str, tuple[int, str]] = field(default_factory=dict)

    def changed_since(self, number: int) -> list[str]:
        return [user_id for user_id, (at, _) in self.rows.items() if at > number]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["change", "read"]),
        st.sampled_from(["ww1", "ww2", "ww3"]),
        st.sampled_from(["li", "wang", "zhao"]),
    ),
    max_size=60,
)


@given(steps=STEPS, limit=st.integers(0, 3), max_bytes=st.integers(0, 3000))
def test_a_read_gives_what_the_corp_has(
    steps: list[tuple[str, str, str]], limit: int, max_bytes: int
) -> None:
    cache = MemberCache(max_bytes)
    corps = {corp_id: Corp() for corp_id in ("ww1", "ww2", "ww3")}
    for number, (step, corp_id, user_id) in enumerate(steps):
        corp = corps[corp_id]
        if step == "change":
            corp.last += 1
            corp.rows[user_id] = (corp.last, f"{user_id} {number}")
            continue
        changed = corp.changed_since(cache.number_of(corp_id))
        cache.advance(corp_id, numbers(corp.last), changed[:limit], is_whole=len(changed) <= limit)
        kept = cache.find(corp_id, user_id)
        row = corp.rows.get(user_id)
        if kept is None and row is not None:
            cache.put(corp_id, member(user_id, row[1]))
        else:
            assert (None if kept is None else kept.message.decode()) == (row and row[1])
        assert cache.kept_bytes <= max_bytes
