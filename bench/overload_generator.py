"""The load of the overload benchmarks: a process of its own, calls at fixed times.

Told what to do by one line of JSON on stdin, tells what happened by one on stdout.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import grpc
import uvloop

from tieline.api.common.v1 import priority_pb2
from tieline.api.identity.v1 import identity_service_pb2, identity_service_pb2_grpc
from tieline.api.messaging.v1 import (
    messaging_pb2,
    messaging_service_pb2,
    messaging_service_pb2_grpc,
    search_service_pb2,
    search_service_pb2_grpc,
)
from tieline.client.callee_level import ADMISSION_KEY, HELD_BACK_KEY, CalleeLevel

_CHANNELS = 4
_SEARCHED = "hello"
_TEXT = f"{_SEARCHED} {'x' * 94}"
_DEADLINE_S = 1.0
_TICK_S = 0.002

# Of one generator: more would only wait for its own event loop. What it can't have on its way it
# does not send, and tells how much that was.
_MAX_UNDERWAY = 300

GENERATORS = 2

CRITICAL = priority_pb2.BUSINESS_CLASS_CRITICAL
HIGH = priority_pb2.BUSINESS_CLASS_HIGH
NORMAL = priority_pb2.BUSINESS_CLASS_NORMAL
LOW = priority_pb2.BUSINESS_CLASS_LOW


@dataclass(frozen=True, slots=True)
class Plan:
    """What a generator does."""

    target: str
    users: tuple[tuple[str, str], ...]
    """``authorization`` and conversation of each."""

    accounts: tuple[tuple[str, str, str], ...] = ()
    """Corp, user id and password of each, where the target is identity and not messaging."""

    loops: int = 0
    """Closed loops; 0 for an open one."""

    classes: tuple[int, ...] = (NORMAL, HIGH)
    """Of the closed loops' calls, in turns."""

    critical_per_s: float = 0.0
    high_per_s: float = 0.0
    normal_per_s: float = 0.0
    low_per_s: float = 0.0
    settle_s: float = 0.0
    seconds: float = 4.0
    holds_back: bool = False

    def closed(self, loops: int, **options: Any) -> Plan:
        """Return a plan of so many loops that wait for their answers."""
        return replace(self, loops=loops, **options)

    def open(self, **options: Any) -> Plan:
        """Return a plan of calls at fixed times."""
        return replace(self, loops=0, **options)

    def rates(self) -> dict[int, float]:
        """Return the calls per second of each class that has any."""
        rates = {
            CRITICAL: self.critical_per_s,
            HIGH: self.high_per_s,
            NORMAL: self.normal_per_s,
            LOW: self.low_per_s,
        }
        return {of: per_s for of, per_s in rates.items() if per_s}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the calls that were due after ``settle_s``."""

    good_per_s: float
    success: float
    critical_success: float
    high_success: float
    normal_success: float
    low_success: float
    """Of the calls of each class that were due; 0 where none was."""

    longest_good_ms: float
    p99_good_ms: float
    unsent_ratio: float
    """Of the calls that were due: what the generator itself could not send."""


async def generate(plan: Plan, command: Sequence[str] = ()) -> Outcome:
    """Carry the plan out in processes of their own, each with its part of the calls.

    ``command`` is what starts them, before their own.
    """
    part = replace(
        plan,
        loops=plan.loops // GENERATORS,
        critical_per_s=plan.critical_per_s / GENERATORS,
        high_per_s=plan.high_per_s / GENERATORS,
        normal_per_s=plan.normal_per_s / GENERATORS,
        low_per_s=plan.low_per_s / GENERATORS,
    )
    outcomes = await asyncio.gather(*(_generate_part(part, command) for _ in range(GENERATORS)))

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    return Outcome(
        good_per_s=sum(each.good_per_s for each in outcomes),
        success=mean([each.success for each in outcomes]),
        critical_success=mean([each.critical_success for each in outcomes]),
        high_success=mean([each.high_success for each in outcomes]),
        normal_success=mean([each.normal_success for each in outcomes]),
        low_success=mean([each.low_success for each in outcomes]),
        longest_good_ms=max(each.longest_good_ms for each in outcomes),
        p99_good_ms=max(each.p99_good_ms for each in outcomes),
        unsent_ratio=mean([each.unsent_ratio for each in outcomes]),
    )


async def _generate_part(plan: Plan, command: Sequence[str]) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        *command,
        *(sys.executable, "-m", "bench.overload_generator"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate(json.dumps(asdict(plan)).encode())
    return Outcome(**json.loads(told))


class _Generator:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stubs: list[tuple[Any, Any, Any]] = []
        """Of each channel: for messages, for searches, of identity."""
        self._levels: list[CalleeLevel] = []
        self._user_levels = [0] * len(plan.users)
        self._good: list[tuple[int, float]] = []
        """Of each call that succeeded in time: its class, and how long it took."""
        self._counted: Counter[int] = Counter()
        self._underway = 0
        self._unsent = 0
        self._number = 0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        channels = [
            grpc.aio.insecure_channel(self._plan.target, options=options) for _ in range(_CHANNELS)
        ]
        self._stubs = [
            (
                messaging_service_pb2_grpc.MessagingServiceStub(each),
                search_service_pb2_grpc.SearchServiceStub(each),
                identity_service_pb2_grpc.IdentityServiceStub(each),
            )
            for each in channels
        ]
        self._levels = [CalleeLevel(time.monotonic) for _ in channels]
        yield
        for channel in channels:
            await channel.close()

    async def run(self) -> Outcome:
        if self._plan.loops:
            await self._run_closed()
        else:
            await self._run_open()
        return self._sum_up()

    async def _run_closed(self) -> None:
        end = time.monotonic() + self._plan.seconds

        async def loop() -> None:
            while (now := time.monotonic()) < end:
                self._number += 1
                of = self._plan.classes[self._number % len(self._plan.classes)]
                await self._call(self._number, of, now, is_counted=True)

        await asyncio.gather(*(loop() for _ in range(self._plan.loops)))

    async def _run_open(self) -> None:
        plan = self._plan
        begun_at = time.monotonic()
        sent: Counter[int] = Counter()
        tasks: set[asyncio.Task[None]] = set()
        while (now := time.monotonic()) < begun_at + plan.settle_s + plan.seconds:
            is_counted = now >= begun_at + plan.settle_s
            for of, rate in plan.rates().items():
                due = int((now - begun_at) * rate)
                while sent[of] < due:
                    sent[of] += 1
                    self._begin(tasks, of, begun_at + sent[of] / rate, is_counted)
            await asyncio.sleep(_TICK_S)
        await asyncio.wait(tasks, timeout=_DEADLINE_S + 1) if tasks else None

    def _begin(
        self, tasks: set[asyncio.Task[None]], of: int, due_at: float, is_counted: bool
    ) -> None:
        self._number += 1
        self._counted[of] += is_counted
        number = self._number
        if self._plan.holds_back:
            level = self._levels[number % _CHANNELS]
            user = number % len(self._user_levels)
            if not level.lets_in(of, self._user_levels[user]):
                return
        if self._underway >= _MAX_UNDERWAY:
            self._unsent += is_counted
            return
        self._underway += 1
        call = self._call(number, of, due_at, is_counted=is_counted)
        task = asyncio.create_task(call)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _call(self, number: int, of: int, due_at: float, *, is_counted: bool) -> None:
        user = number % len(self._plan.users)
        authorization, conversation_id = self._plan.users[user]
        level = self._levels[number % _CHANNELS]
        # Who signs in has no token yet, and a place by chance.
        metadata = [] if of == CRITICAL else [("authorization", authorization)]
        held_back = level.take_held_back()
        if held_back:
            metadata.append((HELD_BACK_KEY, held_back))
        if self._plan.accounts:
            begin, request = self._choose_of_identity(number, of)
        else:
            begin, request = self._choose(number, of, conversation_id)
        call = begin(request, timeout=_DEADLINE_S, metadata=metadata)
        try:
            await call
            took_s = time.monotonic() - due_at
            if is_counted and took_s <= _DEADLINE_S:
                self._good.append((of, took_s))
        except grpc.aio.AioRpcError:
            pass
        finally:
            self._underway -= 1
        for key, value in await call.trailing_metadata() or ():
            if key == ADMISSION_KEY:
                told = level.note(value)
                if told is not None and of != CRITICAL:
                    self._user_levels[user] = told

    def _choose(self, number: int, of: int, conversation_id: str) -> tuple[Any, Any]:
        """Return the method of a class, and its request."""
        messaging, searches, _ = self._stubs[number % _CHANNELS]
        if of == HIGH:
            return messaging.SendMessage, _send(conversation_id)
        if of == LOW:
            return searches.SearchMessages, search_service_pb2.SearchMessagesRequest(
                query=_SEARCHED, conversation_id=conversation_id
            )
        return messaging.GetConversation, messaging_service_pb2.GetConversationRequest(
            conversation_id=conversation_id
        )

    def _choose_of_identity(self, number: int, of: int) -> tuple[Any, Any]:
        identity = self._stubs[number % _CHANNELS][2]
        if of == NORMAL:
            return identity.GetCorp, identity_service_pb2.GetCorpRequest()
        corp_id, user_id, password = self._plan.accounts[number % len(self._plan.accounts)]
        return identity.SignInMember, identity_service_pb2.SignInMemberRequest(
            corp_id=corp_id, user_id=user_id, password=password
        )

    def _sum_up(self) -> Outcome:
        waits = sorted(took_s for _, took_s in self._good)
        good = Counter(of for of, _ in self._good)
        total = self._counted.total()
        kept = {of: good[of] / max(self._counted[of], 1) for of in (CRITICAL, HIGH, NORMAL, LOW)}
        return Outcome(
            good_per_s=len(waits) / self._plan.seconds,
            success=len(waits) / max(total, 1),
            critical_success=kept[CRITICAL],
            high_success=kept[HIGH],
            normal_success=kept[NORMAL],
            low_success=kept[LOW],
            longest_good_ms=1000 * waits[-1] if waits else 0.0,
            p99_good_ms=1000 * waits[int(len(waits) * 0.99)] if waits else 0.0,
            unsent_ratio=self._unsent / max(total, 1),
        )


def _send(conversation_id: str) -> messaging_service_pb2.SendMessageRequest:
    return messaging_service_pb2.SendMessageRequest(
        conversation_id=conversation_id,
        client_message_id=str(uuid.uuid4()),
        content=messaging_pb2.MessageContent(text=messaging_pb2.TextContent(text=_TEXT)),
    )


async def _main() -> None:
    fields = json.loads(sys.stdin.read())
    for name in ("users", "accounts"):
        fields[name] = tuple(map(tuple, fields[name]))
    generator = _Generator(Plan(**fields))
    async with generator.connected():
        print(json.dumps(asdict(await generator.run())), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main())
