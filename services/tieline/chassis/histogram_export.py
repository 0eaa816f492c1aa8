"""Puts our histograms beside the SDK's instruments: in Prometheus' scrapes and in OTLP batches."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tieline.chassis.histograms import DurationHistogram

_SCOPE = InstrumentationScope("tieline.chassis.histograms")


class PrometheusHistograms(Collector):
    """Makes a registry of prometheus_client show histograms of ours."""

    def __init__(self, histograms: Sequence[DurationHistogram]) -> None:
        self._histograms = histograms

    def collect(self) -> list[Metric]:
        """Return a family for each histogram; called on each scrape, in the scraper's thread."""
        return [histogram.to_prometheus() for histogram in list(self._histograms)]


class OtlpExporterWithHistograms(OTLPMetricExporter):
    """Sends histograms of ours together with each batch of the SDK's metrics."""

    def __init__(self, endpoint: str, histograms: Sequence[DurationHistogram]) -> None:
        super().__init__(endpoint)
        self._histograms = histograms

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **options: Any
    ) -> MetricExportResult:
        """Send the batch, and the histograms under the batch's resource."""
        batch = list(metrics_data.resource_metrics)
        if batch and self._histograms:
            batch[0] = self._with_histograms(batch[0])
        return super().export(MetricsData(batch), timeout_millis, **options)

    def _with_histograms(self, resource_metrics: ResourceMetrics) -> ResourceMetrics:
        ours = ScopeMetrics(
            scope=_SCOPE,
            metrics=[histogram.to_otlp() for histogram in self._histograms],
            schema_url="",
        )
        return replace(resource_metrics, scope_metrics=[*resource_metrics.scope_metrics, ours])
