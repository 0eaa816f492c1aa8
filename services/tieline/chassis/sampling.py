"""Which traces are recorded: those that the caller records, and a share of the new ones."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes


class CallSampler(ParentBased):
    """Follows the parent; of traces without one it records a share.

    The interceptors draw for a call before they make a span for it, since a span costs more than
    the draw. Drawing again here would square the ratio.
    """

    def __init__(self, sample_ratio: float) -> None:
        super().__init__(root=_UnlessDrawn(sample_ratio))


class _UnlessDrawn(Sampler):
    def __init__(self, sample_ratio: float) -> None:
        self._by_ratio = TraceIdRatioBased(sample_ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Record a server's span in any case, others by the ratio."""
        sampler = ALWAYS_ON if kind is SpanKind.SERVER else self._by_ratio
        return sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """Name the sampler for diagnostics."""
        return f"UnlessDrawn{{{self._by_ratio.rate}}}"
