"""What other callers of identity notice of 50 password sign-ins a second.

Measures ``identity.p99_under_sign_ins_ms``, beside the same calls while nobody signs in, on a
platform with its default settings. The calls are of two kinds in turns: GetCorp (a read with a
verified token) and RefreshSession (two writes). Both loads are offered at their rate whatever the
answers do, so that a call that waits makes no other one start later. Sign-ins that the service
refuses because too many wait are not repeated; how many it did is a figure of its own.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc

from bench.harness import Benchmark, Figure, Target, summarise
from bench.local_platform import LocalPlatform, running_platform, temporary_data
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2, identity_service_pb2_grpc
from tieline.client import Endpoints, SignedIn, Tieline, connect

_UNDER_LOAD = "identity.p99_under_sign_ins_ms"
_QUIET = "identity.p99_without_sign_ins_ms"
_SIGN_INS = "identity.sign_ins_per_s"

_SIGN_INS_PER_S = 50
_CALLS_PER_S = 100
_CALLS_PER_REFRESH = 10
_WINDOW_S = 8.0
_WARM_UP_S = 1.0
_RUNS = 3
_TIMEOUT_S = 20.0

# The queue is full, or was too long for the caller.
_REFUSALS = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)

_PASSWORD = "a password of the benchmark"  # noqa: S105 -- of a platform that is thrown away


@dataclass
class _Loads:
    """What one window measured, in milliseconds; refused sign-ins are not in it."""

    calls_ms: list[float] = field(default_factory=list)
    sign_ins_ms: list[float] = field(default_factory=list)


async def measure() -> Sequence[Figure]:
    """Measure windows without and with sign-ins in turns."""
    quiet, under_load, sign_ins = [], [], []
    with temporary_data() as data:
        async with (
            running_platform(data) as platform,
            connect(Endpoints.read(platform.data / "endpoints.json")) as tieline,
            AsyncExitStack() as stack,
        ):
            corp_id, owner = await _found_corp(platform, tieline)
            target = Endpoints.read(platform.data / "endpoints.json").identity
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(target))
            # Not the client library's, which would repeat what is refused.
            caller = _Caller(
                identity_service_pb2_grpc.IdentityServiceStub(channel),
                corp_id,
                (("authorization", f"Bearer {owner.tokens.access_token}"),),
            )
            await _window(caller, seconds=_WARM_UP_S, sign_ins_per_s=5)
            for _ in range(_RUNS):
                quiet.append(_p99((await _window(caller, seconds=_WINDOW_S)).calls_ms))
                loads = await _window(caller, seconds=_WINDOW_S, sign_ins_per_s=_SIGN_INS_PER_S)
                under_load.append(_p99(loads.calls_ms))
                sign_ins.append(len(loads.sign_ins_ms) / _WINDOW_S)
    return [
        summarise(_QUIET, quiet, "ms"),
        summarise(_SIGN_INS, sign_ins, "1/s"),
        summarise(
            _UNDER_LOAD,
            under_load,
            "ms",
            against=_QUIET,
            against_values=quiet,
            target=Target("value", "at most", 20),
        ),
    ]


async def _found_corp(platform: LocalPlatform, tieline: Tieline) -> tuple[str, SignedIn]:
    secrets = json.loads((platform.data / "secrets.json").read_text())
    administrator = await tieline.sign_in_platform_administrator(
        "platform", secrets["platform_administrator_password"]
    )
    created = await administrator.identity.CreateCorp(
        identity_service_pb2.CreateCorpRequest(
            display_name="Corp",
            kind=identity_pb2.CORP_KIND_COMPANY,
            owner_user_id="owner",
            owner_name="Owner",
        )
    )
    owner = await tieline.accept_invitation(
        created.corp.corp_id, "owner", created.owner_invitation.code, _PASSWORD
    )
    return created.corp.corp_id, owner


@dataclass(frozen=True)
class _Caller:
    """Calls identity as one corp's owner."""

    stub: identity_service_pb2_grpc.IdentityServiceStub
    corp_id: str
    metadata: tuple[tuple[str, str], ...]

    async def sign_in(self) -> identity_pb2.Session:
        request = identity_service_pb2.SignInMemberRequest(
            corp_id=self.corp_id, user_id="owner", password=_PASSWORD
        )
        return (await self.stub.SignInMember(request, timeout=_TIMEOUT_S)).session

    async def refresh(self, refresh_token: str) -> str:
        request = identity_service_pb2.RefreshSessionRequest(refresh_token=refresh_token)
        response = await self.stub.RefreshSession(request, timeout=_TIMEOUT_S)
        return response.session.refresh_token

    async def read(self) -> None:
        request = identity_service_pb2.GetCorpRequest()
        await self.stub.GetCorp(request, metadata=self.metadata, timeout=_TIMEOUT_S)


async def _window(caller: _Caller, *, seconds: float, sign_ins_per_s: int = 0) -> _Loads:
    """Offer both loads for a while; return how long each call took."""
    loads = _Loads()
    # A session is refreshed by one call at a time.
    tokens = [(await caller.sign_in()).refresh_token]

    async def call(number: int) -> bool:
        if number % _CALLS_PER_REFRESH == 0 and tokens:
            tokens.append(await caller.refresh(tokens.pop()))
        else:
            await caller.read()
        return True

    async def sign_in(_number: int) -> bool:
        try:
            await caller.sign_in()
        except grpc.aio.AioRpcError as error:
            if error.code() not in _REFUSALS:
                raise
            return False
        return True

    await asyncio.gather(
        _offer(call, _CALLS_PER_S, seconds, loads.calls_ms),
        _offer(sign_in, sign_ins_per_s, seconds, loads.sign_ins_ms),
    )
    return loads


async def _offer(
    work: Callable[[int], Awaitable[bool]], per_s: int, seconds: float, durations_ms: list[float]
) -> None:
    """Begin ``per_s`` pieces of work a second, each at its time; wait for all of them.

    Those that return False, refused ones, are not timed.
    """

    async def timed(number: int) -> None:
        begun_at = time.perf_counter()
        if await work(number):
            durations_ms.append((time.perf_counter() - begun_at) * 1000)

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(per_s * seconds)):
            await asyncio.sleep(max(0.0, begin + number / per_s - time.perf_counter()))
            tasks.create_task(timed(number))


def _p99(durations_ms: Sequence[float]) -> float:
    return statistics.quantiles(durations_ms, n=100)[98]


BENCHMARKS = (Benchmark((_QUIET, _SIGN_INS, _UNDER_LOAD), measure),)
