"""Divides an amount among the shares of a red packet, reproducibly. Pure.

The shares are drawn by double mean and then permuted. Double mean alone gives every position the
same mean, but whoever opens last of 100 is the luckiest 8 times as often as chance would have it;
permuted, all positions are alike in every respect.

Everything is drawn from a seed of 32 bytes, so that anybody who learns it can recompute the split.
This is the whole recipe; changing any of it changes what published seeds mean:

1. The stream is HMAC-SHA-256(key = seed, message = i) for i = 0, 1, 2, ... as 8 bytes, big-endian,
   each digest cut into four words of 8 bytes, big-endian.
2. ``below(n)`` takes words until one is less than the largest multiple of n that fits into 2^64;
   its remainder by n is the number, each of 0 to n - 1 equally likely.
3. With b left for k shares, k from the count down to 2: s = floor(2b / k),
   high = min(s - 1, 20000), low = s - high; the amount is low + below(high - low + 1). The last
   share is what remains.
4. For i from the count - 1 down to 1: swap the amounts i and below(i + 1), counted from 0.
"""

import hashlib
import hmac
from collections.abc import Iterator

# What the open API allows a share: 0.01 to 200 yuan (peers publish the same).
MIN_SHARE_MINOR = 1
MAX_SHARE_MINOR = 20_000

SEED_BYTES = 32

_WORD_BYTES = 8
_WORD_COUNT = 2 ** (8 * _WORD_BYTES)


def build_commitment(seed: bytes) -> bytes:
    """Return what is shown of the seed while it is secret: its SHA-256."""
    return hashlib.sha256(seed).digest()


def split_amount(seed: bytes, amount_minor: int, share_count: int) -> list[int]:
    """Return the shares in the order of opening; they sum to the amount exactly.

    The amount must give each share from MIN_SHARE_MINOR to MAX_SHARE_MINOR.
    """
    assert len(seed) == SEED_BYTES, "a seed has 32 bytes"
    assert share_count * MIN_SHARE_MINOR <= amount_minor <= share_count * MAX_SHARE_MINOR, (
        "each share can be within its bounds"
    )
    draw = _Draw(seed)
    shares = _draw_double_mean(draw, amount_minor, share_count)
    _permute(draw, shares)
    return shares


class _Draw:
    """Numbers from a seed, each equally likely."""

    def __init__(self, seed: bytes) -> None:
        self._words = _words(seed)

    def below(self, bound: int) -> int:
        """Return the next number of 0 to ``bound`` - 1."""
        limit = _WORD_COUNT - _WORD_COUNT % bound
        # The words from the limit on would favour the small remainders.
        return next(word for word in self._words if word < limit) % bound


def _words(seed: bytes) -> Iterator[int]:
    counter = 0
    while True:
        block = hmac.digest(seed, counter.to_bytes(_WORD_BYTES), "sha256")
        for start in range(0, len(block), _WORD_BYTES):
            yield int.from_bytes(block[start : start + _WORD_BYTES])
        counter += 1


def _draw_double_mean(draw: _Draw, amount_minor: int, share_count: int) -> list[int]:
    """Draw each share but the last from an interval around the mean of what is left.

    The interval reaches from 1 to just below twice the mean, or is as narrow as the upper bound of
    a share demands, to both sides: cut above alone, the later shares would be the larger ones. What
    remains always suffices for the shares after it, and never more than fills them.
    """
    shares = []
    for left in range(share_count, 1, -1):
        twice_mean = 2 * amount_minor // left
        high = min(twice_mean - MIN_SHARE_MINOR, MAX_SHARE_MINOR)
        low = twice_mean - high
        share = low + draw.below(high - low + 1)
        shares.append(share)
        amount_minor -= share
    return [*shares, amount_minor]


def _permute(draw: _Draw, shares: list[int]) -> None:
    for index in range(len(shares) - 1, 0, -1):
        other = draw.below(index + 1)
        shares[index], shares[other] = shares[other], shares[index]
