"""`tieline operator simulate`: trying a policy before it is applied."""

import dataclasses
import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from tieline.cli.errors import CommandError
from tieline.operator.policy import Mode, SurgePolicy, policy_from_spec
from tieline.operator.recording import RecordingError, replay
from tieline.operator.simulator.cluster_model import ClusterModel
from tieline.operator.simulator.comparison import compare
from tieline.operator.simulator.contenders import (
    SIMULATED_CAPACITY,
    Contender,
    as_simulated,
    surge_contender,
    usual_peers,
)
from tieline.operator.simulator.html_report import build_page
from tieline.operator.simulator.load_shapes import PEAK, SHAPES, read_trace, scale_trace
from tieline.operator.simulator.scenarios import Staged, announced, chain, one_service
from tieline.operator.simulator.tables import build_table
from tieline.operator.spec_fields import InvalidSpecError

_SHAPES = (*SHAPES, "chain", "window")
_MAX_SEEDS = 50
_MAX_SECONDS = 24 * 3600
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_option = functools.partial(click.option, show_default=True)

# Option, field of the cluster model, range, help.
_CLUSTER_OPTIONS: Sequence[tuple[str, str, click.FloatRange | click.IntRange, str]] = (
    (
        "--start-seconds",
        "start_min",
        click.FloatRange(0, 600),
        "Shortest start of a pod; half of them take 2.5 s longer.",
    ),
    (
        "--free-pods",
        "free_pods",
        click.IntRange(0, 10_000),
        "Pods that fit on the nodes that are there.",
    ),
    (
        "--create-rate",
        "create_per_s",
        click.FloatRange(1, 1000),
        "Pods that the API server lets be created in a second.",
    ),
    (
        "--endpoint-delay",
        "endpoint_delay",
        click.FloatRange(0, 120),
        "Seconds until callers know of a new replica.",
    ),
    (
        "--report-loss",
        "report_loss",
        click.FloatRange(0, 1),
        "Part of the load reports that get lost.",
    ),
)


def _cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    for option, field, kind, text in reversed(_CLUSTER_OPTIONS):
        default = getattr(ClusterModel(), field)
        command = _option(option, field, default=default, type=kind, help=text)(command)
    return command


@click.command()
@click.argument("load", default="step")
@click.option("--policy", "policy_file", type=_FILE, help="A SurgePolicy to try.")
@click.option(
    "--current",
    "current_file",
    type=_FILE,
    help="The SurgePolicy to compare it with; without it, one with all defaults.",
)
@click.option(
    "--recording",
    type=click.Path(exists=True, path_type=Path),
    help="A file or folder that the operator has recorded; LOAD is then one of its policies.",
)
@_option(
    "--usual",
    default=5.0,
    type=click.FloatRange(0.5, 100.0),
    help="The usual load, in replicas that are full.",
)
@_option(
    "--peak",
    default=PEAK,
    type=click.FloatRange(1.0, 50.0),
    help="The peak of the load, as a multiple of the usual.",
)
@_option(
    "--seconds",
    default=1800,
    type=click.IntRange(60, _MAX_SECONDS),
    help="How much of a recorded load to play.",
)
@_option("--seeds", default=3, type=click.IntRange(1, _MAX_SEEDS), help="Runs with other chances.")
@_option("--peers/--no-peers", default=True, help="Also run HPA, KEDA and Knative's autoscaler.")
@_cluster_options
@click.option(
    "--html",
    "html_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write a report with plots into this file.",
)
def simulate(
    load: str,
    policy_file: Path | None,
    current_file: Path | None,
    recording: Path | None,
    usual: float,
    peak: float,
    seconds: int,
    seeds: int,
    peers: bool,
    html_file: Path | None,
    **cluster: Any,
) -> None:
    """Play LOAD against the operator's decision and against other autoscalers.

    LOAD is a shape (step, ramp, spikes, sawtooth, diurnal, lunar-new-year, login-storm; chain,
    three services that call one another; window, a step that is announced before) or a CSV file
    with a header and two columns, a time and a value, of which the time around its peak is played.
    With --recording every recorded second is decided again first, and must come out as it did.

    Each request is simulated. A simulated replica does 40 requests a second: one request stands
    for many calls. That is the requestsPerSecondPerPod of --current, else of --policy; a changed
    one takes replicas for weaker or stronger than they are. 20 ms of queueWaitMilliseconds are
    100 ms here. A policy that is Advisory or Frozen is played as Active.

    \b
    Examples:
      tieline operator simulate step
      tieline operator simulate spikes --policy changed.yaml --current messaging.yaml
      tieline operator simulate monday.csv --seconds 3600 --peak 12 --html report.html
      tieline operator simulate messaging --recording /var/lib/tieline/recording
      tieline operator simulate step --free-pods 20 --start-seconds 25 --no-peers
    """
    model = ClusterModel(**cluster)
    console = Console()
    base = usual * SIMULATED_CAPACITY
    if recording is None:
        staged = _stage(load, base, peak, seconds, model)
    else:
        points = _replay(recording, load, console)
        staged = one_service(load, scale_trace(points, base, seconds, peak), model)
    contenders = _contenders(staged, policy_file, current_file, console, with_peers=peers)
    with console.status(f"{len(contenders)} autoscalers, {seeds} runs each …"):
        outcomes = compare(staged.scenario, contenders, range(1, seeds + 1))
    title = f"{staged.scenario.name}: {len(staged.scenario.rates):,} s, means of {seeds} runs"
    console.print(build_table(title, outcomes))
    if html_file is not None:
        about = (
            f"Peak {peak:g} times the usual load of {usual:g} full replicas, {seeds} seeds. "
            f"Pods start in {model.start_min:g} s and more, callers know of them "
            f"{model.endpoint_delay:g} s later, {model.report_loss:.0%} of the reports get lost."
        )
        page = build_page(
            f"Simulated load: {staged.scenario.name}", about, staged.scenario, outcomes
        )
        html_file.write_text(page, encoding="utf-8")
        console.print(f"report: {html_file}", markup=False)


