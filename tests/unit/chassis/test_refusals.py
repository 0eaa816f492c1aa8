"""When refusals answer, and whose word they take for what was held back."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import OKPKey

from fakes.tokens import KEY_ID, TestTokens
from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.admission.priorities import BusinessClass, priority_of
from tieline.chassis.authentication import TokenVerifier, build_public_key
from tieline.chassis.interceptors.arrivals import Arrival, arrived
from tieline.chassis.interceptors.call_metadata import Metadata, arrived_metadata
from tieline.chassis.interceptors.refusals import _HOLD_S, Refusals, _find_hold_s

TIMEOUT_S = 20
PRIORITY = priority_of(BusinessClass.NORMAL, 0)


class Answer:
    """Stands for gRPC's context; nobody reads what is put into it."""

    def __init__(self, remaining_s: float | None) -> None:
        self._remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        return self._remaining_s

    def set_code(self, _: object) -> None: ...

    def set_details(self, _: object) -> None: ...

    def set_trailing_metadata(self, _: object) -> None: ...


class Replica:
    """Refuses whatever is sent, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tokens = TestTokens()
        self.control = AdmissionControl(b"k" * 32, capacity_per_s=1500)
        self.verifier = TokenVerifier(self._fetch_keys)
        self._refusals = Refusals(self.control, self.verifier, clock=lambda: self.now)

    async def _fetch_keys(self) -> Mapping[str, OKPKey]:
        return {KEY_ID: build_public_key(self.tokens.public_key)}

    async def refuse(self, token: str, held_back: str = "0,0,9,0") -> None:
        metadata: Metadata = {"authorization": f"Bearer {token}"}
        if held_back:
            metadata = {**metadata, "tieline-held-back": held_back}
        arrived_metadata.set(metadata)
        arrived.set(Arrival(self.control, PRIORITY, self.control.callers.meet(token)))
        handler: Any = self._refusals.handler
        await handler.stream_stream(None, Answer(None))

    @property
    def believed(self) -> int:
        return self.control.current_counts().held_back[BusinessClass.NORMAL]


async def test_of_those_with_new_tokens_one_in_fifty_milliseconds_is_verified() -> None:
    replica = Replica()
    await replica.verifier.verify(replica.tokens.member("wwacme", "first"))

    for number in range(40):
        await replica.refuse(replica.tokens.member("wwacme", f"u{number}"))
    at_once = replica.believed
    for number in range(40, 80):
        replica.now += 0.025
        await replica.refuse(replica.tokens.member("wwacme", f"u{number}"))

    assert at_once == 9
    assert replica.believed == 9 + 20 * 9


async def test_nothing_is_verified_of_those_who_held_nothing_back() -> None:
    """They would take the turns of those who did."""
    replica = Replica()
    await replica.verifier.verify(replica.tokens.member("wwacme", "first"))

    await replica.refuse(replica.tokens.member("wwacme", "u1"), held_back="")
    await replica.refuse(replica.tokens.member("wwacme", "u2"))

    assert replica.believed == 9


async def test_forged_tokens_are_not_believed() -> None:
    replica = Replica()
    await replica.verifier.verify(replica.tokens.member("wwacme", "first"))

    await replica.refuse(replica.tokens.member("wwacme", "u1").rpartition(".")[0] + "." + "A" * 86)

    assert replica.believed == 0


async def test_no_refusal_waits_for_keys() -> None:
    replica = Replica()

    await replica.refuse(replica.tokens.member("wwacme", "u1"))

    assert replica.believed == 0


async def test_answers_are_held_for_a_moment_while_strangers_flood_the_replica() -> None:
    """Who waits for them sends less meanwhile."""
    replica = Replica()
    clock = asyncio.get_running_loop().time
    replica.control.is_holding_up = True

    begun_at = clock()
    await asyncio.gather(
        *(replica.refuse(replica.tokens.member("wwacme", "u1")) for _ in range(100))
    )

    # All of them at the same time.
    assert _HOLD_S <= clock() - begun_at < 100 * _HOLD_S / 2


@pytest.mark.parametrize(
    ("remaining_s", "hold_s"), [(None, _HOLD_S), (10.0, _HOLD_S), (0.2, 0.1), (0.0, 0.0)]
)
def test_an_answer_comes_before_the_deadline_of_its_call(
    remaining_s: float | None, hold_s: float
) -> None:
    """Who hears nothing until then is not told to come back."""
    context: Any = Answer(remaining_s)

    assert _find_hold_s(context) == hold_s


async def test_otherwise_callers_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds back needs to know."""
    monkeypatch.setattr("tieline.chassis.interceptors.refusals._HOLD_S", math.inf)
    replica = Replica()

    async with asyncio.timeout(TIMEOUT_S):
        await replica.refuse(replica.tokens.member("wwacme", "u1"))
