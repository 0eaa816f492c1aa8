"""Sends spans, logs and metrics to an OpenTelemetry collector.

Imported where an endpoint is set: what it imports takes longer than most modules here, and a
replica must be up soon.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tieline.chassis.histograms import DurationHistogram

_SCOPE = InstrumentationScope("tieline.chassis.histograms")


def build_span_exporter(base_url: str) -> SpanExporter:
    """Return what sends spans to the collector (``http://host:4318``)."""
    return OTLPSpanExporter(endpoint=f"{base_url}/v1/traces")


def build_log_processor(base_url: str) -> BatchLogRecordProcessor:
    """Return what sends log records there, in batches."""
    return BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{base_url}/v1/logs"))


def build_metric_reader(base_url: str, histograms: Sequence[DurationHistogram]) -> MetricReader:
    """Return what sends measurements there again and again, our histograms with them."""
    return PeriodicExportingMetricReader(
        OtlpExporterWithHistograms(f"{base_url}/v1/metrics", histograms)
    )


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
