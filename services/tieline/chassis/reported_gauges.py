"""Gauges that tell of objects which come and go: a value for each that is there.

OpenTelemetry takes no instrument back, so they are made once, with the first object.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Gauge(Generic[Subject]):
    """What one gauge tells of an object."""

    name: str
    unit: str
    description: str
    read: Callable[[Subject], float]


class ReportedGauges(Generic[Subject]):
    """Some gauges, and the objects that they tell of now, by the values of ``labels``."""

    def __init__(self, labels: Sequence[str], gauges: Sequence[Gauge[Subject]]) -> None:
        self._labels = labels
        self._gauges = gauges
        self._subjects: dict[tuple[str, ...], Subject] = {}
        self._are_made = False

    def report(self, subject: Subject, *values: str) -> None:
        """Tell of an object under these values, until it is withdrawn."""
        if not self._are_made:
            self._are_made = True
            self._make()
        self._subjects[values] = subject

    def withdraw(self, *values: str) -> None:
        """Tell nothing any more under these values."""
        self._subjects.pop(values, None)

    def _make(self) -> None:
        meter = get_meter("tieline.chassis")
        for gauge in self._gauges:
            meter.create_observable_gauge(
                gauge.name, [self._observing(gauge.read)], gauge.unit, gauge.description
            )

    def _observing(
        self, read: Callable[[Subject], float]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(read(subject), self._name(values))
                for values, subject in list(self._subjects.items())
            ]

        return observe

    def _name(self, values: tuple[str, ...]) -> Mapping[str, str]:
        return dict(zip(self._labels, values, strict=True))