def _stage(load: str, base: float, peak: float, seconds: int, model: ClusterModel) -> Staged:
    if load == "chain":
        return chain("chain", SHAPES["step"](base, peak), model)
    if load == "window":
        return announced(base, model)
    if load in SHAPES:
        return one_service(load, SHAPES[load](base, peak), model)
    path = Path(load)
    if not path.is_file():
        raise CommandError(f"{load} is neither a file nor one of {', '.join(_SHAPES)}")
    try:
        points = read_trace(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise CommandError(f"{load} cannot be read as times and values: {error}") from error
    if len(points) < 2:
        raise CommandError(f"{load} has fewer than two lines of a time and a value")
    return one_service(path.stem, scale_trace(points, base, seconds, peak), model)


def _replay(recording: Path, load: str, console: Console) -> list[tuple[float, float]]:
    """Decide a recording again; return the load of one policy by time."""
    points: list[tuple[float, float]] = []
    seconds, names = 0, set[str]()
    try:
        for second in replay(recording):
            if not second.is_equal:
                moment = dt.datetime.fromtimestamp(second.now, dt.UTC).isoformat()
                raise CommandError(
                    f"{recording} was decided otherwise at {moment}: by another version?"
                )
            seconds += 1
            for one in second.decisions:
                names.add(one.name)
                if one.name == load:
                    points.append((second.now, one.demand_per_s))
    except RecordingError as error:
        raise CommandError(str(error)) from error
    console.print(f"{seconds:,} recorded seconds decide as they did", highlight=False)
    if len(points) < 2:
        raise CommandError(f"{load} is none of the recorded policies: {', '.join(sorted(names))}")
    return points


def _contenders(
    staged: Staged,
    policy_file: Path | None,
    current_file: Path | None,
    console: Console,
    *,
    with_peers: bool,
) -> list[Contender]:
    current = _read_policy(current_file) if current_file else None
    changed = _read_policy(policy_file) if policy_file else None

    def ours(label: str, given: SurgePolicy | None) -> Contender:
        policies: Mapping[str, SurgePolicy] = staged.policies
        if given is not None:
            if given.mode is not Mode.ACTIVE:
                console.print(f"{label} is {given.mode}: played as Active", highlight=False)
            # What replicas do is what is believed of them now, whatever the change says.
            does = (current or given).capacity.requests_per_second_per_pod
            policies = {name: _like(one, given, does) for name, one in policies.items()}
        return surge_contender(label, policies, staged.windows)

    found = [ours(current_file.name if current_file else "surge, defaults", current)]
    if policy_file is not None:
        found.append(ours(policy_file.name, changed))
    return found + (usual_peers(staged.floors) if with_peers else [])


def _like(staged: SurgePolicy, given: SurgePolicy, requests_per_second_per_pod: int) -> SurgePolicy:
    return dataclasses.replace(
        as_simulated(given, requests_per_second_per_pod),
        target=staged.target,
        service=staged.service,
        upstreams=staged.upstreams or given.upstreams,
    )


def _read_policy(path: Path) -> SurgePolicy:
    try:
        import yaml
    except ImportError as error:
        raise CommandError("reading a policy needs PyYAML: install tieline[embedded]") from error
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} is not YAML: {error}") from error
    policies = [one for one in documents if _is_policy(one)]
    if len(policies) != 1:
        raise CommandError(f"{path} must hold one SurgePolicy, and holds {len(policies)}")
    try:
        return policy_from_spec(policies[0].get("spec") or {})
    except InvalidSpecError as error:
        raise CommandError(f"{path}: {_join(error.violations)}") from error


def _is_policy(document: object) -> bool:
    return isinstance(document, dict) and document.get("kind") == "SurgePolicy"


def _join(violations: Sequence[object]) -> str:
    return "; ".join(map(str, violations))
