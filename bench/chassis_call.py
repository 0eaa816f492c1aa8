"""What all interceptors together cost: an empty unary call through them, and one past them.

Measures ``limits.grpc_unary_call`` and ``chassis.authenticated_call``. Both servers have the same
handler, every call carries a deadline, and 1 % of them are sampled as in production.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import grpc
import uvloop
from google.protobuf.empty_pb2 import Empty
from joserfc import jwt
from joserfc.jwk import OKPKey

from bench.grpc_load import Load, ServerProcess, Work, announce, server_process
from bench.harness import Benchmark, Figure, Target, summarise
from tieline.chassis.admission.control import AdmissionControl
from tieline.chassis.authentication import (
    ALGORITHM,
    AUDIENCE,
    ISSUER,
    TOKEN_ALGORITHMS,
    TokenVerifier,
)
from tieline.chassis.grpc_server import GuardedServer, build_guarded_server
from tieline.chassis.health import Health
from tieline.chassis.interceptors.access import AccessRule
from tieline.chassis.interceptors.guarded_method import CallLimits
from tieline.chassis.logs import configure_logging
from tieline.chassis.principals import PrincipalKind
from tieline.chassis.telemetry import telemetry

_SERVICE = "tieline.bench.v1.Empty"
_METHOD = f"/{_SERVICE}/Call"
_DEADLINE_S = 20.0
_WINDOW_S = 0.5
_RUNS = 11

_BARE = "limits.grpc_unary_call"
_AUTHENTICATED = "chassis.authenticated_call"
_UNIT = "calls/server CPU s"

MODULE = "bench.chassis_call"

Around = Callable[[GuardedServer], AbstractAsyncContextManager[object]]
"""What runs beside a server for as long as it serves."""

# An access token with 15 minutes, as identity gives them, is no token for a long benchmark.
_TOKEN_LIFE_S = 3600


async def measure() -> Sequence[Figure]:
    """Measure empty calls on both servers in turns.

    Both servers run, and windows of half a second alternate between them: what else happens on the
    machine meets both, and the ratio holds although the rates swing.
    """
    bare_rates, guarded_rates = [], []
    async with (
        server_process(MODULE, "bare") as bare_server,
        server_process(MODULE, "authenticated") as guarded_server,
        Load(bare_server, calls(bare_server)) as bare,
        Load(guarded_server, calls(guarded_server)) as guarded,
    ):
        for _ in range(_RUNS):
            bare_rates.append((await bare.measure(_WINDOW_S)).per_cpu_second)
            guarded_rates.append((await guarded.measure(_WINDOW_S)).per_cpu_second)
    return [
        summarise(_BARE, bare_rates, _UNIT),
        summarise(
            _AUTHENTICATED,
            guarded_rates,
            _UNIT,
            against=_BARE,
            against_values=bare_rates,
            target=Target("ratio", "at least", 0.7),
        ),
    ]


def calls(server: ServerProcess) -> Work:
    """Return endless empty calls."""
    metadata = [("authorization", f"Bearer {server.token}")] if server.token else []

    async def work(channel: grpc.aio.Channel) -> AsyncGenerator[None, None]:
        call = channel.unary_unary(_METHOD, Empty.SerializeToString, Empty.FromString)
        while True:
            await call(Empty(), timeout=_DEADLINE_S, metadata=metadata)
            yield

    return work


async def _call(_request: Empty, _context: Any) -> Empty:
    return Empty()


def _add_service(server: grpc.aio.Server) -> None:
    handler = grpc.unary_unary_rpc_method_handler(_call, Empty.FromString, Empty.SerializeToString)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(_SERVICE, {"Call": handler})]
    )


async def _serve_bare() -> None:
    server = grpc.aio.server()
    _add_service(server)
    await announce(server)


async def serve_authenticated(
    control: AdmissionControl | None = None, around: Around = nullcontext
) -> None:
    """Serve empty calls behind all interceptors until stdin ends, ``around`` it what belongs to it.

    Without a ``control`` nothing is refused.
    """
    key = OKPKey.generate_key("Ed25519", {"kid": "bench"}, private=True)

    async def fetch_keys() -> dict[str, OKPKey]:
        return {"bench": key}

    health = Health()
    health.mark_serving()
    with open(os.devnull, "w") as lines, telemetry("bench") as exported:  # noqa: ASYNC230
        # Sampled calls write a line each in production, so they do here.
        configure_logging("bench", log_format="json", stream=lines)
        guarded = build_guarded_server(
            {_METHOD: AccessRule(kinds=frozenset({PrincipalKind.MEMBER}))},
            verifier=TokenVerifier(fetch_keys),
            health=health,
            telemetry=exported,
            limits=CallLimits(),
            control=control,
        )
        _add_service(guarded.server)
        async with around(guarded):
            await announce(guarded.server, _sign_token(key))


def _sign_token(key: OKPKey) -> str:
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "li.wei",
        "kind": PrincipalKind.MEMBER,
        "corp": "ww0123456789abcdefghijklmn",
        "roles": ["administrator"],
        "name": "李伟",
        "sid": "018f4b5e-7d1c-7000-8000-000000000000",
        "exp": int(time.time()) + _TOKEN_LIFE_S,
    }
    return jwt.encode({"alg": ALGORITHM, "kid": "bench"}, claims, key, registry=TOKEN_ALGORITHMS)


BENCHMARKS = (Benchmark((_BARE, _AUTHENTICATED), measure),)

if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run({"bare": _serve_bare, "authenticated": serve_authenticated}[sys.argv[1]]())
