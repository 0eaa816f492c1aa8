"""Puts our histograms beside the SDK's instruments in Prometheus' scrapes."""

from collections.abc import Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tieline.chassis.histograms import DurationHistogram


class PrometheusHistograms(Collector):
    """Makes a registry of prometheus_client show histograms of ours."""

    def __init__(self, histograms: Sequence[DurationHistogram]) -> None:
        self._histograms = histograms

    def collect(self) -> list[Metric]:
        """Return a family for each histogram; called on each scrape, in the scraper's thread."""
        return [histogram.to_prometheus() for histogram in list(self._histograms)]
