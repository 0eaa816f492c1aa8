"""What every act of the day needs: the connection, the journal, chance, and patience."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import grpc

from tieline.client import SignedIn, Tieline, TielineError
from tieline.demo.dialogues import Dialogue
from tieline.demo.journal import Check, Journal

# Events reach the next service within moments; a service that restarts takes seconds.
PATIENCE_S = 60.0
POLL_INTERVAL_S = 0.05

# Calls at the same moment. More only lengthens the queue in front of the services.
CONCURRENCY = 64

Result = TypeVar("Result")


class DemoError(Exception):
    """The day can't go on; one line that says why."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the day is."""

    seed: int
    staff: int
    lines: int
    colleagues: int = 40
    customers: int = 80
    share_count: int = 50
    packet_minor: int = 20_000


@dataclass(frozen=True, slots=True)
class Material:
    """What the day is made of: names, lines, and the file that the staff come from."""

    corp_name: str
    staff_file: Path
    customer_names: Sequence[str]
    dialogues: Sequence[Dialogue]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the acts play."""

    tieline: Tieline
    administrator: SignedIn
    journal: Journal
    scale: Scale
    chance: random.Random
    material: Material

    def promise(self, promise: str, wrong: str, right: str) -> None:
        """Note a check: what is wrong, or what is right if nothing is."""
        self.journal.check(Check(promise, not wrong, wrong or right))


async def wait_until(
    what: str, condition: Callable[[], Awaitable[bool]], *, patience_s: float = PATIENCE_S
) -> None:
    """Ask until the answer is yes. Raises DemoError when patience ends."""
    deadline = time.monotonic() + patience_s
    while not await condition():
        if time.monotonic() > deadline:
            raise DemoError(f"waited {patience_s:g} s in vain until {what}")
        await asyncio.sleep(POLL_INTERVAL_S)


async def find(call: Awaitable[Result]) -> Result | None:
    """Return what a call asks for, or None while it is not there."""
    try:
        return await call
    except TielineError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            return None
        raise


async def together(work: Iterable[Awaitable[Result]]) -> list[Result]:
    """Do all of it, many at a time, and return the results in order; a failure ends the rest.

    ``work`` is read when there is room for its next piece, so that a call is not made before.
    """
    results: dict[int, Result] = {}
    pieces = enumerate(work)

    async def take_pieces() -> None:
        for number, piece in pieces:
            results[number] = await piece

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(take_pieces())
    return [results[number] for number in sorted(results)]
