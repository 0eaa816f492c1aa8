"""What a member costs to read, beside an empty call through the same interceptors.

Measures ``directory.get_member`` against the server of ``chassis.authenticated_call``: calls per
second of the service's CPU. The directory is one of `tieline up`, with a corp of some thousand
members who are asked for one by one; PostgreSQL's time is not the service's. Measured is what comes
back to a member who was read before; ``directory.get_member_cold`` is the first read of each.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import grpc
import psutil

from bench.chassis_call import MODULE, calls
from bench.grpc_load import IN_FLIGHT, Load, ServerProcess, Work, server_process
from bench.harness import Benchmark, Figure, Target, summarise
from bench.local_platform import LocalPlatform, running_platform, temporary_data
from tieline.api.directory.v1 import directory_service_pb2, directory_service_pb2_grpc
from tieline.api.identity.v1 import identity_pb2, identity_service_pb2
from tieline.client import Endpoints, SignedIn, connect
from tieline.client.errors import TielineError

_GET_MEMBER = "directory.get_member"
_COLD = "directory.get_member_cold"
_EMPTY = "directory.empty_call"
_UNIT = "calls/server CPU s"
_RUNS = 11
# Long enough for the 10 ms in which Linux tells CPU time to be a small part of it.
_WINDOW_S = 1.0
_DEADLINE_S = 20.0
_MEMBERS = 5000
_NEW_CORP_DELAY_S = 0.1
_NEW_CORP_TRIES = 100


async def measure() -> Sequence[Figure]:
    """Measure both servers in turns: what else happens on the machine meets both."""
    empty_rates, member_rates = [], []
    with temporary_data() as data:
        # At the most that can be done admission refuses, and the empty server has none.
        async with running_platform(data, TIELINE_ADMISSION="false") as platform:
            token = await _found_corp(data)
            directory = _find_directory(platform, token)
            async with (
                server_process(MODULE, "authenticated") as empty_server,
                Load(empty_server, calls(empty_server)) as empty,
                Load(directory, _reads(token)) as reads,
            ):
                cold = await _read_all(directory, token)
                for _ in range(_RUNS):
                    empty_rates.append((await empty.measure(_WINDOW_S)).per_cpu_second)
                    member_rates.append((await reads.measure(_WINDOW_S)).per_cpu_second)
    return [
        summarise(_EMPTY, empty_rates, _UNIT),
        summarise(_COLD, [cold], _UNIT),
        summarise(
            _GET_MEMBER,
            member_rates,
            _UNIT,
            against=_EMPTY,
            against_values=empty_rates,
            target=Target("ratio", "at least", 0.7),
        ),
    ]


async def _read_all(directory: ServerProcess, token: str) -> float:
    """Ask for every member once; return how many that is a second of the service's CPU."""
    metadata = [("authorization", f"Bearer {token}")]
    numbers = iter(range(_MEMBERS))
    async with grpc.aio.insecure_channel(directory.target) as channel:
        stub = directory_service_pb2_grpc.DirectoryServiceStub(channel)

        async def read_some() -> None:
            for number in numbers:
                request = directory_service_pb2.GetMemberRequest(user_id=_user_id(number))
                await stub.GetMember(request, timeout=_DEADLINE_S, metadata=metadata)

        cpu_s = directory.cpu_s()
        await asyncio.gather(*(read_some() for _ in range(IN_FLIGHT)))
        return _MEMBERS / (directory.cpu_s() - cpu_s)


def _reads(token: str) -> Work:
    metadata = [("authorization", f"Bearer {token}")]

    async def work(channel: grpc.aio.Channel) -> AsyncGenerator[None, None]:
        stub = directory_service_pb2_grpc.DirectoryServiceStub(channel)
        while True:
            user_id = _user_id(random.randrange(_MEMBERS))
            request = directory_service_pb2.GetMemberRequest(user_id=user_id)
            await stub.GetMember(request, timeout=_DEADLINE_S, metadata=metadata)
            yield

    return work


async def _found_corp(data: Path) -> str:
    """Make a corp, bring its members in, and return its owner's token."""
    password = json.loads((data / "secrets.json").read_text())["platform_administrator_password"]
    async with connect(Endpoints.read(data / "endpoints.json")) as tieline:
        administrator = await tieline.sign_in_platform_administrator("platform", password)
        created = await administrator.identity.CreateCorp(
            identity_service_pb2.CreateCorpRequest(
                display_name="Jinyu Jewellery",
                kind=identity_pb2.CORP_KIND_COMPANY,
                owner_user_id="boss",
                owner_name="Zhao Min",
            )
        )
        owner = await tieline.accept_invitation(
            created.corp.corp_id, "boss", created.owner_invitation.code, "a long password"
        )
        # The directory hears of a new corp by an event, within moments.
        for _ in range(_NEW_CORP_TRIES):
            if await _has_imported(owner):
                return owner.tokens.access_token
            await asyncio.sleep(_NEW_CORP_DELAY_S)
    raise RuntimeError("the directory does not hear of the corp")


async def _has_imported(owner: SignedIn) -> bool:
    rows = [
        f"{_user_id(number)},李娜 {number},East/Store {number % 40},Buyer,{13800000000 + number}"
        for number in range(_MEMBERS)
    ]
    file = "\n".join(["user_id,name,department,position,mobile", *rows]).encode()
    requests = [
        directory_service_pb2.ImportMembersRequest(
            config=directory_service_pb2.ImportMembersConfig()
        ),
        directory_service_pb2.ImportMembersRequest(chunk=file),
    ]
    try:
        async for _ in owner.directory.ImportMembers(iter(requests)):
            pass
    except TielineError as error:
        if error.reason == "CORP_NOT_READY":
            return False
        raise
    return True


def _user_id(number: int) -> str:
    return f"u{number:05d}"


def _find_directory(platform: LocalPlatform, token: str) -> ServerProcess:
    endpoints = Endpoints.read(platform.data / "endpoints.json")
    [process] = [
        process
        for process in psutil.Process(platform.pid).children(recursive=True)
        if process.cmdline()[-2:] == ["serve", "directory"]
    ]
    return ServerProcess(process.pid, endpoints.directory, token)


BENCHMARKS = (Benchmark((_EMPTY, _COLD, _GET_MEMBER), measure),)
