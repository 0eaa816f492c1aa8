"""`tieline operator simulate`: what it prints, writes and refuses."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleets import record
from tieline.cli.operator import operator

POLICY = """
kind: SurgePolicy
metadata: {name: messaging}
spec:
  targetRef: {name: messaging}
  maxReplicas: %s
  capacity: {requestsPerSecondPerPod: 900}
"""


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(operator, ["simulate", *arguments], env={"COLUMNS": "80"})


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "monday.csv"
    file.write_text("ts,value\n" + "\n".join(f"{60 * n},{100 + n}" for n in range(3)))
    return file


def test_changed_policy_is_compared_with_the_current_one(tmp_path: Path, trace: Path) -> None:
    for name, most in (("current.yaml", "50"), ("changed.yaml", "9")):
        (tmp_path / name).write_text(POLICY % most)
    html = tmp_path / "report.html"

    result = simulate(
        str(trace),
        "--seconds",
        "60",
        "--seeds",
        "1",
        "--no-peers",
        "--html",
        str(html),
        "--policy",
        str(tmp_path / "changed.yaml"),
        "--current",
        str(tmp_path / "current.yaml"),
    )

    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.output.splitlines() if ".yaml" in line]
    assert rows == ["current.yaml", "changed.yaml"]
    assert "changed.yaml" in html.read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", ["Advisory", "Frozen"])
def test_policy_on_trial_is_played_as_if_it_were_live(
    tmp_path: Path, trace: Path, mode: str
) -> None:
    (tmp_path / "live.yaml").write_text(POLICY % "50")
    (tmp_path / "trial.yaml").write_text(POLICY % f"50\n  mode: {mode}")
    html = tmp_path / "report.html"
    files = ("--current", str(tmp_path / "live.yaml"), "--policy", str(tmp_path / "trial.yaml"))

    result = simulate(
        *(str(trace), "--seconds", "90", "--seeds", "1", "--no-peers"), *files, "--html", str(html)
    )

    assert result.exit_code == 0, result.output
    assert f"trial.yaml is {mode}: played as Active" in result.output
    assert "live.yaml is" not in result.output
    live, trial = (line.split()[1:] for line in result.output.splitlines() if _is_row(line))
    assert live == trial


def test_policy_that_takes_replicas_for_weaker_asks_for_more(tmp_path: Path, trace: Path) -> None:
    (tmp_path / "current.yaml").write_text(POLICY % "50")
    (tmp_path / "weaker.yaml").write_text((POLICY % "50").replace("900", "450"))
    files = ("--current", str(tmp_path / "current.yaml"), "--policy", str(tmp_path / "weaker.yaml"))

    result = simulate(str(trace), "--seconds", "90", "--seeds", "1", "--no-peers", *files)

    assert result.exit_code == 0, result.output
    current, weaker = (line.split() for line in result.output.splitlines() if _is_row(line))
    assert current != weaker
    assert _pod_seconds(weaker) > 1.15 * _pod_seconds(current)


def test_peers_are_run_beside_the_decision(trace: Path) -> None:
    result = simulate(str(trace), "--seconds", "60", "--seeds", "1")

    assert result.exit_code == 0, result.output
    for name in ("surge, defaults", "HPA cpu", "KEDA, tuned", "KPA rps", "KPA concurrency"):
        assert name in result.output


@pytest.mark.parametrize(
    ("load", "text"),
    [
        pytest.param("nothing", "nothing is neither a file nor one of step", id="unknown load"),
        pytest.param("ts,value\na,b\nc,d", "cannot be read as times and values", id="no numbers"),
        pytest.param("ts,value\n1,2", "fewer than two lines", id="one line"),
    ],
)
def test_load_that_cannot_be_played_is_refused(tmp_path: Path, load: str, text: str) -> None:
    file = tmp_path / "load.csv"
    file.write_text(load)

    result = simulate(str(file) if "," in load else load)

    assert text in str(result.exception)


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        pytest.param(POLICY % "0", "spec.maxReplicas: must be from 1", id="a bad field"),
        pytest.param("kind: Deployment", "must hold one SurgePolicy, and holds 0", id="no policy"),
        pytest.param("a: [", "is not YAML", id="not YAML"),
    ],
)
def test_policy_that_cannot_be_used_is_refused(tmp_path: Path, policy: str, text: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy)

    result = simulate("step", "--policy", str(file))

    assert text in str(result.exception)


def test_recorded_load_is_decided_again_and_played(tmp_path: Path) -> None:
    record(tmp_path, [200.0] * 40 + [900.0] * 30)
    options = ("--recording", str(tmp_path), "--seconds", "60", "--seeds", "1", "--no-peers")

    played = simulate("messaging", *options)
    unknown = simulate("payments", *options)

    assert played.exit_code == 0, played.output
    assert "70 recorded seconds decide as they did" in played.output
    assert str(unknown.exception) == "payments is none of the recorded policies: messaging"


def _is_row(line: str) -> bool:
    return ".yaml" in line and "±" in line


def _pod_seconds(row: list[str]) -> int:
    return int(row[-3].replace(",", ""))
