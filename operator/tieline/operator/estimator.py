"""Level and slope of a load that is measured each second. Pure.

Holt's double smoothing keeps noise out; two surprises in the same direction end it, because they
are a step and not noise, and the level jumps to what was just measured.
"""

import dataclasses
import itertools
import math
import statistics
from dataclasses import dataclass

_LEVEL_WEIGHT = 0.3
_SLOPE_WEIGHT = 0.1
_DEVIATION_WEIGHT = 0.05
_SURPRISE_SIGMAS = 4.0
_JUMP = 3.0
"""A value of this many times what was expected needs no second one: it is a step. Less may be two
seconds' calls in one report, after one that came too late to count."""

_MEDIAN_NOISE = 0.5
"""Sigma of the median of five differences, as a part of that of one."""

_MEAN_DEVIATION_TO_SIGMA = 1.25
"""Of a normal distribution."""

_RECENT = 6
"""Values of which a slope is seen at once: a step is in two of their five differences at most."""

_NOISE_MARGIN = 1.0
"""Sigmas above the level. The target utilisation leaves room for more."""

_MAX_GAP_S = 30.0
"""After a longer silence what was known before says nothing."""

_MAX_GROWTH_OF_LEVEL = 1.5
"""A forecast adds at most this many times the level: slopes do not last."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a load after some seconds."""

    time: float = 0.0
    level: float = 0.0
    """Calls a second."""

    slope: float = 0.0
    """Calls a second, a second."""

    mean_deviation: float = 0.0
    """Mean absolute difference between what was measured and what was expected."""

    recent: tuple[float, ...] = ()
    """The last values, the newest last."""

    last_surprise: int = 0
    """-1, 0 or 1: the direction in which the last value surprised."""

    samples: int = 0
    noise: float = 0.0
    """The sigma of before the last value: a fall must not raise the forecast by its surprise."""

    @property
    def sigma(self) -> float:
        """Return the noise: that of calls which come one by one, or what was seen if more."""
        return max(math.sqrt(max(self.level, 0.0)), self.mean_deviation * _MEAN_DEVIATION_TO_SIGMA)

    def forecast(self, lead_s: float) -> float:
        """Return the load to be ready for after a lead."""
        growth = min(max(0.0, self.slope) * lead_s, _MAX_GROWTH_OF_LEVEL * self.level)
        return self.level + growth + _NOISE_MARGIN * self.noise


def update_estimate(estimate: Estimate, value: float, now: float) -> Estimate:
    """Take one measured value in; the same second again changes nothing."""
    elapsed = now - estimate.time
    if estimate.samples == 0 or elapsed > _MAX_GAP_S:
        return Estimate(time=now, level=value, recent=(value,), samples=1, noise=math.sqrt(value))
    if elapsed == 0:
        return estimate
    if elapsed < 0:
        # The clock was set back; the loads go on as they were.
        elapsed = 1.0
    expected = max(0.0, estimate.level + estimate.slope * elapsed)
    innovation = value - expected
    threshold = _SURPRISE_SIGMAS * estimate.sigma
    surprise = _direction(innovation, threshold)
    # A gap of some seconds weighs as if the values between had been the same.
    level_weight = 1 - (1 - _LEVEL_WEIGHT) ** elapsed
    slope_weight = 1 - (1 - _SLOPE_WEIGHT) ** elapsed
    level = expected + level_weight * innovation
    # A step must not look like a slope, and so a surprise counts no more than its threshold.
    clipped = min(max(innovation, -threshold), threshold)
    slope = estimate.slope + slope_weight * level_weight * clipped / elapsed
    deviation = estimate.mean_deviation
    if surprise and surprise == estimate.last_surprise:
        last = estimate.recent[-1]
        # A step that began within a second shows its height only in the next one.
        level = max(last, value) if surprise > 0 else (last + value) / 2
        slope = max(slope, _recent_slope((*estimate.recent, value))) if surprise > 0 else 0.0
        surprise = 0
    elif surprise > 0 and value >= _JUMP * expected:
        # The next value tells the height of a step that began within this second.
        level, slope = value, estimate.slope
    elif not surprise:
        deviation += _DEVIATION_WEIGHT * (abs(innovation) - deviation)
    return dataclasses.replace(
        estimate,
        time=now,
        level=max(0.0, level),
        slope=slope,
        mean_deviation=deviation,
        recent=(*estimate.recent, value)[-_RECENT:],
        last_surprise=surprise,
        samples=estimate.samples + 1,
        noise=estimate.sigma,
    )


def _recent_slope(values: tuple[float, ...]) -> float:
    values = values[-_RECENT:]
    if len(values) < _RECENT:
        return 0.0
    rises = [after - before for before, after in itertools.pairwise(values)]
    # What noise alone makes of the median of some differences is no slope.
    noise = math.sqrt(2 * max(values[-1], 0.0)) * _MEDIAN_NOISE
    return statistics.median(rises) - noise


def _direction(innovation: float, threshold: float) -> int:
    if abs(innovation) <= threshold:
        return 0
    return 1 if innovation > 0 else -1
