"""The bridge from stdlib logging to OpenTelemetry's log pipeline.

The SDK's own ``LoggingHandler`` is deprecated and copies every attribute of a record; this one
sends what the lines on stderr have.
"""

import logging
import time

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import get_current
from opentelemetry.sdk._logs import LoggerProvider

from tieline.chassis.logs import (
    MAX_EXCEPTION_LENGTH,
    MAX_MESSAGE_LENGTH,
    read_context,
    read_fields,
    shorten,
    shorten_front,
)

# What the exporter itself logs, when the collector is away, must not become work for it.
_NOT_EXPORTED = ("opentelemetry.", "urllib3.", "requests.")

_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
)


class LogExportHandler(logging.Handler):
    """Hands each record to OpenTelemetry; the provider batches and sends in its own thread."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record for export."""
        if record.name.startswith(_NOT_EXPORTED):
            return
        attributes = {**read_fields(record), **read_context()}
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            attributes["exception.stacktrace"] = shorten_front(text, MAX_EXCEPTION_LENGTH)
        self._provider.get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                observed_timestamp=time.time_ns(),
                context=get_current(),
                severity_number=_severity(record.levelno),
                severity_text=record.levelname,
                body=shorten(record.getMessage(), MAX_MESSAGE_LENGTH),
                attributes=attributes,
            )
        )


def _severity(level: int) -> SeverityNumber:
    for lowest, severity in _SEVERITIES:
        if level >= lowest:
            return severity
    return SeverityNumber.DEBUG
