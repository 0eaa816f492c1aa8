"""OpenTelemetry for a role: traces, metrics and logs, and the context that travels with calls.

Durations of calls go through :mod:`tieline.chassis.histograms` and join the others at export; every
other instrument is the SDK's.
"""

import importlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, start_http_server

from tieline.chassis.calls import find_call
from tieline.chassis.histogram_export import PrometheusHistograms
from tieline.chassis.histograms import DurationHistogram
from tieline.chassis.ids import new_uuid7
from tieline.chassis.log_export import LogExportHandler
from tieline.chassis.process import StartError
from tieline.chassis.sampling import CallSampler

SCOPE = "tieline.chassis"

# A collector that is away must not keep a pod from ending: its grace period is 10 s longer than
# the calls' one, and the broker and the pool need some of it too.
FLUSH_S = 5.0

_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where a role's spans and measurements go."""

    tracer: trace.Tracer
    meter: metrics.Meter
    histograms: list[DurationHistogram]
    """Exported beside the meter's instruments; append to it."""


@contextmanager
def telemetry(
    service: str,
    *,
    trace_sample_ratio: float = 0.01,
    otlp_endpoint: str = "",
    metrics_host: str = "127.0.0.1",
    metrics_port: int = 0,
    span_exporter: SpanExporter | None = None,
) -> Iterator[Telemetry]:
    """Collect until the block ends, then send what is left, within ``FLUSH_S``.

    Without an ``otlp_endpoint`` (``http://host:4318``) nothing is sent; with ``metrics_port`` 0
    nothing is served. ``span_exporter`` gets the spans in place of the endpoint. Raises StartError
    when the port is taken.
    """
    resource = Resource.create(
        {
            "service.name": f"tieline-{service}",
            "service.version": version("tieline"),
            "service.instance.id": new_uuid7(),
        }
    )
    base_url = otlp_endpoint.rstrip("/")
    if base_url and span_exporter is None:
        span_exporter = _otlp_export().build_span_exporter(base_url)
    histograms: list[DurationHistogram] = []
    shutdowns: list[Callable[[], object]] = []
    with ExitStack() as stack:
        stack.callback(_flush, shutdowns)
        tracing = _build_tracing(resource, trace_sample_ratio, span_exporter)
        shutdowns.append(tracing.shutdown)
        if base_url:
            logs = _export_logs(resource, base_url, stack)
            shutdowns.append(logs.shutdown)
        registry = CollectorRegistry()
        readers = _build_readers(base_url, registry if metrics_port else None, histograms)
        measuring = MeterProvider(readers, resource=resource)
        shutdowns.append(measuring.shutdown)
        if metrics_port:
            registry.register(PrometheusHistograms(histograms))
            _serve_metrics(metrics_host, metrics_port, registry, stack)
        # For code that the role does not hand a tracer: the first role of a process has it.
        trace.set_tracer_provider(tracing)
        metrics.set_meter_provider(measuring)
        yield Telemetry(tracing.get_tracer(SCOPE), measuring.get_meter(SCOPE), histograms)


def inject_headers(headers: MutableMapping[str, str]) -> None:
    """Add the W3C trace context of whatever runs now to outgoing headers or metadata.

    A call that is not sampled has no span; the context that it arrived with is passed on as it
    is. A call that began here gets an unsampled one on first use, so that no service further down
    begins a trace in its middle.
    """
    if trace.get_current_span().get_span_context().is_valid:
        _PROPAGATOR.inject(headers)
        return
    call = find_call()
    if call is None:
        return
    if not call.traceparent:
        call.traceparent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    headers["traceparent"] = call.traceparent
    if call.tracestate:
        headers["tracestate"] = call.tracestate


def extract_context(headers: Mapping[str, str]) -> Context:
    """Return the trace context of incoming headers; malformed ones give an empty context."""
    return _PROPAGATOR.extract(headers)


def _build_tracing(
    resource: Resource, sample_ratio: float, exporter: SpanExporter | None
) -> TracerProvider:
    provider = TracerProvider(
        sampler=CallSampler(sample_ratio), resource=resource, shutdown_on_exit=False
    )
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _otlp_export() -> ModuleType:
    """Import what only a role with an endpoint needs."""
    return importlib.import_module("tieline.chassis.otlp_export")


def _export_logs(resource: Resource, base_url: str, stack: ExitStack) -> LoggerProvider:
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(_otlp_export().build_log_processor(base_url))
    handler = LogExportHandler(provider)
    logging.getLogger().addHandler(handler)
    stack.callback(logging.getLogger().removeHandler, handler)
    return provider


def _build_readers(
    base_url: str, registry: CollectorRegistry | None, histograms: list[DurationHistogram]
) -> list[MetricReader]:
    readers: list[MetricReader] = []
    if registry is not None:
        readers.append(PrometheusMetricReader(registry=registry))
    if base_url:
        readers.append(_otlp_export().build_metric_reader(base_url, histograms))
    return readers


def _serve_metrics(host: str, port: int, registry: CollectorRegistry, stack: ExitStack) -> None:
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise StartError(
            f"port {port} for metrics can't be opened ({error.strerror}): "
            "set TIELINE_METRICS_PORT to a free one, or to 0 for none"
        ) from error
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)


def _flush(shutdowns: Sequence[Callable[[], object]]) -> None:
    """Shut the providers down together: each sends what it has, and retries as long as it likes."""
    threads = [threading.Thread(target=shutdown, daemon=True) for shutdown in shutdowns]
    for thread in threads:
        thread.start()
    gives_up_at = time.monotonic() + FLUSH_S
    for thread in threads:
        thread.join(max(0.0, gives_up_at - time.monotonic()))
