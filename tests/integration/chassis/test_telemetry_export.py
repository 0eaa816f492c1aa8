"""What a role sends to an OpenTelemetry collector, and that a stuck one keeps nobody waiting."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind

from tieline.chassis.calls import Call, entered
from tieline.chassis.histograms import DurationHistogram
from tieline.chassis.telemetry import telemetry


class Collector:
    """An HTTP server that keeps what it gets, by path; it may also never answer."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}
        self.answers = threading.Event()
        self.answers.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._build_handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _build_handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.answers.wait()
                collector.received[self.path] = body
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- base's name
                pass

        return Handler


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.answers.set()
        collector.server.shutdown()
        collector.server.server_close()
        thread.join()


def test_everything_is_sent_when_the_role_ends() -> None:
    log = logging.getLogger("tieline.sample")
    with (
        collecting() as collector,
        telemetry("sample", otlp_endpoint=collector.url) as measured,
        entered(Call("/a.B/C", "request-1")),
    ):
        measured.histograms.append(DurationHistogram("rpc.server.duration", "Time"))
        measured.histograms[0].bind({"rpc.method": "/a.B/C"}).record(0.002)
        measured.meter.create_counter("sample.count").add(1)
        measured.tracer.start_span("call", kind=SpanKind.SERVER).end()
        log.warning("hello", extra={"fields": {"corp_id": "wwacme"}})

    traces = ExportTraceServiceRequest.FromString(collector.received["/v1/traces"])
    resource = traces.resource_spans[0].resource
    assert traces.resource_spans[0].scope_spans[0].spans[0].name == "call"
    assert {"service.name", "service.version", "service.instance.id"} <= {
        attribute.key for attribute in resource.attributes
    }
    metrics = ExportMetricsServiceRequest.FromString(collector.received["/v1/metrics"])
    by_name = {
        metric.name: metric
        for scope in metrics.resource_metrics[0].scope_metrics
        for metric in scope.metrics
    }
    assert by_name["rpc.server.duration"].histogram.data_points[0].count == 1
    assert "sample.count" in by_name
    logs = ExportLogsServiceRequest.FromString(collector.received["/v1/logs"])
    record = logs.resource_logs[0].scope_logs[0].log_records[0]
    assert record.body.string_value == "hello"
    assert {a.key: a.value.string_value for a in record.attributes} == {
        "corp_id": "wwacme",
        "request_id": "request-1",
    }


def test_stuck_collector_keeps_the_role_for_the_bound_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tieline.chassis.telemetry.FLUSH_S", 0.2)
    with collecting() as collector:
        collector.answers.clear()
        with telemetry("sample", otlp_endpoint=collector.url) as measured:
            measured.tracer.start_span("call", kind=SpanKind.SERVER).end()
            measured.meter.create_counter("sample.count").add(1)
            ends_at = monotonic()

        assert monotonic() - ends_at < 2
