"""How many calls, how long, how many at once; by method, its class and the status code."""

from collections.abc import Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tieline.chassis.admission.priorities import BusinessClass
from tieline.chassis.histograms import DurationHistogram, Series


class CallMetrics:
    """The instruments of a server's calls.

    Method names come from the registered services and codes from gRPC's list, so the series are
    bounded; a method has one class.
    """

    def __init__(self, meter: Meter, classes: Mapping[str, BusinessClass]) -> None:
        self._classes = classes
        self.durations = DurationHistogram("rpc.server.duration", "Time from arrival to the status")
        self.in_flight = 0
        """Calls that have begun and not ended, open streams included. The interceptor counts."""

        # Observed when it is read: an up-down counter costs 8 µs each way.
        meter.create_observable_up_down_counter(
            "rpc.server.active_requests",
            callbacks=[self._observe_in_flight],
            unit="{request}",
            description="Calls that have begun and not ended",
        )

    def bind(self, method: str) -> "MethodMetrics":
        """Return the instruments of one method."""
        business_class = self._classes.get(method, BusinessClass.NORMAL)
        return MethodMetrics(self.durations, method, business_class)

    def _observe_in_flight(self, _: CallbackOptions) -> list[Observation]:
        return [Observation(self.in_flight)]


class MethodMetrics:
    """The durations of one method, by status code."""

    def __init__(
        self, durations: DurationHistogram, method: str, business_class: BusinessClass
    ) -> None:
        self._durations = durations
        self._method = method
        self._class = business_class.name.lower()
        self._by_code: dict[str, Series] = {}

    def record(self, code: str, duration_s: float) -> None:
        """Count one ended call."""
        series = self._by_code.get(code)
        if series is None:
            series = self._by_code[code] = self._durations.bind(
                {
                    "rpc.method": self._method,
                    "class": self._class,
                    "rpc.response.status_code": code,
                }
            )
        series.record(duration_s)
