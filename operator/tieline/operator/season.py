"""The load at the same time of earlier weeks, as a floor. Pure."""

import datetime as dt
from dataclasses import dataclass

SLOT_S = 300
"""A week has 2,016 slots of five minutes."""

SLOTS = 7 * 24 * 3600 // SLOT_S
WEEKS_KEPT = 4
_SCALE = (0.5, 2.0)
"""Today may be half or double of what such a day was."""


@dataclass(frozen=True, slots=True)
class Season:
    """The largest load of each slot in the last weeks, and of the slot of now."""

    slot_number: int = -1
    """Slots since the epoch; -1 before the first second."""

    slot_peak: float = 0.0
    weeks: tuple[tuple[float, ...], ...] = ()
    """By slot of the week, the newest week last; empty until the first slot was full."""


def update_season(season: Season, level: float, now: float) -> Season:
    """Take one second's level in."""
    number = int(now // SLOT_S)
    if number == season.slot_number:
        if level <= season.slot_peak:
            return season
        return Season(number, level, season.weeks)
    # A clock that was set back begins its slot anew and forgets the one that was open.
    if season.slot_number < 0 or number < season.slot_number:
        return Season(number, level, season.weeks)
    weeks = list(season.weeks or ((),) * SLOTS)
    index = season.slot_number % SLOTS
    weeks[index] = (*weeks[index], _round(season.slot_peak))[-WEEKS_KEPT:]
    return Season(number, level, tuple(weeks))


def merge_seasons(earlier: Season, own: Season) -> Season:
    """Put what was learned since a start behind what was stored before it, slot by slot."""
    if own.slot_number < 0:
        return earlier
    before = update_season(earlier, own.slot_peak, own.slot_number * SLOT_S)
    if not before.weeks or not own.weeks:
        return Season(before.slot_number, before.slot_peak, before.weeks or own.weeks)
    weeks = tuple(
        (*old, *new)[-WEEKS_KEPT:] for old, new in zip(before.weeks, own.weeks, strict=True)
    )
    return Season(before.slot_number, before.slot_peak, weeks)


def seasonal_demand(
    season: Season,
    level: float,
    lead_s: float,
    quantile_percent: int,
    now: float,
    *,
    is_level_certain: bool = True,
) -> float:
    """Return the load that earlier weeks let expect after a lead; 0 without earlier weeks.

    A level that is not certain makes no more of it than it was.
    """
    then = _quantile(season, now + lead_s, quantile_percent)
    usual = _quantile(season, now, quantile_percent)
    if then <= 0 or usual <= 0:
        return 0.0
    low, high = _SCALE
    return then * min(max(level / usual, low), high if is_level_certain else 1.0)


def slot_words(now: float) -> str:
    """Name the time of the week, for people."""
    return dt.datetime.fromtimestamp(now, tz=dt.UTC).strftime("%A %H:%M UTC")


def _round(peak: float) -> float:
    """Return four digits of a peak: more say nothing, and four weeks of them are stored."""
    return float(f"{peak:.4g}")


def _quantile(season: Season, time: float, quantile_percent: int) -> float:
    if not season.weeks:
        return 0.0
    values = sorted(season.weeks[int(time // SLOT_S) % SLOTS])
    if not values:
        return 0.0
    return values[min(len(values) - 1, len(values) * quantile_percent // 100)]
