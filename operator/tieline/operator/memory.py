"""What was learned of each policy, as it outlives the operator: packed, checked, taken up. Pure.

Four weeks of load, what a replica does and how long it takes to start would take as long to learn
again. What a few seconds show anew (the load of now, the surge, the steps) is not kept.
"""

import dataclasses
import math
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tieline.operator.decision_state import FleetState, ServiceInput, ServiceState
from tieline.operator.floors import Baseline
from tieline.operator.season import SLOTS, WEEKS_KEPT, Season, merge_seasons
from tieline.operator.state_json import from_json, to_json

MAX_TOTAL_BYTES = 900_000
"""Of all policies together: a ConfigMap holds 1 MiB. A policy's four weeks are 20 kB."""

_MAX_TEXT_BYTES = 1_000_000
"""Of one policy unpacked; some small bytes can be made to unpack to any size."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is kept of one policy."""

    version: int
    target: str
    """The Deployment of whose replicas it was learned: another one begins anew."""

    season: Season
    capacity_per_s: float
    starts_s: tuple[float, ...]
    fanouts: tuple[tuple[str, float], ...]
    baselines: tuple[Baseline, ...]


def remember(state: ServiceState, target: str) -> Remembered:
    """Return what is to be kept of a policy."""
    learned = state.learned
    return Remembered(
        version=_VERSION,
        target=target,
        season=state.season,
        capacity_per_s=learned.capacity_per_s,
        starts_s=learned.starts_s,
        fanouts=state.fanouts,
        baselines=state.baselines,
    )


def recall(
    state: FleetState, given: Collection[ServiceInput], known: Mapping[str, Remembered]
) -> FleetState:
    """Return the state with what is known of policies that it has learned nothing of."""
    found = {
        each.name: _fill_in(state.services.get(each.name, ServiceState()), kept)
        for each in given
        if (kept := known.get(each.name)) is not None and kept.target == each.policy.target
    }
    return FleetState({**state.services, **found}) if found else state


def pack(known: Mapping[str, Remembered], first: Collection[str]) -> dict[str, bytes]:
    """Return the bytes to store by policy, within the bound.

    Where not all seasons fit, those of the policies ``first`` do; the others keep the rest.
    """
    packed: dict[str, bytes] = {}
    left = MAX_TOTAL_BYTES
    for name in sorted(known, key=lambda one: (one not in first, one)):
        kept = known[name]
        for one in (kept, dataclasses.replace(kept, season=Season())):
            data = zlib.compress(to_json(one).encode())
            if len(data) <= left:
                packed[name] = data
                left -= len(data)
                break
    return packed


def unpack(data: bytes) -> Remembered:
    """Read one policy's bytes; raise ValueError for what the operator would not have written."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, _MAX_TEXT_BYTES)
    except zlib.error as error:
        raise ValueError(f"not packed: {error}") from error
    if not unpacker.eof:
        raise ValueError(f"cut off, or more than {_MAX_TEXT_BYTES} bytes")
    try:
        kept = from_json(Remembered, text.decode())
        _check(kept)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"values of other kinds: {error}") from error
    return kept


def _fill_in(own: ServiceState, kept: Remembered) -> ServiceState:
    learned = dataclasses.replace(
        own.learned,
        capacity_per_s=own.learned.capacity_per_s or kept.capacity_per_s,
        starts_s=own.learned.starts_s or kept.starts_s,
    )
    return dataclasses.replace(
        own,
        # What could be read only minutes after the start finds some slots that are new.
        season=merge_seasons(kept.season, own.season),
        learned=learned,
        fanouts=own.fanouts or kept.fanouts,
        baselines=own.baselines or kept.baselines,
    )


def _check(kept: Remembered) -> None:
    """Raise ValueError, or TypeError, for values that would disturb the decision."""
    if kept.version != _VERSION:
        raise ValueError(f"of version {kept.version}, not {_VERSION}")
    if len(kept.season.weeks) not in (0, SLOTS):
        raise ValueError(f"a week of {len(kept.season.weeks)} slots")
    if any(len(slot) > WEEKS_KEPT for slot in kept.season.weeks):
        raise ValueError("too many weeks")
    numbers = [
        kept.season.slot_number + 1,
        kept.season.slot_peak,
        kept.capacity_per_s,
        *kept.starts_s,
        *(peak for slot in kept.season.weeks for peak in slot),
        *(fanout for _, fanout in kept.fanouts),
        *(one.start_time for one in kept.baselines),
        *(one.replicas for one in kept.baselines),
    ]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError("a number that is none, or below 0")
