"""What HAProxy says that it has done, read from its answers. Pure.

``show stat`` is a table with a line for each server and each proxy; ``get var`` tells a variable.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tieline.chassis.streams import SERVICES
from tieline.edge.backends import CLASSES, Kind, expired_variable

_WHOLE = "BACKEND"


@dataclass(frozen=True, slots=True)
class Key:
    """What a counter counts: the fate of one service's calls of one class."""

    service: str
    business_class: int
    fate: str
    """``refused`` (a first attempt), ``again`` (a retry) or ``expired`` (waited too long)."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """One replica as the edge sees it."""

    service: str
    kind: Kind
    name: str
    status: str
    """``UP``, ``DOWN``, ``DRAIN``, ``MAINT``, or one with what is checked behind it."""

    in_flight: int
    slots: int
    total: int
    """Requests that it was given since the worker began."""

    is_ready: bool
    """Whether it takes new requests."""


def parse_table(text: str) -> list[dict[str, str]]:
    """Return the lines of ``show stat`` as fields by name."""
    lines = text.lstrip("# ").splitlines()
    return list(csv.DictReader(line for line in lines if line.strip()))


def read_refusals(table: list[dict[str, str]]) -> Mapping[Key, int]:
    """Return how many calls each refusing backend has answered since the worker began."""
    counts = {}
    for row in table:
        fate, _, rest = row["pxname"].partition("_")
        service, _, number = rest.rpartition("_")
        if row["svname"] == _WHOLE and fate in ("refused", "again") and service in SERVICES:
            counts[Key(service, int(number), fate)] = int(row["stot"] or 0)
    return counts


def read_limited(table: list[dict[str, str]]) -> Mapping[str, int]:
    """Return how many calls each limit has refused since the worker began."""
    return {
        row["pxname"].removeprefix("limited_"): int(row["stot"] or 0)
        for row in table
        if row["svname"] == _WHOLE and row["pxname"].startswith("limited_")
    }


def read_replicas(table: list[dict[str, str]]) -> Iterator[ReplicaState]:
    """Yield the replicas that there are; places of a name that nobody has are left out."""
    for row in table:
        service, _, kind = row["pxname"].rpartition("_")
        is_server = row["svname"] not in (_WHOLE, "FRONTEND")
        if service not in SERVICES or not is_server or row["status"].startswith("MAINT (resol"):
            continue
        yield ReplicaState(
            service=service,
            kind=Kind(kind),
            name=row["svname"],
            status=row["status"],
            in_flight=int(row["scur"] or 0),
            slots=int(row["slim"] or 0),
            total=int(row["stot"] or 0),
            is_ready=row["status"].startswith(("UP", "no check")),
        )


def expired_commands(services: list[str]) -> Iterator[tuple[Key, str]]:
    """Yield the questions for what waited too long."""
    for service in services:
        for number in CLASSES:
            name = expired_variable(service, number)
            yield Key(service, number, "expired"), f"get var proc.{name}"


def read_variable(text: str) -> int:
    """Return the value of ``proc.x: type=sint value=<3>``; 0 for a variable that is not set."""
    _, found, rest = text.partition("value=<")
    value = rest.partition(">")[0]
    return int(value) if found and value.isdecimal() else 0


class Totals:
    """Counts that only grow, over workers that each begin at 0."""

    def __init__(self) -> None:
        self._worker = 0
        self._base: dict[Key, int] = {}
        self._last: dict[Key, int] = {}

    def note(self, worker: int, counts: Mapping[Key, int]) -> None:
        """Take over what a worker has counted since it began."""
        if worker != self._worker:
            self._worker = worker
            self._base = dict(self.current())
            self._last = {}
        self._last = dict(counts)

    def current(self) -> Mapping[Key, int]:
        """Return the counts over all workers."""
        keys = self._base.keys() | self._last.keys()
        return {key: self._base.get(key, 0) + self._last.get(key, 0) for key in keys}
