"""What became of the calls: counted by second, kind and outcome, with latencies. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tieline.surge.mix import CLASS_NAMES, KINDS

OK = "ok"
BY_EDGE = "edge"
BY_LIMIT = "limit"
BY_ADMISSION = "admission"
BY_CORE = "core"
BY_CALLER = "caller"
LATE = "late"
FAILED = "failed"
UNSENT = "unsent"

OUTCOMES = (OK, BY_EDGE, BY_LIMIT, BY_ADMISSION, BY_CORE, BY_CALLER, LATE, FAILED, UNSENT)
"""``ok``; refused by the edge's queue, by a limit, by a service's admission, by gRPC's core before
that, by the caller's own library; without an answer in time; ended otherwise; never sent, since the
generator could not."""

# Buckets of latencies: a tenth of a millisecond, and each a tenth longer than the one before.
_FIRST_S = 0.0001
_GROWTH = math.log(1.1)

# A generator that is this late, or sends this little of what is due, is what is being measured.
MAX_LAG_S = 0.05
MAX_UNSENT = 0.02


def bucket_of(seconds: float) -> int:
    """Return the bucket of a latency."""
    return 0 if seconds <= _FIRST_S else math.ceil(math.log(seconds / _FIRST_S) / _GROWTH)


def bound_of(bucket: int) -> float:
    """Return the longest latency of a bucket, in seconds."""
    return _FIRST_S * math.exp(bucket * _GROWTH)


def classify(code: str, reason: str, metadata: Mapping[str, str]) -> str:
    """Return the outcome of a call that ended with a status."""
    if reason == "RATE_LIMITED":
        return BY_LIMIT
    if reason == "OVERLOADED":
        return {"edge": BY_EDGE, "caller": BY_CALLER}.get(metadata.get("ring", ""), BY_ADMISSION)
    if code == "CANCELLED" and not reason:
        # A surge cancels nothing: the core resets what it has no room for.
        return BY_CORE
    return LATE if code == "DEADLINE_EXCEEDED" else FAILED


@dataclass
class Second:
    """The calls that were due within one second."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and outcome."""

    latencies: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """Of the calls that were ok: by kind, how many are in each bucket."""

    lag_s: float = 0.0
    """The longest time from when a call was due to when it was sent."""

    codes: Counter[str] = field(default_factory=Counter)
    """Codes and reasons of what failed."""

    def note(self, kind: str, outcome: str, latency_s: float = 0.0) -> None:
        """Count one call."""
        self.counts[kind, outcome] += 1
        if outcome == OK:
            self.latencies[kind][bucket_of(latency_s)] += 1

    def count(self, *, outcome: str | None = None, business_class: int | None = None) -> int:
        """Return how many calls there are of an outcome, of a class, or of both."""
        return sum(
            number
            for (kind, found), number in self.counts.items()
            if outcome in (None, found) and business_class in (None, KINDS[kind].business_class)
        )

    def merge(self, other: "Second") -> None:
        """Take another generator's counts in."""
        self.counts += other.counts
        self.codes += other.codes
        self.lag_s = max(self.lag_s, other.lag_s)
        for kind, buckets in other.latencies.items():
            self.latencies[kind] += buckets

    def percentile_s(self, part: float, business_class: int | None = None) -> float | None:
        """Return the latency that this part of the good calls stayed within."""
        buckets: Counter[int] = Counter()
        for kind, counted in self.latencies.items():
            if business_class in (None, KINDS[kind].business_class):
                buckets += counted
        wanted = part * buckets.total()
        seen = 0
        for bucket in sorted(buckets):
            seen += buckets[bucket]
            if seen >= wanted:
                return bound_of(bucket)
        return None

    @property
    def is_generator_limited(self) -> bool:
        """Whether the generator was late, or could not send what was due."""
        due = self.count()
        return self.lag_s > MAX_LAG_S or (due > 0 and self.count(outcome=UNSENT) > MAX_UNSENT * due)

    def to_json(self) -> dict[str, object]:
        """Return it as what JSON can hold."""
        return {
            "counts": [[*key, number] for key, number in self.counts.items()],
            "latencies": {kind: list(found.items()) for kind, found in self.latencies.items()},
            "lag_s": self.lag_s,
            "codes": dict(self.codes),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "Second":
        """Read what ``to_json`` returned."""
        second = cls()
        counts, latencies, codes = (content[name] for name in ("counts", "latencies", "codes"))
        assert isinstance(counts, list), "written by to_json"
        assert isinstance(latencies, dict), "written by to_json"
        assert isinstance(codes, dict), "written by to_json"
        second.counts.update({(kind, outcome): number for kind, outcome, number in counts})
        for kind, found in latencies.items():
            second.latencies[kind] = Counter(dict(found))
        second.codes.update(codes)
        second.lag_s = float(str(content["lag_s"]))
        return second


def sum_up(seconds: Iterable[Second]) -> Second:
    """Return the counts of all these seconds together."""
    whole = Second()
    for second in seconds:
        whole.merge(second)
    return whole


def summarise(seconds: Mapping[int, Second]) -> dict[str, object]:
    """Return the figures of a surge by class, as they go into the result file."""
    whole = sum_up(seconds.values())
    classes = {}
    for number, name in CLASS_NAMES.items():
        due = whole.count(business_class=number)
        classes[name] = {
            "offered": due,
            **{
                outcome: whole.count(outcome=outcome, business_class=number) for outcome in OUTCOMES
            },
            "success": whole.count(outcome=OK, business_class=number) / due if due else None,
            "p50_ms": _milliseconds(whole.percentile_s(0.5, number)),
            "p99_ms": _milliseconds(whole.percentile_s(0.99, number)),
        }
    limited = sorted(second for second, found in seconds.items() if found.is_generator_limited)
    return {
        "offered": whole.count(),
        "good": whole.count(outcome=OK),
        "p50_ms": _milliseconds(whole.percentile_s(0.5)),
        "p99_ms": _milliseconds(whole.percentile_s(0.99)),
        "classes": classes,
        "failures": dict(whole.codes.most_common(20)),
        "generator_limited_seconds": limited,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
