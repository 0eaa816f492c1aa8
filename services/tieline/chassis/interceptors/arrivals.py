"""Calls from their arrival to their turn, and what admission says of their later messages.

gRPC's core ends a call whose deadline passes, and drops what its queue still holds of it: the
interceptor sees it arrive and no handler ever begins. So who was let in is looked at once more when
its task ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.corp_calls import CorpCalls
from tieline.chassis.admission.headers import read_held_back
from tieline.chassis.admission.known_callers import KnownCaller
from tieline.chassis.admission.priorities import class_of
from tieline.chassis.calls import PartAdmission
from tieline.chassis.interceptors.call_metadata import AUTHORIZATION_KEY, HELD_BACK_KEY, Metadata
from tieline.chassis.principals import Principal


@dataclass(slots=True)
class Arrival(PartAdmission):
    """One call that has arrived."""

    control: AdmissionControl
    priority: int
    caller: KnownCaller
    """Not verified where this replica has not seen the token yet, and replaced once it is."""

    had_its_turn: bool = False
    """Whether its handler began, or it was answered in another way."""

    @property
    def corp(self) -> CorpCalls:
        """What counts the calls of the caller's corp, also where the call is hours old."""
        return self.control.callers.find_corp(self.caller.corp.corp_id)

    def count_if_expired(self) -> None:
        """Count the call of the current task as expired if it ends before its turn comes.

        Whether its deadline passed or its caller went away the core does not tell; nobody waits for
        it in either case.
        """
        task = asyncio.current_task()
        assert task is not None, "gRPC runs calls in tasks"
        task.add_done_callback(self._note_end)

    def lets_in(self) -> bool:
        """Count one more message of the call, and tell whether it is to be let in."""
        return self.control.lets_in(self.priority, self.corp)

    def find_level(self) -> tuple[int, int]:
        """Return the level that holds for the caller now, and the call's own priority."""
        return self.control.level_for(self.corp), self.priority

    def recognise(self, principal: Principal, metadata: Metadata) -> None:
        """Know the caller, whose token has been verified just now.

        What the call says was held back was not believed when it arrived, and its answer has the
        caller take it for told.
        """
        self.caller = self.control.callers.remember(str(metadata[AUTHORIZATION_KEY]), principal)
        if HELD_BACK_KEY in metadata:
            self.note_held_back(read_held_back(metadata[HELD_BACK_KEY]))

    def note_held_back(self, by_class: Mapping[int, int]) -> None:
        """Record how many calls of each class the caller, who is verified, did not send."""
        self.control.note_held_back(by_class, self.corp)

    def _note_end(self, _: asyncio.Task[object]) -> None:
        if not self.had_its_turn:
            self.control.counts.expired[class_of(self.priority)] += 1


arrived: ContextVar[Arrival] = ContextVar("tieline_arrived")
"""The call that is being handled. Set by the interceptor for the handler, which runs in the same
task."""
