"""The context that travels, histograms, and what the sampler records."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, generate_latest

from tieline.chassis.calls import Call, entered
from tieline.chassis.histogram_export import PrometheusHistograms
from tieline.chassis.histograms import DurationHistogram
from tieline.chassis.process import StartError
from tieline.chassis.telemetry import extract_context, inject_headers, telemetry
from tieline.embedded.ports import find_free_port

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-00"


@contextmanager
def tracing(ratio: float) -> Iterator[tuple[trace.Tracer, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    with telemetry("test", trace_sample_ratio=ratio, span_exporter=exporter) as measured:
        yield measured.tracer, exporter


def test_unsampled_call_passes_its_context_on_as_it_came() -> None:
    headers: dict[str, str] = {}

    with entered(Call("/a.B/C", "request-1", traceparent=UNSAMPLED, tracestate="vendor=1")):
        inject_headers(headers)

    assert headers == {"traceparent": UNSAMPLED, "tracestate": "vendor=1"}


def test_call_that_begins_here_gets_one_unsampled_trace_for_all_its_hops() -> None:
    first: dict[str, str] = {}
    second: dict[str, str] = {}

    with entered(Call("/a.B/C", "request-1")):
        inject_headers(first)
        inject_headers(second)

    assert first == second
    context = trace.get_current_span(extract_context(first)).get_span_context()
    assert context.is_valid
    assert not context.trace_flags.sampled


def test_background_work_has_no_context_to_pass_on() -> None:
    headers: dict[str, str] = {}

    inject_headers(headers)

    assert headers == {}


def test_span_is_the_parent_of_what_it_sends() -> None:
    headers: dict[str, str] = {}

    with tracing(1.0) as (tracer, _), tracer.start_as_current_span("work") as span:
        inject_headers(headers)

    received = trace.get_current_span(extract_context(headers)).get_span_context()
    assert received.span_id == span.get_span_context().span_id
    assert received.trace_flags.sampled


def test_malformed_context_is_no_context() -> None:
    context = extract_context({"traceparent": "00-nonsense"})

    assert not trace.get_current_span(context).get_span_context().is_valid


def test_server_span_is_recorded_whatever_the_ratio_since_the_draw_was_before_it() -> None:
    with tracing(0.0) as (tracer, exporter):
        tracer.start_span("call", kind=SpanKind.SERVER).end()
        tracer.start_span("background").end()

    assert [span.name for span in exporter.get_finished_spans()] == ["call"]


def test_histogram_counts_a_boundary_value_below_the_boundary() -> None:
    histogram = DurationHistogram("rpc.server.duration", "Time")
    series = histogram.bind({"rpc.method": "/a.B/C"})

    for duration_s in (0.001, 0.0011, 99.0):
        series.record(duration_s)

    point = histogram.to_otlp().data.data_points[0]
    assert isinstance(point, HistogramDataPoint)
    assert (point.count, point.min, point.max) == (3, 0.001, 99.0)
    assert (point.bucket_counts[0], point.bucket_counts[1], point.bucket_counts[-1]) == (1, 1, 1)


def test_series_with_the_same_attributes_are_one() -> None:
    histogram = DurationHistogram("rpc.server.duration", "Time")

    assert histogram.bind({"rpc.method": "/a.B/C"}) is histogram.bind({"rpc.method": "/a.B/C"})


def test_prometheus_shows_cumulated_buckets() -> None:
    histogram = DurationHistogram("rpc.server.duration", "Time")
    histogram.bind({"rpc.method": "/a.B/C"}).record(0.002)
    registry = CollectorRegistry()
    registry.register(PrometheusHistograms([histogram]))

    text = generate_latest(registry).decode()

    assert 'rpc_server_duration_seconds_bucket{le="0.001",rpc_method="/a.B/C"} 0.0' in text
    assert 'rpc_server_duration_seconds_bucket{le="0.0025",rpc_method="/a.B/C"} 1.0' in text
    assert 'rpc_server_duration_seconds_bucket{le="+Inf",rpc_method="/a.B/C"} 1.0' in text
    assert 'rpc_server_duration_seconds_count{rpc_method="/a.B/C"} 1.0' in text


def test_metrics_port_serves_both_kinds_of_instruments() -> None:
    port = find_free_port()
    with telemetry("test", metrics_port=port) as measured:
        measured.histograms.append(DurationHistogram("sample.duration", "Time"))
        measured.histograms[0].bind({"kind": "x"}).record(1.0)
        measured.meter.create_counter("sample.count").add(2)

        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
            text = response.read().decode()

    assert "sample_duration_seconds_count" in text
    assert "sample_count_total" in text


def test_taken_metrics_port_is_named_with_its_setting() -> None:
    port = find_free_port()

    with (
        telemetry("test", metrics_port=port),
        pytest.raises(StartError, match=f"port {port} .*TIELINE_METRICS_PORT"),
        telemetry("test", metrics_port=port),
    ):
        pass
