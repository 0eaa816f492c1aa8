"""Which calls of one service cause calls of another. Pure.

What a caller receives now, its callees receive next, once the caller has its replicas.
"""

from collections.abc import Mapping, Sequence

from tieline.operator.policy import Upstream

_WEIGHT = 0.05
_MIN_DEMAND_PER_S = 1.0
"""Less says nothing about a ratio."""

_MAX_FANOUT = 1000.0
"""The bound of the field `fanoutMilli`."""


def order_by_calls(
    upstreams: Mapping[str, Sequence[Upstream]],
) -> tuple[tuple[str, ...], Mapping[str, tuple[Upstream, ...]]]:
    """Return the services, callers first, and the edges without those that close a ring."""
    order: list[str] = []
    kept: dict[str, tuple[Upstream, ...]] = {}
    open_names: set[str] = set()

    def visit(name: str) -> None:
        open_names.add(name)
        edges = []
        for edge in upstreams[name]:
            if edge.name not in upstreams or edge.name in open_names:
                continue
            edges.append(edge)
            if edge.name not in kept:
                visit(edge.name)
        kept[name] = tuple(edges)
        open_names.discard(name)
        order.append(name)

    for name in sorted(upstreams):
        if name not in kept:
            visit(name)
    return tuple(order), kept


def learn_fanouts(
    fanouts: Sequence[tuple[str, float]],
    edges: Sequence[Upstream],
    demand_per_s: float,
    upstream_demands: Mapping[str, float],
    *,
    is_upstream_shedding: bool,
) -> tuple[tuple[str, float], ...]:
    """Move the learned ratios towards this second's; pinned ones are not learned.

    With several callers the calls that the pinned ones do not explain are shared out evenly.
    """
    known = dict(fanouts)
    learned_edges = [edge.name for edge in edges if edge.fanout_milli is None]
    base = sum(upstream_demands.get(name, 0.0) for name in learned_edges)
    if is_upstream_shedding or base < _MIN_DEMAND_PER_S:
        return tuple((name, known[name]) for name in learned_edges if name in known)
    pinned = sum(
        upstream_demands.get(edge.name, 0.0) * edge.fanout_milli / 1000
        for edge in edges
        if edge.fanout_milli is not None
    )
    ratio = min(max(0.0, demand_per_s - pinned) / base, _MAX_FANOUT)
    return tuple(
        (name, known[name] + _WEIGHT * (ratio - known[name]) if name in known else ratio)
        for name in learned_edges
    )


def demand_from_upstreams(
    edges: Sequence[Upstream],
    fanouts: Sequence[tuple[str, float]],
    forecasts: Mapping[str, float],
) -> float:
    """Return the calls a second that the callers' forecasts will cause."""
    known = dict(fanouts)
    total = 0.0
    for edge in edges:
        fanout = (
            known.get(edge.name, 0.0) if edge.fanout_milli is None else edge.fanout_milli / 1000
        )
        total += fanout * forecasts.get(edge.name, 0.0)
    return total
