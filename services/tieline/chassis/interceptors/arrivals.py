"""Calls from their arrival to their turn: what the interceptor tells the handler.

gRPC's core ends a call whose deadline passes, and drops what its queue still holds of it: the
interceptor sees it arrive and no handler ever begins. So who was let in is looked at once more when
its task ends.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass

from tieline.chassis.admission_control import AdmissionControl, KnownCaller
from tieline.chassis.priorities import class_of


@dataclass(slots=True)
class Arrival:
    """One call that has arrived."""

    priority: int
    caller: KnownCaller
    had_its_turn: bool = False
    """Whether its handler began, or it was answered in another way."""


arrived: ContextVar[Arrival] = ContextVar("tieline_arrived")
"""The call that is being handled. Set by the interceptor for the handler, which runs in the same
task."""


def count_if_expired(arrival: Arrival, control: AdmissionControl) -> None:
    """Have the call of the current task counted as expired if it ends before its turn comes.

    Whether its deadline passed or its caller went away the core does not tell; nobody waits for it
    in either case.
    """
    task = asyncio.current_task()
    assert task is not None, "gRPC runs calls in tasks"

    def note_end(_: asyncio.Task[object]) -> None:
        if not arrival.had_its_turn:
            control.counts.expired[class_of(arrival.priority)] += 1

    task.add_done_callback(note_end)
