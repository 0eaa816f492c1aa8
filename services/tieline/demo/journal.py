"""What was done, how many and how long; and which checks hold."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console


@dataclass(slots=True)
class Step:
    """One thing that was done; ``count`` is set while it is done."""

    title: str
    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and whether it was kept."""

    promise: str
    holds: bool
    detail: str


@dataclass
class Journal:
    """Keeps the day's steps and checks, and says each as it happens."""

    console: Console
    steps: list[Step] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    doing: str = "signing in"
    """The step that was begun last."""

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Time the block; nothing is noted of one that failed."""
        step = Step(title)
        self.doing = title
        began = time.monotonic()
        yield step
        step.seconds = time.monotonic() - began
        self.steps.append(step)
        self.console.print(f"{step.seconds:6.2f} s  {step.count:>6,}  {title}", highlight=False)

    def check(self, check: Check) -> None:
        """Note a promise."""
        self.checks.append(check)

    def seconds(self, title: str) -> float:
        """Return how long the steps with this title took."""
        return sum(step.seconds for step in self.steps if step.title == title)

    @property
    def all_hold(self) -> bool:
        """Whether every promise was kept."""
        return all(check.holds for check in self.checks)
