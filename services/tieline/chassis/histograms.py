"""Histograms of durations that cost half a microsecond a value, exported to Prometheus and OTLP.

``Histogram.record`` of the OpenTelemetry SDK costs 6.7 µs (measured here, Python 3.11): it merges
attributes, samples exemplars and takes locks. A call through all interceptors has 50 µs, so each
series is bound once and counts for itself; what the exporters want is made when they ask.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from prometheus_client.metrics_core import HistogramMetricFamily

# Seconds. OpenTelemetry's advice for call durations, with 1 and 2.5 ms added below: an empty call
# takes a tenth of a millisecond.
DURATION_BOUNDS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip


class Series:
    """The values of one combination of attributes."""

    __slots__ = ("attributes", "counts", "maximum_s", "minimum_s", "total_s")

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.attributes = attributes
        self.counts = [0] * (len(DURATION_BOUNDS_S) + 1)
        self.total_s = 0.0
        self.minimum_s = float("inf")
        self.maximum_s = 0.0

    def record(self, duration_s: float) -> None:
        """Count one value."""
        self.counts[bisect_left(DURATION_BOUNDS_S, duration_s)] += 1
        self.total_s += duration_s
        if duration_s < self.minimum_s:
            self.minimum_s = duration_s
        if duration_s > self.maximum_s:
            self.maximum_s = duration_s


class DurationHistogram:
    """One instrument: a name, and a series for each combination of attributes met so far.

    Attribute values must come from a bounded set; a series is kept for the life of the process.
    """

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.description = description
        self._series: dict[tuple[str, ...], Series] = {}
        self._started_at_ns = time.time_ns()

    def bind(self, attributes: Mapping[str, str]) -> Series:
        """Return the series with these attributes, for recording without looking it up again."""
        key = tuple(attributes.values())
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(attributes)
        return series

    def series(self) -> list[Series]:
        """Return the series so far."""
        return list(self._series.values())

    def to_otlp(self) -> Metric:
        """Return the values since the start in the form that OpenTelemetry's exporters take."""
        now_ns = time.time_ns()
        points = [self._to_point(series, now_ns) for series in self.series()]
        data = HistogramData(points, AggregationTemporality.CUMULATIVE)
        return Metric(self.name, self.description, "s", data)

    def to_prometheus(self) -> HistogramMetricFamily:
        """Return the values since the start in the form that Prometheus scrapes."""
        name = self.name.replace(".", "_") + "_seconds"
        all_series = self.series()
        labels = list(all_series[0].attributes) if all_series else []
        family = HistogramMetricFamily(
            name, self.description, labels=[label.replace(".", "_") for label in labels]
        )
        for series in all_series:
            family.add_metric(
                list(series.attributes.values()), list(_cumulated(series.counts)), series.total_s
            )
        return family

    def _to_point(self, series: Series, now_ns: int) -> HistogramDataPoint:
        counts = list(series.counts)
        return HistogramDataPoint(
            attributes=dict(series.attributes),
            start_time_unix_nano=self._started_at_ns,
            time_unix_nano=now_ns,
            count=sum(counts),
            sum=series.total_s,
            bucket_counts=counts,
            explicit_bounds=DURATION_BOUNDS_S,
            min=series.minimum_s,
            max=series.maximum_s,
        )


def _cumulated(counts: list[int]) -> Iterable[tuple[str, float]]:
    """Yield Prometheus' buckets: upper bound as text, values at or below it."""
    total = 0
    bounds = [*(repr(bound) for bound in DURATION_BOUNDS_S), "+Inf"]
    for bound, count in zip(bounds, list(counts), strict=True):
        total += count
        yield bound, total
