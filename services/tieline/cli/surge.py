"""`tieline surge`: many times the load, on a running platform."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from tieline.chassis.process import StartError
from tieline.chassis.streams import OPERATOR
from tieline.cli.data_directory import DataDirectory, data_option
from tieline.cli.errors import CommandError
from tieline.cli.platform import PLATFORM_ADMINISTRATOR, derive_nats_password
from tieline.cli.remote_platform import TARGET_HELP, read_administrator_password
from tieline.client import Endpoints, TielineError, connect
from tieline.surge import live
from tieline.surge.mix import DEFAULT_MIX, MixError, parse_mix
from tieline.surge.outcomes import sum_up
from tieline.surge.people import bring_together
from tieline.surge.profiles import SHAPES, Shape, TraceError, list_rates, read_trace
from tieline.surge.replicas import Replicas, watching_replicas
from tieline.surge.report import build_page, build_result
from tieline.surge.surge import Plan, Surge, SurgeError

MAX_DURATION_S = 3600
MAX_PEOPLE = 1000


@click.command()
@data_option("Data folder of the platform that `tieline up` runs.")
@click.option("--target", help=TARGET_HELP)
@click.option("--edge/--no-edge", default=None, help="Through the platform's edge; if it has one.")
@click.option(
    "--profile",
    type=click.Choice([*SHAPES, "trace"]),
    default="step",
    show_default=True,
    help="How the load changes.",
)
@click.option(
    "--trace",
    "trace_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV of a recorded series for the profile `trace`: the value in the last column.",
)
@click.option(
    "--base",
    type=click.FloatRange(0.1, 100_000),
    default=50,
    show_default=True,
    help="Calls per second before the surge.",
)
@click.option(
    "--factor",
    type=click.FloatRange(1, 1000),
    default=10,
    show_default=True,
    help="How many times the base the surge is.",
)
@click.option(
    "--duration",
    "duration_s",
    type=click.IntRange(4, MAX_DURATION_S),
    default=40,
    show_default=True,
    help="Seconds of the whole.",
)
@click.option(
    "--mix",
    "mix_text",
    default=",".join(f"{name}={weight:g}" for name, weight in DEFAULT_MIX.items()),
    show_default=True,
    help="What is called, by weights.",
)
@click.option(
    "--callers",
    type=click.Choice(["strangers", "well-behaved"]),
    default="well-behaved",
    show_default=True,
    help="Whether callers use the client library, which waits when it is told to, or bare gRPC.",
)
@click.option(
    "--generators",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that make the load: each some 1,500 calls a second.",
)
@click.option(
    "--members",
    type=click.IntRange(2, MAX_PEOPLE),
    default=20,
    show_default=True,
    help="Of a corp.",
)
@click.option(
    "--customers",
    type=click.IntRange(1, MAX_PEOPLE),
    default=10,
    show_default=True,
    help="Customers in its group.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same calls each time.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the result to this file.",
)
@click.option(
    "--html",
    "html_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with charts to this file; it needs no other.",
)
def surge(
    data_path: Path,
    target: str | None,
    edge: bool | None,
    profile: str,
    trace_path: Path | None,
    base: float,
    factor: float,
    duration_s: int,
    mix_text: str,
    callers: str,
    generators: int,
    members: int,
    customers: int,
    seed: int,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    """Put many times the load on a running platform, and see what becomes of it.

    Makes a corp of its own with a few people. The load comes at its own pace, whatever becomes of
    the calls, and latency counts from when a call was due. Refused calls are told apart by who
    refused them: the edge's queue, a limit, a service's admission or its core, the caller's own
    library.

    \b
    Examples:
      tieline surge
      tieline surge --callers strangers --factor 20 --html surge.html
      tieline surge --profile spikes --mix message=60,lookup=40 --duration 120
      tieline surge --profile trace --trace requests.csv --json surge.json
      TIELINE_ADMINISTRATOR_PASSWORD=… tieline surge --target edge.example.com:443
    """
    options = {
        "profile": profile,
        "base": base,
        "factor": factor,
        "duration_s": duration_s,
        "mix": mix_text,
        "callers": callers,
        "generators": generators,
        "seed": seed,
    }
    try:
        shape = _choose_shape(profile, trace_path)
        rates = list_rates(shape, base=base, factor=factor, duration_s=duration_s)
        place = _Place.find(data_path, target, edge)
        plan = Plan(
            endpoints=asdict(place.endpoints),
            mix=parse_mix(mix_text),
            rates=rates,
            generators=generators,
            seed=seed,
            is_well_behaved=callers == "well-behaved",
        )
        played, replicas = asyncio.run(_play(place, plan, members, customers, Console()))
    except (MixError, TraceError, SurgeError) as error:
        raise CommandError(str(error)) from None
    except TielineError as error:
        raise CommandError(f"the surge's people could not be brought together: {error}") from None
    if json_path is not None:
        result = build_result(options, rates, played.seconds, replicas)
        json_path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if html_path is not None:
        page = build_page(options, rates, played.seconds, replicas)
        html_path.write_text(page, encoding="utf-8")


class _Place:
    """The platform: where it is, how to get in, and where its load reports are."""

    def __init__(self, endpoints: Endpoints, password: str, nats_url: str | None) -> None:
        self.endpoints = endpoints
        self.password = password
        self.nats_url = nats_url

    @classmethod
    def find(cls, data_path: Path, target: str | None, edge: bool | None) -> "_Place":
        if target is not None:
            password = read_administrator_password("the surge makes its own corp")
            return cls(Endpoints.from_target(target), password, None)
        data = DataDirectory(data_path)
        found = data.read_endpoints()
        secrets = data.read_secrets()
        if edge and "edge" not in found:
            raise CommandError("the platform has no edge: start it with `tieline up --edge`")
        through_edge = "edge" in found if edge is None else edge
        endpoints = Endpoints(**found["services"])
        if through_edge:
            endpoints = Endpoints.single(found["edge"])
        nats_password = derive_nats_password(secrets, OPERATOR)
        return cls(
            endpoints,
            secrets.platform_administrator_password,
            f"nats://{OPERATOR}:{nats_password}@{found['nats']}",
        )


def _choose_shape(profile: str, trace_path: Path | None) -> Shape:
    if profile != "trace":
        return SHAPES[profile]
    if trace_path is None:
        raise CommandError("the profile `trace` needs --trace FILE")
    return read_trace(trace_path)


async def _play(
    place: _Place, plan: Plan, members: int, customers: int, console: Console
) -> tuple[Surge, dict[int, dict[str, int]]]:
    """Bring people together, run the surge, show it; return it and the replicas of each second."""
    surge = Surge(plan)
    history: dict[int, dict[str, int]] = {}
    async with AsyncExitStack() as stack:
        replicas = await _watch(place, stack, console)
        tieline = await stack.enter_async_context(connect(place.endpoints))
        administrator = await tieline.sign_in_platform_administrator(
            PLATFORM_ADMINISTRATOR, place.password
        )
        console.print(f"bringing {members} members and {customers} customers together …")
        cast = await bring_together(tieline, administrator, members=members, customers=customers)
        view = stack.enter_context(
            Live(console=console, auto_refresh=False, vertical_overflow="visible")
        )

        def show() -> None:
            ready = None
            if replicas is not None and replicas.has_reports:
                ready = dict(replicas.ready(time.monotonic()))
                history[max(0, int(surge.elapsed_s))] = ready
            view.update(
                live.view(
                    surge.seconds,
                    elapsed_s=surge.elapsed_s,
                    duration_s=len(plan.rates),
                    replicas=ready,
                ),
                refresh=console.is_terminal,
            )

        await surge.run(cast, show)
        view.update(
            live.view(
                {0: sum_up(surge.seconds.values())},
                elapsed_s=len(plan.rates),
                duration_s=len(plan.rates),
                replicas=None,
                span_s=len(plan.rates),
            ),
            refresh=True,
        )
    return surge, history


async def _watch(place: _Place, stack: AsyncExitStack, console: Console) -> Replicas | None:
    if place.nats_url is None:
        return None
    try:
        return await stack.enter_async_context(watching_replicas(place.nats_url))
    except StartError as error:
        console.print(f"replicas are not shown: {error.text}", markup=False)
        return None
