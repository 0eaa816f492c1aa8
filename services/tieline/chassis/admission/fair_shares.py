"""What one corp may take of a replica while others want it too. Pure.

Max-min fairness: who asks for less than an equal share gets all of it, and what is left over is
shared by the others. A corp is held to its share only where it alone, or a few, ask for far more
than it: a surge of everybody is the priorities' affair.
"""

import heapq
from collections.abc import Mapping

# More than that are no flood but a surge.
MAX_FLOODING_CORPS = 8

# Of the largest other corp: one that is a little larger is no flood.
_FLOOD_FACTOR = 2.0

# Of what can be done: a few calls of a short window stand out by chance among those with one.
_FLOOD_RATIO = 0.1


def fair_share(wanted: Mapping[str, int], capacity: float) -> float:
    """Return the share at which the corps' smaller wishes and shares add up to the capacity.

    Infinite where all wishes fit.
    """
    left = capacity
    remaining = len(wanted)
    for amount in sorted(wanted.values()):
        share = left / remaining
        if amount > share:
            return share
        left -= amount
        remaining -= 1
    return float("inf")


def find_flooding(wanted: Mapping[str, int], capacity: float) -> frozenset[str]:
    """Return the corps that are to be held to their share.

    ``wanted`` are the arrivals of each corp in the window, ``capacity`` how many of them all can be
    let in.
    """
    if len(wanted) < 2:
        return frozenset()
    share = fair_share(wanted, capacity)
    least = max(share, _FLOOD_RATIO * capacity)
    heaviest = heapq.nlargest(MAX_FLOODING_CORPS + 1, wanted, key=lambda corp: wanted[corp])
    for count in range(len(heaviest) - 1, 0, -1):
        if wanted[heaviest[count - 1]] > _FLOOD_FACTOR * wanted[heaviest[count]]:
            return frozenset(corp for corp in heaviest[:count] if wanted[corp] > least)
    return frozenset()
